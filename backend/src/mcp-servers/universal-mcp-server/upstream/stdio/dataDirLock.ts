/**
 * Keeps two children off one data directory: the one that is being replaced and its successor, be they of one process or
 * of an old and a new one during a reload. The newcomer waits (12.23). A lock whose holder is dead counts for nothing.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { AppError } from '../../../../errors/appError.js';
import { startTicksOf } from './ownershipMark.js';

export interface DataDirLock {
  release(): void;
}

const pollMs = 25;

/** Directories that children of this process use. */
const held = new Set<string>();

/** @throws AppError SERVICE_SATURATED when it is not free within `timeoutMs`. */
export async function lockDataDir(dataDir: string, timeoutMs: number): Promise<DataDirLock> {
  const path = `${dataDir}.lock`;
  const own = `${process.pid}-${startTicksOf(process.pid) ?? 0}`;
  const deadline = performance.now() + timeoutMs;
  while (held.has(path) || !tryLock(path, own)) {
    if (performance.now() > deadline) {
      throw new AppError('SERVICE_SATURATED', 'another child still uses the data directory', {
        publicDetail: 'The previous process of this service is still finishing. Try again in a moment.',
        retryAfterSeconds: 2,
      });
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  held.add(path);
  return {
    release() {
      if (!held.delete(path)) return;
      rmSync(path, { force: true });
    },
  };
}

/** Exclusive creation decides between two who try at once; a dead holder's lock is removed and tried for again. */
function tryLock(path: string, own: string): boolean {
  if (write(path, own)) return true;
  let holder: string;
  try {
    holder = readFileSync(path, 'utf8');
  } catch {
    return write(path, own);
  }
  if (holder === own) return true;
  const [pid, ticks] = holder.split('-').map(Number);
  if (pid !== undefined && startTicksOf(pid) === ticks) return false;
  rmSync(path, { force: true });
  return write(path, own);
}

function write(path: string, own: string): boolean {
  try {
    writeFileSync(path, own, { flag: 'wx', mode: 0o600 });
    return true;
  } catch {
    return false;
  }
}
