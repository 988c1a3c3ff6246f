/**
 * The embedded PostgreSQL: one cluster of this installation, laid once, then run by PM2 as a program of its own (a
 * wrapper in Node would die with its parent and leave it orphaned). It listens on a Unix socket in a directory that only
 * its account and root can enter; on TCP never.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StatePaths } from '../config/statePaths.js';
import { Secret } from '../config/secrets.js';
import { AppError } from '../errors/appError.js';
import { initialiseCluster, superuserName } from './initialiseCluster.js';
import { findPostgresBinaries } from './postgresBinaries.js';
import { canEnter, choosePostgresUser, type PostgresUser } from './postgresUser.js';
import { toSocketUrl, writeUrlFile } from './urlFiles.js';

/**
 * What PM2 needs to run PostgreSQL; written to `postgres.json` in the state dir, where `ecosystem.config.js` finds it. No
 * secret is in it.
 */
export interface PostgresApp {
  readonly bin: string;
  readonly args: readonly string[];
  readonly dataDir: string;
  readonly socketDir: string;
  /** Names the socket's file; nothing listens on TCP. */
  readonly port: number;
  /** Null: the account that PM2 itself runs as. */
  readonly user: PostgresUser | null;
}

export const databaseName = 'portolan';
const socketPathBytesMax = 107;

export interface EmbeddedPostgresOptions {
  readonly projectRoot: string;
  readonly paths: Pick<StatePaths, 'stateDir' | 'postgres' | 'postgresApp' | 'databaseUrl'>;
  readonly randomBytes: (size: number) => Buffer;
  /** Where data and programs go when the account cannot reach the state dir. */
  readonly sharedDir?: string;
  /** For tests: nothing of it has to outlive a power failure. */
  readonly isThrowaway?: boolean;
  readonly log: (line: string) => void;
}

/**
 * Makes the cluster if there is none, and writes `postgres.json` and the owner's connection string. Run again it changes
 * nothing but what is missing.
 * @throws AppError CONFIG_INVALID when it cannot be made here, with what to do instead.
 */
export function layEmbeddedPostgres(options: EmbeddedPostgresOptions): PostgresApp {
  const { paths, sharedDir = '/var/lib/portolan' } = options;
  const user = choosePostgresUser();
  const binaries = findPostgresBinaries(options.projectRoot, user, sharedDir);
  const remembered = readPostgresApp(paths.postgresApp);
  const home = remembered === null ? chooseHome(options, user, sharedDir) : join(remembered.dataDir, '..');
  const dataDir = join(home, 'data');
  const socketDir = chooseSocketDir(home, paths.stateDir);
  for (const directory of [home, socketDir]) makePrivate(directory, user);

  const port = 5432;
  if (!existsSync(dataDir)) {
    options.log(`making the database in ${dataDir}`);
    const password = new Secret(options.randomBytes(24).toString('base64url'));
    initialiseCluster({
      binDir: binaries.binDir,
      dataDir: `${dataDir}.new`,
      user,
      password,
      isThrowaway: options.isThrowaway ?? false,
    });
    writeUrlFile(
      paths.databaseUrl('owner'),
      toSocketUrl({ user: superuserName, password, socketDir, port, database: databaseName }),
    );
    renameSync(`${dataDir}.new`, dataDir);
  }
  const madeBy = Number(readFileSync(join(dataDir, 'PG_VERSION'), 'utf8'));
  if (madeBy !== binaries.majorVersion) {
    throw new AppError(
      'CONFIG_INVALID',
      `the database in ${dataDir} is of PostgreSQL ${madeBy}, the installed one is ${binaries.majorVersion}; ` +
        'dump it with the old one and restore it with the new one',
    );
  }

  const app: PostgresApp = {
    bin: join(binaries.binDir, 'postgres'),
    args: toPostgresArgs({ dataDir, socketDir, port }),
    dataDir,
    socketDir,
    port,
    user,
  };
  const text = `${JSON.stringify(app, null, 2)}\n`;
  if (!existsSync(paths.postgresApp) || readFileSync(paths.postgresApp, 'utf8') !== text) {
    writeFileSync(`${paths.postgresApp}.new`, text, { mode: 0o644 });
    renameSync(`${paths.postgresApp}.new`, paths.postgresApp);
  }
  return app;
}

/** What was laid before; null when nothing was. */
export function readPostgresApp(path: string): PostgresApp | null {
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as PostgresApp) : null;
}

/** PostgreSQL's own log gets no statement, parameter or DETAIL: they may hold what must not be written anywhere. */
export function toPostgresArgs(app: Pick<PostgresApp, 'dataDir' | 'socketDir' | 'port'>): string[] {
  const settings = {
    listen_addresses: '',
    unix_socket_directories: app.socketDir,
    max_connections: '300',
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_error_verbosity: 'terse',
    log_min_error_statement: 'panic',
    log_parameter_max_length: '0',
  };
  return [
    '-D',
    app.dataDir,
    '-p',
    String(app.port),
    ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ];
}

/** In the state dir, unless the account cannot enter it: then in a directory made from the state dir's name. */
function chooseHome(
  { paths, log }: EmbeddedPostgresOptions,
  user: PostgresUser | null,
  sharedDir: string,
): string {
  mkdirSync(paths.stateDir, { recursive: true });
  if (canEnter(user, paths.stateDir)) return paths.postgres;
  const home = join(sharedDir, shortName(paths.stateDir));
  log(`the account ${user?.name ?? ''} cannot enter ${paths.stateDir}; the database goes to ${home}`);
  mkdirSync(sharedDir, { recursive: true, mode: 0o755 });
  return home;
}

function chooseSocketDir(home: string, stateDir: string): string {
  const beside = join(home, 'run');
  if (Buffer.byteLength(join(beside, '.s.PGSQL.65535')) <= socketPathBytesMax) return beside;
  return join(tmpdir(), `portolan-${process.getuid?.() ?? 0}-${shortName(stateDir)}`);
}

const shortName = (stateDir: string): string =>
  createHash('sha256').update(stateDir).digest('hex').slice(0, 12);

/** @throws AppError CONFIG_INVALID when somebody else made the directory first. */
function makePrivate(directory: string, user: PostgresUser | null): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const owner = statSync(directory).uid;
  const self = process.getuid?.() ?? owner;
  if (owner !== self && owner !== (user?.uid ?? self)) {
    throw new AppError('CONFIG_INVALID', `${directory} belongs to somebody else (uid ${owner})`);
  }
  if (user !== null) chownSync(directory, user.uid, user.gid);
  chmodSync(directory, 0o700);
}
