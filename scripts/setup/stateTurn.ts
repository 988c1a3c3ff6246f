/**
 * One set-up at a time in a state directory. A lock file that names its holder is taken by a hard link, so that it
 * never exists without its content; a holder that died is passed over.
 */
import { linkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isAlive, readPid } from '../../backend/src/supervisor/processes.js';

export interface StateTurnOptions {
  /** How long another set-up may take; then this one gives up. */
  readonly waitMaxMs?: number;
  /** Called once, with the holder's pid, when this one has to wait. */
  readonly onWait?: (pid: number) => void;
}

/** Runs `work` while no other set-up of that state directory does. */
export async function inStateTurn<T>(
  stateDir: string,
  work: () => Promise<T>,
  { waitMaxMs = 180_000, onWait }: StateTurnOptions = {},
): Promise<T> {
  const file = join(stateDir, 'setup.lock');
  const end = performance.now() + waitMaxMs;
  let told = false;
  while (!take(file)) {
    const pid = readPid(file);
    if (pid !== 0 && !isAlive(pid)) {
      rmSync(file, { force: true });
      continue;
    }
    if (performance.now() > end) {
      throw new Error(`process ${pid} has been setting up ${stateDir} for ${waitMaxMs / 1000} s`);
    }
    if (!told) onWait?.(pid);
    told = true;
    await delay(100);
  }
  try {
    return await work();
  } finally {
    if (readPid(file) === process.pid) rmSync(file, { force: true });
  }
}

function take(file: string): boolean {
  const mine = `${file}.${process.pid}`;
  writeFileSync(mine, `${process.pid}\n`);
  try {
    linkSync(mine, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return false;
  } finally {
    rmSync(mine, { force: true });
  }
}
