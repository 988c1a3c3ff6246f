/**
 * The database half of set-up: a running PostgreSQL, the roles with their passwords, the schema, and one connection
 * string per role in the state dir. Run again it changes nothing and is quick.
 */
import { existsSync, rmSync } from 'node:fs';
import { Client } from 'pg';
import type { Config } from '../config/config.js';
import { readSecretFile, Secret } from '../config/secrets.js';
import type { StatePaths } from '../config/statePaths.js';
import { AppError } from '../errors/appError.js';
import { codeOf, toDatabaseError } from './databaseErrors.js';
import { layEmbeddedPostgres, type PostgresApp } from './embeddedPostgres.js';
import { superuserName } from './initialiseCluster.js';
import { migrate } from './migrate.js';
import { becomeOwner, ensureRoles, loginRoles, setRolePassword, toRoleName } from './roles.js';
import { runPostgres, type RunningPostgres } from './runPostgres.js';
import { databaseOf, passwordOf, toSocketUrl, withDatabase, withLogin, writeUrlFile } from './urlFiles.js';

export interface PrepareOptions {
  readonly randomBytes: (size: number) => Buffer;
  readonly log: (line: string) => void;
  /** Where the embedded one goes when its account cannot enter the state dir. */
  readonly sharedDir?: string;
  /** For tests: nothing of it has to outlive a power failure. */
  readonly isThrowaway?: boolean;
  /** Further steps of set-up that need the database: called when it is migrated, while it runs. */
  readonly whileRunning?: () => Promise<void>;
}

export interface PreparedDatabase {
  /** What PM2 runs; null when `DATABASE_URL` names somebody else's PostgreSQL. */
  readonly app: PostgresApp | null;
  /** Migrations that were run now. */
  readonly migrated: readonly string[];
}

/** Any number that only this step uses: of parallel set-ups one works and the others find it done. */
const prepareLock = 7_310_579_604_117_311;
const partitionsAheadDays = 3;
const startMsMax = 60_000;

/**
 * @throws AppError CONFIG_INVALID when it cannot be prepared, DATABASE_UNAVAILABLE when it cannot be reached.
 */
export async function prepareDatabase(
  config: Pick<Config, 'projectRoot' | 'paths' | 'externalDatabaseUrl'>,
  options: PrepareOptions,
): Promise<PreparedDatabase> {
  const { projectRoot, paths, externalDatabaseUrl } = config;
  if (externalDatabaseUrl !== null) {
    const owner = new Secret(externalDatabaseUrl);
    const migrated = await prepareServer(owner, projectRoot, paths, options);
    writeUrlFile(paths.databaseUrl('owner'), owner);
    rmSync(paths.postgresApp, { force: true });
    await options.whileRunning?.();
    return { app: null, migrated };
  }

  const app = layEmbeddedPostgres({ projectRoot, paths, ...options });
  const written = readSecretFile(paths.databaseUrl('owner'), 'the connection string of the database owner');
  // The directory of the socket may have moved since.
  const owner = toSocketUrl({
    user: superuserName,
    password: passwordOf(written),
    socketDir: app.socketDir,
    port: app.port,
    database: databaseOf(written),
  });
  writeUrlFile(paths.databaseUrl('owner'), owner);
  const running = await runUnlessRunning(app, owner, options.isThrowaway === true ? { fsync: 'off' } : {});
  try {
    await ensureDatabase(owner);
    const migrated = await prepareServer(owner, projectRoot, paths, options);
    await options.whileRunning?.();
    return { app, migrated };
  } finally {
    await running?.stop();
  }
}

/** Roles, passwords, url files, schema and the coming days' audit partitions of the database that `owner` names. */
async function prepareServer(
  owner: Secret,
  projectRoot: string,
  paths: Pick<StatePaths, 'databaseUrl'>,
  { randomBytes, log }: PrepareOptions,
): Promise<string[]> {
  return withConnection(owner, async (client) => {
    await client.query('select pg_advisory_lock($1)', [prepareLock]);
    await ensureRoles(client);
    for (const role of loginRoles) {
      const path = paths.databaseUrl(role);
      const password = existsSync(path)
        ? passwordOf(readSecretFile(path, `the connection string of ${role}`))
        : new Secret(randomBytes(24).toString('base64url'));
      const url = withLogin(owner, toRoleName(role), password);
      if (!(await canLogIn(url))) {
        log(`setting the password of ${toRoleName(role)}`);
        await setRolePassword(client, role, password, randomBytes(16));
      }
      writeUrlFile(path, url);
    }
    const migrated = await migrate(client, projectRoot, log);
    await becomeOwner(client);
    await client.query('select ensure_audit_partitions(current_date, $1)', [partitionsAheadDays]);
    return migrated;
  });
}

/**
 * PM2 may run it already, or be starting it this moment; then it is left alone.
 * @throws AppError DATABASE_UNAVAILABLE when it neither runs nor starts.
 */
async function runUnlessRunning(
  app: PostgresApp,
  owner: Secret,
  settings: Readonly<Record<string, string>>,
): Promise<RunningPostgres | null> {
  const deadline = performance.now() + startMsMax;
  for (;;) {
    const failure = await withConnection(withDatabase(owner, 'postgres'), () => Promise.resolve(null)).catch(
      (thrown: unknown) => thrown,
    );
    if (failure === null) return null;
    if (!(failure instanceof AppError) || performance.now() > deadline) throw failure;
    // cannot_connect_now: it is starting or recovering.
    if (codeOf(failure.cause) !== '57P03') {
      const started = await runPostgres(app, settings).catch((thrown: unknown) => thrown);
      if (!(started instanceof Error)) return started as RunningPostgres;
      if (performance.now() + startMsMax / 2 > deadline) throw started;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function ensureDatabase(owner: Secret): Promise<void> {
  const name = databaseOf(owner);
  await withConnection(withDatabase(owner, 'postgres'), async (client) => {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [name]);
    if (rowCount === 1) return;
    try {
      await client.query(`create database ${client.escapeIdentifier(name)}`);
    } catch (thrown) {
      const code = codeOf(thrown);
      // duplicate_database, or the unique violation that a race shows itself as.
      if (code !== '42P04' && code !== '23505') throw thrown;
    }
  });
}

async function canLogIn(url: Secret): Promise<boolean> {
  try {
    await withConnection(url, () => Promise.resolve());
    return true;
  } catch (thrown) {
    const code = codeOf(thrown);
    // invalid_authorization_specification, invalid_password.
    if (code === '28000' || code === '28P01') return false;
    throw thrown;
  }
}

async function withConnection<T>(url: Secret, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({
    connectionString: url.reveal(),
    application_name: 'portolan-setup',
    connectionTimeoutMillis: 10_000,
  });
  // A connection that breaks between two statements fails the next one.
  client.on('error', () => {});
  try {
    await client.connect();
    return await work(client);
  } catch (thrown) {
    throw toDatabaseError(thrown);
  } finally {
    await client.end();
  }
}
