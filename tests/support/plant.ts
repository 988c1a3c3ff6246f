/**
 * A main API and a service process on one state directory and one database, each the program that PM2 would start, before
 * an upstream that keeps what it received: for faults that need more than one program and less than a fleet.
 *
 *   await using plant = await layPlant(db.urls);
 *   await using api = await plant.startApi();
 *   const notes = await plant.startService();
 *   const ada = await plant.signInFirstAdmin(api);
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatPortsLock } from '../../backend/src/catalog/portsLock.js';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import type { Secret } from '../../backend/src/config/secrets.js';
import { toStatePaths, type StatePaths } from '../../backend/src/config/statePaths.js';
import { createPool } from '../../backend/src/database/pool.js';
import { layInstallKeys } from '../../backend/src/services/installKeys.js';
import { newJwtKeysFiles } from '../../backend/src/services/jwtKeys.js';
import { newKeyRingFile, parseKeyRing } from '../../backend/src/vault/keyRing.js';
import { writeService } from './connectedSite.js';
import { waitUntil } from './eventually.js';
import { aFreePort } from './freePorts.js';
import { createClient, goodPassword, type Client } from './mainApi.js';
import { modern, send, type RawAnswer } from './mcpHttp.js';
import { startRecordingUpstream, type RecordingUpstream } from './recordingUpstream.js';

export interface Program extends AsyncDisposable {
  readonly process: ChildProcess;
  readonly pid: number;
  readonly url: string;
  /** Everything on standard output and error so far. */
  output(): string;
  readonly exited: Promise<number | string>;
  /** Drains it, and resolves when it is gone. */
  stop(): Promise<void>;
}

export interface StartWish {
  readonly env?: Readonly<Record<string, string>>;
  /** Another checkout of the project that is built. */
  readonly root?: string;
  readonly port?: number;
  /** Put before the program, such as `prlimit`. */
  readonly before?: readonly string[];
}

export interface Plant extends AsyncDisposable {
  readonly paths: StatePaths;
  readonly upstream: RecordingUpstream;
  startApi(wish?: StartWish): Promise<Program>;
  startService(wish?: StartWish): Promise<Program>;
  /** With the set-up code of a program that is ready. */
  signInFirstAdmin(api: Pick<Program, 'url'>): Promise<Client & { readonly bearer: string }>;
}

export const plantService = 'notes';
const email = 'ada@example.com';

/** What a user connects with; `GET /me` accepts every key. */
const config = (origin: string, port: number) => ({
  title: 'Notes',
  kind: 'api',
  port,
  instancePrefix: 'nts',
  limits: { requestsPerMinute: 100_000, burst: 10_000, concurrency: 500 },
  credentials: {
    maxPerUser: 100,
    methods: [
      {
        id: 'key',
        type: 'fields',
        label: 'Key',
        tokenField: 'token',
        fields: [{ name: 'token', label: 'Key', type: 'secret' }],
        probe: { type: 'http', request: { method: 'GET', path: '/me' } },
      },
    ],
  },
  api: {
    baseUrl: origin,
    headers: { authorization: { $userToken: 'Bearer {{token}}' } },
    egress: { allowPrivate: true },
    tools: [
      {
        name: 'add',
        description: 'Adds a note.',
        inputSchema: { type: 'object', properties: { n: { type: 'string' } }, required: ['n'] },
        request: { method: 'POST', path: '/notes/{n}' },
      },
    ],
  },
});

/** @param urls connection strings of a migrated database without keys. */
export async function layPlant(urls: Readonly<Record<'api' | 'service', Secret>>): Promise<Plant> {
  const upstream = await startRecordingUpstream();
  const paths = toStatePaths(mkdtempSync(join(tmpdir(), 'portolan-plant-')));
  const mcpPortsDir = join(paths.stateDir, 'mcp-ports');
  const servicePort = await aFreePort();
  const ring = newKeyRingFile(randomBytes);
  const jwt = newJwtKeysFiles(randomUUID);
  mkdirSync(join(paths.stateDir, 'database-urls'));
  for (const role of ['api', 'service'] as const)
    writeFileSync(paths.databaseUrl(role), urls[role].reveal(), { mode: 0o400 });
  writeFileSync(paths.keyRing, ring, { mode: 0o400 });
  writeFileSync(paths.jwtKeys, jwt.privateText, { mode: 0o400 });
  writeFileSync(paths.jwtPublicKeys, jwt.publicText);
  writeService(mcpPortsDir, plantService, config(upstream.origin, servicePort));
  writeFileSync(
    join(mcpPortsDir, 'ports.lock.json'),
    formatPortsLock({ services: { [plantService]: { port: servicePort, instancePrefix: 'nts' } } }),
  );
  const pool = createPool({ connectionString: urls.api, applicationName: 'test-plant', connectionsMax: 1 });
  await pool.transaction((client) =>
    layInstallKeys(client, { ring: parseKeyRing(ring), newId: randomUUID, randomBytes }),
  );
  await pool.close();
  const programs: Program[] = [];

  const start = async (
    program: string,
    port: number,
    own: Record<string, string>,
    wish: StartWish,
  ): Promise<Program> => {
    const main = join(wish.root ?? findProjectRoot(), 'dist', 'backend', 'src', program, 'main.js');
    const [command, ...args] = [...(wish.before ?? []), process.execPath, main];
    const child = spawn(command ?? process.execPath, args, {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: {
        PATH: process.env['PATH'] ?? '',
        PORTOLAN_STATE_DIR: paths.stateDir,
        MCP_PORTS_DIR: mcpPortsDir,
        PORT: String(port),
        METRICS_OPEN: 'true',
        LOG_LEVEL: 'info',
        ...own,
        ...wish.env,
      },
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
    const exited = once(child, 'close').then(([code, signal]) => (code as number | null) ?? String(signal));
    const listening = new Promise<'listening'>((resolve) => {
      child.on('message', (message) => message === 'ready' && resolve('listening'));
    });
    const end = async (signal: NodeJS.Signals): Promise<void> => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      await exited;
    };
    const running: Program = {
      process: child,
      pid: child.pid ?? 0,
      url: `http://127.0.0.1:${port}`,
      output: () => output,
      exited,
      stop: () => end('SIGTERM'),
      [Symbol.asyncDispose]: () => end('SIGKILL'),
    };
    programs.push(running);
    if ((await Promise.race([listening, exited])) !== 'listening')
      throw new Error(`${program} ended: ${output}`);
    return running;
  };

  return {
    paths,
    upstream,
    startApi: async (wish = {}) => start('main-api', wish.port ?? (await aFreePort()), {}, wish),
    startService: (wish = {}) =>
      start(
        'mcp-servers/universal-mcp-server',
        wish.port ?? servicePort,
        { MCP_TYPE: plantService, SERVICE_MODE: 'shared' },
        wish,
      ),
    async signInFirstAdmin({ url }) {
      await waitUntil('the set-up code is there', () => existsSync(paths.setupCode), 20_000);
      const setupCode = readFileSync(paths.setupCode, 'utf8').trim();
      const stranger = createClient(url, null);
      const made = await stranger.post('/api/v1/auth/setup', { email, password: goodPassword, setupCode });
      if (made.status !== 201) throw new Error(`set-up: ${made.status} ${JSON.stringify(made.body)}`);
      const { body } = await stranger.post('/api/v1/auth/login', { email, password: goodPassword });
      const { accessToken } = body as { accessToken: string };
      return { ...createClient(url, accessToken), bearer: accessToken };
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(programs.map((one) => one[Symbol.asyncDispose]()));
      await upstream[Symbol.asyncDispose]();
      rmSync(paths.stateDir, { recursive: true, force: true });
    },
  };
}

export interface PlantInstance {
  readonly id: string;
  readonly instanceId: string;
  /** Of the instance in the main API. */
  readonly path: string;
  /** The credential that its upstream has to see. */
  readonly token: string;
}

/** A new instance of the person's. @throws when it is refused, with the answer. */
export async function connectTo(person: Client, label: string = randomUUID()): Promise<PlantInstance> {
  const token = `key-of-${label}`;
  const { status, body } = await person.post(`/api/v1/services/${plantService}/authenticate`, {
    label,
    apiKey: token,
  });
  if (status !== 201) throw new Error(`authenticate: ${status} ${JSON.stringify(body)}`);
  const path = `/api/v1/services/${plantService}/instance?label=${label}`;
  return { ...(body as { id: string; instanceId: string }), path, token };
}

/** Adds a note through an instance, on the port of that service process. */
export function addNote(
  service: Pick<Program, 'url'>,
  { instanceId }: Pick<PlantInstance, 'instanceId'>,
  n: string,
): Promise<RawAnswer> {
  return send(
    `${service.url}/${instanceId}/${plantService}`,
    modern('tools/call', { name: 'add', arguments: { n } }),
  );
}

/** Whether a call was made and its result is the upstream's. */
export const isDone = (answer: RawAnswer): boolean =>
  answer.status === 200 && answer.json?.error === undefined && answer.json?.result?.isError !== true;
