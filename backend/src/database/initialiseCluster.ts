import { spawnSync } from 'node:child_process';
import { chownSync, rmSync, writeFileSync } from 'node:fs';
import type { Secret } from '../config/secrets.js';
import { AppError } from '../errors/appError.js';
import { asUser, type PostgresUser } from './postgresUser.js';

export const superuserName = 'postgres';

/**
 * Makes a cluster in `dataDir`, replacing what a broken attempt left there. Only logins with a password are let in.
 * @throws AppError CONFIG_INVALID with what initdb said.
 */
export function initialiseCluster(cluster: {
  readonly binDir: string;
  readonly dataDir: string;
  readonly user: PostgresUser | null;
  /** The superuser's. */
  readonly password: Secret;
  /** Leaves the files to the kernel: quick, and for what need not outlive a power failure. */
  readonly isThrowaway?: boolean;
}): void {
  const { binDir, dataDir, user, password, isThrowaway = false } = cluster;
  const passwordFile = `${dataDir}.password`;
  rmSync(dataDir, { recursive: true, force: true });
  rmSync(passwordFile, { force: true });
  writeFileSync(passwordFile, `${password.reveal()}\n`, { mode: 0o400 });
  if (user !== null) chownSync(passwordFile, user.uid, user.gid);
  // A umask of 077 would break initdb; a shell sets another for it alone.
  const command = ['-c', 'umask 022; exec "$@"', 'sh', `${binDir}/initdb`];
  const options = ['--pgdata', dataDir, '--username', superuserName, '--pwfile', passwordFile];
  const form = ['--auth', 'scram-sha-256', '--encoding', 'UTF8', '--locale', 'C', '--no-instructions'];
  if (isThrowaway) form.push('--no-sync');
  try {
    const { status, stderr } = spawnSync('/bin/sh', [...command, ...options, ...form], {
      cwd: '/',
      encoding: 'utf8',
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' },
      ...asUser(user),
    });
    if (status === 0) return;
    rmSync(dataDir, { recursive: true, force: true });
    throw new AppError('CONFIG_INVALID', `initdb failed (${status ?? 'killed'}): ${stderr.trim()}`);
  } finally {
    rmSync(passwordFile, { force: true });
  }
}
