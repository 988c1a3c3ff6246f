/** Processes by their pid: whether one is there, which one a file names, and waiting for its end. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

export function isAlive(pid: number): boolean {
  if (pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return !isZombie(pid);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** A process that ended and waits for its parent to notice; on systems without /proc nothing counts as one. */
function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  } catch {
    return false;
  }
}

/** The number on the first line of a pid file; 0 when there is no such file or number. */
export function readPid(file: string): number {
  try {
    const [first = ''] = readFileSync(file, 'utf8').split('\n');
    return /^\d+$/.test(first.trim()) ? Number(first) : 0;
  } catch {
    return 0;
  }
}

/** Resolves when the process has ended; throws when it has not within the deadline. */
export async function untilGone(pid: number, deadlineMs: number): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (isAlive(pid)) {
    if (performance.now() > end) throw new Error(`process ${pid} did not end within ${deadlineMs / 1000} s`);
    await delay(50);
  }
}
