/**
 * Runs an embedded PostgreSQL for as long as this process needs it: in set-up, before PM2 does, and in tests. It ends
 * with this process however that ends: a shell beside it waits on a pipe that only this process holds open.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../errors/appError.js';
import type { PostgresApp } from './embeddedPostgres.js';
import { asUser } from './postgresUser.js';

export interface RunningPostgres extends AsyncDisposable {
  /** The postmaster's process id. */
  readonly pid: number;
  /** Fast shutdown; resolves when it is gone. */
  stop(): Promise<void>;
}

// Jobs in the background of a shell ignore SIGINT, but PostgreSQL sets its own handlers.
const guard =
  'umask 022; "$@" </dev/null >&2 & child=$!; echo "$child"; exec >/dev/null 2>&1; cat; kill -INT "$child"; wait "$child"';
const startMsMax = 60_000;
const stopMsMax = 20_000;

/**
 * Resolves when it takes connections.
 * @param settings further `-c` settings, for tests.
 * @throws AppError DATABASE_UNAVAILABLE with the last lines it wrote.
 */
export async function runPostgres(
  app: PostgresApp,
  settings: Readonly<Record<string, string>> = {},
): Promise<RunningPostgres> {
  const further = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const shell = spawn('/bin/sh', ['-c', guard, 'sh', app.bin, ...app.args, ...further], {
    cwd: '/',
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' },
    ...asUser(app.user),
  });
  let pid: number | undefined;
  let tail = '';
  let isOver = false;
  shell.stdout.setEncoding('utf8').on('data', (text: string) => (pid = Number(text)));
  shell.stderr.setEncoding('utf8').on('data', (text: string) => (tail = (tail + text).slice(-4_000)));
  // The postmaster and its children hold the pipe; it ends when the last of them is gone.
  shell.stderr.once('end', () => (isOver = true));
  // Writing to a shell that is gone: its end is seen by the pipe above.
  shell.stdin.on('error', () => (isOver = true));
  const closed = once(shell, 'close');

  const stop = async (): Promise<void> => {
    shell.stdin.end();
    const kill = setTimeout(() => {
      if (pid !== undefined) process.kill(pid, 'SIGKILL');
    }, stopMsMax);
    await closed;
    clearTimeout(kill);
  };

  const pidFile = join(app.dataDir, 'postmaster.pid');
  const deadline = performance.now() + startMsMax;
  for (;;) {
    if (pid !== undefined && isReady(pidFile, pid)) return { pid, stop, [Symbol.asyncDispose]: stop };
    if (isOver || performance.now() > deadline) {
      await stop();
      throw new AppError('DATABASE_UNAVAILABLE', `PostgreSQL did not start: ${tail.trim()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** The first line of the file is the postmaster's pid, the eighth its state (PostgreSQL, `miscadmin.h`). */
function isReady(pidFile: string, pid: number): boolean {
  if (!existsSync(pidFile)) return false;
  const lines = readFileSync(pidFile, 'utf8').split('\n');
  return Number(lines[0]) === pid && lines[7]?.trim() === 'ready';
}
