/** The main API as a program: what it starts with and without, and how it ends. */
import { randomBytes, randomUUID } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { formatPortsLock } from '../../backend/src/catalog/portsLock.js';
import { toStatePaths, type StatePaths } from '../../backend/src/config/statePaths.js';
import { createPool } from '../../backend/src/database/pool.js';
import { newJwtKeysFiles } from '../../backend/src/services/jwtKeys.js';
import { layInstallKeys } from '../../backend/src/services/installKeys.js';
import { newKeyRingFile, parseKeyRing } from '../../backend/src/vault/keyRing.js';
import { waitUntil } from '../support/eventually.js';
import { writeService } from '../support/connectedSite.js';
import { createClient, goodPassword, type Client } from '../support/mainApi.js';
import { startMainApiProgram, type MainApiProgram } from '../support/mainApiProgram.js';
import { makeOwnCluster, type OwnCluster } from '../support/ownCluster.js';
import { cloneDatabase, type TestDatabase } from '../support/testDatabase.js';

interface State {
  readonly paths: StatePaths;
  readonly ring: string;
  readonly jwt: string;
}

/** A state directory as set-up leaves it, for a database that is there already. */
function makeState(apiUrl: string): State {
  const paths = toStatePaths(mkdtempSync(join(tmpdir(), 'portolan-main-')));
  const ring = newKeyRingFile(randomBytes);
  const jwt = newJwtKeysFiles(randomUUID);
  mkdirSync(join(paths.stateDir, 'database-urls'));
  writeFileSync(paths.databaseUrl('api'), apiUrl);
  writeFileSync(paths.keyRing, ring);
  writeFileSync(paths.jwtKeys, jwt.privateText);
  writeFileSync(paths.jwtPublicKeys, jwt.publicText);
  return { paths, ring, jwt: jwt.privateText };
}

/** Makes the first admin of the program and signs them in. */
async function signInFirstAdmin(program: MainApiProgram, { paths }: State): Promise<Client> {
  await waitUntil('the set-up code is there', () => existsSync(paths.setupCode), 10_000);
  const setupCode = readFileSync(paths.setupCode, 'utf8').trim();
  const admin = { email: 'admin@example.com', password: goodPassword };
  expect((await program.post('/api/v1/auth/setup', { ...admin, setupCode })).status).toBe(201);
  const { body } = await program.post('/api/v1/auth/login', admin);
  return createClient(program.url, body.accessToken);
}

describe('the main API as a program', () => {
  let db: TestDatabase;
  let state: State;
  let servicesDir: string;
  beforeAll(async () => {
    db = await cloneDatabase();
    state = makeState(db.urls.api.reveal());
    await db
      .pool('api')
      .transaction((client) =>
        layInstallKeys(client, { ring: parseKeyRing(state.ring), newId: randomUUID, randomBytes }),
      );
    servicesDir = mkdtempSync(join(tmpdir(), 'portolan-ports-'));
    writeService(servicesDir, 'notes', {
      title: 'Notes',
      kind: 'api',
      port: 1025,
      instancePrefix: 'nts',
      api: { baseUrl: 'https://notes.example.com', tools: [aTool] },
      credentials: { scope: 'per-user', methods: [aMethod] },
    });
    writeFileSync(
      join(servicesDir, 'ports.lock.json'),
      formatPortsLock({ services: { notes: { port: 1025, instancePrefix: 'nts' } } }),
    );
  });
  afterAll(async () => {
    await db[Symbol.asyncDispose]();
    for (const folder of [state.paths.stateDir, servicesDir])
      rmSync(folder, { recursive: true, force: true });
  });
  const start = (env: Record<string, string> = {}, port?: number): Promise<MainApiProgram> =>
    startMainApiProgram({
      stateDir: state.paths.stateDir,
      env: { MCP_PORTS_DIR: servicesDir, ...env },
      ...(port === undefined ? {} : { port }),
    });
  const replaceRing = (text: string): void => writeFileSync(state.paths.keyRing, text);

  it('comes up, shows its health, and drains on SIGTERM with exit code 0', async () => {
    await using program = await start();
    await program.ready;
    await waitUntil('it is ready', async () => (await program.get('/readyz')).status === 200);
    expect((await program.get('/readyz?verbose')).body).toEqual({
      status: 'ready',
      checks: {
        database: { status: 'ok' },
        migrations: { status: 'ok' },
        keys: { status: 'ok' },
        draining: { status: 'ok' },
      },
    });
    const health = await program.get('/health');
    expect(health.body).toMatchObject({
      status: 'healthy',
      service: 'main-api',
      uptimeSeconds: expect.any(Number),
    });
    program.process.kill('SIGTERM');
    expect(await program.exited).toBe(0);
    for (const line of program.output().trim().split('\n')) expect(JSON.parse(line)).toHaveProperty('level');
  });

  it.each(['constant KEK', 'short KEK', 'KEK shared with the JWT keys', 'constant JWT key', 'short JWT key'])(
    'B08 ends with a failure that names the file and prints no value: %s',
    async (unfit) => {
      const { path, text, named, values } = toUnfitFile(state, unfit);
      writeFileSync(path, text);
      try {
        await using program = await start();
        expect(await program.exited).toBe(1);
        expect(program.output()).toContain(named);
        for (const value of values) expect(program.output()).not.toContain(value);
      } finally {
        replaceRing(state.ring);
        writeFileSync(state.paths.jwtKeys, state.jwt);
      }
    },
  );

  it('R18 ends with one clear line when its port is taken', async () => {
    const squatter = createServer();
    squatter.listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    const { port } = squatter.address() as AddressInfo;
    await using program = await start({}, port);
    expect(await program.exited).toBe(1);
    const fatal = program
      .output()
      .split('\n')
      .filter((line) => line.includes('"fatal"'));
    expect(fatal).toHaveLength(1);
    expect(fatal[0]).toContain(`127.0.0.1:${port}`);
    squatter.close();
    await once(squatter, 'close');
  });

  it('G06 R21 is sealed without a key ring: it lives, says so, writes and generates nothing, and opens by itself', async () => {
    rmSync(state.paths.keyRing);
    const before = await countKeys(db);
    await using program = await start();
    await program.ready;
    expect((await program.get('/livez')).status).toBe(200);
    const unready = await program.get('/readyz?verbose');
    expect({ status: unready.status, keys: unready.body.checks.keys.status }).toEqual({
      status: 503,
      keys: 'failed',
    });
    await waitUntil('the set-up code is there', () => existsSync(state.paths.setupCode), 10_000);
    const setupCode = readFileSync(state.paths.setupCode, 'utf8').trim();
    // What cannot be signed in the audit is not done (H02).
    const refused = await program.post('/api/v1/auth/setup', {
      email: 'admin@example.com',
      password: goodPassword,
      setupCode,
    });
    expect({ status: refused.status, code: refused.body.code }).toEqual({ status: 503, code: 'SEALED' });
    expect(refused.headers.get('retry-after')).not.toBeNull();
    expect(await countKeys(db)).toEqual(before);
    expect(readdirSync(state.paths.stateDir).filter((name) => name.startsWith('keyring'))).toEqual([]);
    replaceRing(state.ring);
    await waitUntil('the vault is open', async () => (await program.get('/readyz')).status === 200, 10_000);
    const admin = await signInFirstAdmin(program, state);
    expect((await admin.get('/api/v1/users/me')).status).toBe(200);
  });

  it('G05 is sealed with the key ring of another installation, and the data is intact when the right one is back', async () => {
    replaceRing(newKeyRingFile(randomBytes));
    const before = await countKeys(db);
    await using program = await start();
    await program.ready;
    const unready = await program.get('/readyz?verbose');
    expect({ status: unready.status, keys: unready.body.checks.keys.status }).toEqual({
      status: 503,
      keys: 'failed',
    });
    expect((await program.get('/livez')).status).toBe(200);
    const admin = { email: 'admin@example.com', password: goodPassword };
    const refused = await program.post('/api/v1/auth/login', admin);
    expect({ status: refused.status, code: refused.body.code }).toEqual({ status: 503, code: 'SEALED' });
    expect(await countKeys(db)).toEqual(before);
    replaceRing(state.ring);
    await waitUntil('the vault is open', async () => (await program.get('/readyz')).status === 200, 10_000);
    expect(await countKeys(db)).toEqual(before);
    expect((await program.post('/api/v1/auth/login', admin)).status).toBe(200);
  });
});

describe('the main API and its database', () => {
  let cluster: OwnCluster;
  let state: State;
  beforeAll(async () => {
    cluster = await makeOwnCluster();
    state = makeState(cluster.url('api').reveal());
  }, 60_000);
  afterAll(async () => {
    rmSync(state.paths.stateDir, { recursive: true, force: true });
    await cluster[Symbol.asyncDispose]();
  });

  it('R01 starts without one, answers 503 within 2 s, and works by itself once it is there; again after a crash', async () => {
    chmodSync(state.paths.stateDir, 0o755);
    await using program = await startMainApiProgram({ stateDir: state.paths.stateDir });
    await program.ready;
    // Each time somebody else: sign-in counts its tries by account and by address.
    const signIn = () =>
      program.post('/api/v1/auth/login', { email: `${randomUUID()}@example.com`, password: goodPassword });
    const expectAway = async (): Promise<void> => {
      const startedAt = performance.now();
      const away = await signIn();
      expect({ status: away.status, code: away.body.code }).toEqual({
        status: 503,
        code: 'DATABASE_UNAVAILABLE',
      });
      expect(performance.now() - startedAt).toBeLessThan(2_000);
      expect(away.headers.get('retry-after')).not.toBeNull();
      expect((await program.get('/livez')).status).toBe(200);
      expect((await program.get('/readyz?verbose')).body.checks.database.status).toBe('failed');
    };
    await expectAway();

    const first = await cluster.start();
    await layKeys(cluster, state);
    const isReady = async (): Promise<boolean> => (await program.get('/readyz')).status === 200;
    // Set-up came later than the database: the vault has to open as well.
    await waitUntil('it is ready', isReady, 15_000);
    expect((await signIn()).status).toBe(401);
    // As `pg_ctl stop -m immediate` does.
    process.kill(first.pid, 'SIGQUIT');
    await waitUntil('its loss is noticed', async () => (await program.get('/readyz')).status === 503);
    await expectAway();
    await first.stop();
    await cluster.start();
    await waitUntil('it is ready again', isReady, 5_000);
    expect((await signIn()).status).toBe(401);
  }, 60_000);
});

/** What set-up does on an empty database. */
async function layKeys(cluster: OwnCluster, { ring }: State): Promise<void> {
  await using pool = createPool({ connectionString: cluster.url('api'), applicationName: 'test' });
  await pool.transaction((client) =>
    layInstallKeys(client, { ring: parseKeyRing(ring), newId: randomUUID, randomBytes }),
  );
}

/** A key file that no start may accept, what of it has to be named, and what must not be printed. */
function toUnfitFile({ paths, ring, jwt }: State, unfit: string) {
  const [kek] = JSON.parse(ring) as { id: string; key: string; state: string }[];
  const jwk = (JSON.parse(jwt) as { keys: { d: string }[] }).keys[0]!;
  const ofRing = (key: string, ...values: string[]) => ({
    path: paths.keyRing,
    text: JSON.stringify([kek, { id: 'other', key, state: 'decrypt' }]),
    named: 'KEYRING_FILE',
    values: [key, ...values],
  });
  const ofJwt = (d: string) => ({
    path: paths.jwtKeys,
    text: JSON.stringify({ keys: [{ ...jwk, d }] }),
    named: 'jwt-keys.json',
    values: [d],
  });
  if (unfit === 'constant KEK') return ofRing(Buffer.alloc(32, 0x41).toString('base64'));
  if (unfit === 'short KEK') return ofRing(Buffer.from('short').toString('base64'));
  if (unfit === 'constant JWT key') return ofJwt(Buffer.alloc(32, 1).toString('base64url'));
  if (unfit === 'short JWT key') return ofJwt(jwk.d.slice(0, 8));
  return ofRing(Buffer.from(jwk.d, 'base64url').toString('base64'), jwk.d);
}

async function countKeys(db: TestDatabase): Promise<unknown> {
  const superuser = await db.superuser();
  const { rows } = await superuser.query(
    `select (select count(*) from data_keys)::int as "dataKeys", (select count(*) from instances)::int as instances,
       (select md5(string_agg(wrapped::text, ',' order by name)) from system_keys) as "systemKeys"`,
  );
  return rows[0];
}

const aTool = {
  name: 'list_notes',
  description: 'Lists notes.',
  inputSchema: { type: 'object' },
  request: { method: 'GET', path: '/notes' },
};
const aMethod = {
  id: 'key',
  type: 'fields',
  label: 'API key',
  help: 'Make a key in the settings of Notes.',
  helpUrl: 'https://notes.example.com/keys',
  tokenField: 'token',
  fields: [{ name: 'token', label: 'Key', type: 'secret' }],
};
