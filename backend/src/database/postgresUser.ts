import { spawnSync } from 'node:child_process';
import { AppError } from '../errors/appError.js';

/** The account that PostgreSQL runs as; null stands for the account of this process. */
export interface PostgresUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/**
 * PostgreSQL refuses to run as root. For root this is the account `postgres`, made when there is none; for anybody else
 * it is they themselves.
 * @throws AppError CONFIG_INVALID when the account cannot be made.
 */
export function choosePostgresUser(): PostgresUser | null {
  if (process.getuid?.() !== 0) return null;
  const found = findUser();
  if (found !== null) return found;
  const made = spawnSync(
    '/bin/sh',
    [
      '-c',
      'PATH="$PATH:/usr/sbin:/sbin" exec useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin postgres',
    ],
    { encoding: 'utf8' },
  );
  const user = findUser();
  if (user !== null) return user;
  throw new AppError(
    'CONFIG_INVALID',
    `PostgreSQL may not run as root, and the account postgres cannot be made (${made.stderr?.trim() ?? 'no shell'}); ` +
      'make it, run as another account, or set DATABASE_URL',
  );
}

function findUser(): PostgresUser | null {
  const [uid, gid] = [askId('-u'), askId('-g')];
  return Number.isInteger(uid) && Number.isInteger(gid) ? { name: 'postgres', uid, gid } : null;
}

function askId(flag: '-u' | '-g'): number {
  const { status, stdout } = spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' });
  return status === 0 ? Number(stdout.trim()) : Number.NaN;
}

/** What `spawn` needs to start a program as that account. */
export function asUser(user: PostgresUser | null): { uid?: number; gid?: number } {
  return user === null ? {} : { uid: user.uid, gid: user.gid };
}

/** Whether the account can enter a directory: tried, since modes, lists and mounts all have a say. */
export function canEnter(user: PostgresUser | null, directory: string): boolean {
  const { status } = spawnSync('/bin/sh', ['-c', 'cd -- "$1"', 'sh', directory], {
    cwd: '/',
    stdio: 'ignore',
    ...asUser(user),
  });
  return status === 0;
}
