/**
 * A fleet of its own for the benchmark: state and ports apart from any other, a service of each kind before upstreams
 * that cost next to nothing, and instances of each.
 */
import { execFile } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { request } from 'undici';
import { findProjectRoot } from '../backend/src/config/projectRoot.js';
import { findPm2, readConfig } from '../scripts/fleet/openFleet.js';

export interface BenchFleet extends AsyncDisposable {
  /** Of the service's port, without the front. */
  origin(service: BenchService): string;
  readonly frontOrigin: string;
  pidOf(program: string): Promise<number>;
  /**
   * Makes as many instances of a service; gives the path of each, and the credential that is its own.
   * @param perUser how many of them one user has.
   */
  connect(
    service: BenchService,
    count: number,
    perUser?: number,
  ): Promise<readonly { path: string; credential: string }[]>;
}

/** Below the range from which the kernel takes ports by itself, and apart for two runs at once. */
const firstPort = 20_000 + (process.pid % 1_000) * 10;
const benchServices = ['bench-api', 'bench-stdio', 'bench-legacy', 'bench-modern', 'bench-events'] as const;
export type BenchService = (typeof benchServices)[number];
const portOf = (service: BenchService): number => firstPort + 3 + benchServices.indexOf(service);
const ports = { api: firstPort, front: firstPort + 1, monitor: firstPort + 2 };

/** @param upstreams ports of the REST upstream and of the remote MCP server. */
export async function startBenchFleet(upstreams: { rest: number; mcp: number }): Promise<BenchFleet> {
  const projectRoot = findProjectRoot();
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'portolan-bench-')));
  chmodSync(folder, 0o711);
  const mcpPortsDir = join(folder, 'mcp-ports');
  writeService(mcpPortsDir, 'bench-api', apiService(upstreams.rest));
  writeService(
    mcpPortsDir,
    'bench-stdio',
    stdioService(join(projectRoot, 'bench/programs/stdioUpstream.mjs')),
  );
  const remote = `http://127.0.0.1:${upstreams.mcp}`;
  writeService(mcpPortsDir, 'bench-legacy', remoteService('blgc', `${remote}/legacy`));
  writeService(mcpPortsDir, 'bench-modern', remoteService('bmod', `${remote}/modern`));
  writeService(mcpPortsDir, 'bench-events', remoteService('bevt', `${remote}/modern-events`));
  const settings = {
    PORTOLAN_STATE_DIR: join(folder, 'state'),
    MCP_PORTS_DIR: mcpPortsDir,
    PORT: String(ports.api),
    FRONT_PORT: String(ports.front),
    MONITOR_PORT: String(ports.monitor),
    LOG_LEVEL: 'warn',
  };
  Object.assign(process.env, settings);
  const run = async (script: string): Promise<void> => {
    const program = join(projectRoot, 'dist/scripts', `${script}.js`);
    await promisify(execFile)(process.execPath, [program], { cwd: projectRoot, env: process.env });
  };
  const end = async (): Promise<void> => {
    await run('stop');
    rmSync(folder, { recursive: true, force: true });
  };
  let users = 0;
  try {
    await run('quickstart');
    const post = poster(`http://127.0.0.1:${ports.api}/api/v1`);
    const email = 'bench@example.com';
    const password = 'a password for the bench';
    const setupCode = readFileSync(join(folder, 'state/setup-code'), 'utf8').trim();
    await post('/auth/setup', { setupCode, email, password });
    const { accessToken } = await post('/auth/login', { email, password });
    return {
      origin: (service) => `http://127.0.0.1:${portOf(service)}`,
      frontOrigin: `http://127.0.0.1:${ports.front}`,
      async pidOf(program) {
        const app = (await findPm2(readConfig())?.list())?.find(({ name }) => name === program);
        if (app === undefined) throw new Error(`${program} does not run`);
        return app.pid;
      },
      async connect(service, count, perUser = callersPerUser) {
        const made: { path: string; credential: string }[] = [];
        let token: unknown;
        for (let at = 0; at < count; at += 1) {
          if (at % perUser === 0) token = await signInAnother(post, accessToken, `caller-${++users}`);
          const credential = `credential-${service}-${at}-${'0123456789'.repeat(2)}`;
          const wish = { apiKey: credential, label: `caller-${at}` };
          const answer = await post(`/services/${service}/authenticate`, wish, token);
          made.push({ path: new URL(String(answer.instanceUrl)).pathname, credential });
        }
        return made;
      },
      [Symbol.asyncDispose]: end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/** A user may connect only so often a minute. */
const callersPerUser = 20;

/** A new account. @returns its access token */
async function signInAnother(
  post: ReturnType<typeof poster>,
  adminToken: unknown,
  name: string,
): Promise<unknown> {
  const account = { email: `${name}@example.com`, password: 'a password for a caller' };
  await post('/users', { ...account, role: 'user' }, adminToken);
  return (await post('/auth/login', account)).accessToken;
}

function writeService(mcpPortsDir: string, name: BenchService, config: object): void {
  mkdirSync(join(mcpPortsDir, name), { recursive: true });
  const whole = { schemaVersion: 1, name, title: name, port: portOf(name), limits, credentials, ...config };
  writeFileSync(join(mcpPortsDir, name, 'config.json'), JSON.stringify(whole, null, 2));
}

/** Limits that the benchmark does not reach. */
const limits = { requestsPerMinute: 10_000_000, burst: 1_000_000, concurrency: 1_000 };
const credentials = {
  scope: 'per-user',
  maxPerUser: 100,
  methods: [
    {
      id: 'key',
      type: 'fields',
      label: 'Key',
      tokenField: 'key',
      fields: [{ name: 'key', label: 'Key', type: 'secret', secret: true }],
      probe: { type: 'none' },
    },
  ],
};

const apiService = (upstreamPort: number) => ({
  kind: 'api',
  instancePrefix: 'bapi',
  api: {
    baseUrl: `http://127.0.0.1:${upstreamPort}`,
    headers: { Authorization: { $userToken: 'Bearer {{token}}' } },
    egress: { allowHosts: ['127.0.0.1'], allowPrivate: true },
    tools: [
      {
        name: 'whoami',
        description: 'Says who calls.',
        annotations: { readOnlyHint: true },
        inputSchema: { type: 'object', properties: {} },
        request: { method: 'GET', path: '/whoami' },
      },
    ],
  },
});

const stdioService = (program: string) => ({
  kind: 'stdio',
  instancePrefix: 'bstd',
  stdio: {
    command: process.execPath,
    args: [program],
    env: { CALLER: { $userToken: '{{token}}' } },
    maxProcesses: 200,
    maxPerUser: 100,
  },
});

const remoteService = (instancePrefix: string, url: string) => ({
  kind: 'streamable-http',
  instancePrefix,
  remote: {
    url,
    headers: { Authorization: { $userToken: 'Bearer {{token}}' } },
    auth: 'headers',
    egress: { allowHosts: ['127.0.0.1'], allowPrivate: true },
  },
});

function poster(base: string) {
  return async (path: string, body: object, accessToken?: unknown): Promise<Record<string, unknown>> => {
    const answer = await request(base + path, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(typeof accessToken === 'string' ? { authorization: `Bearer ${accessToken}` } : {}),
      },
      body: JSON.stringify(body),
    });
    const text = await answer.body.text();
    if (answer.statusCode >= 300) throw new Error(`${path} was answered with ${answer.statusCode}: ${text}`);
    return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
  };
}
