/**
 * The main API over real HTTP on a port of its own, with a real database and services behind it, for tests of accounts
 * and of what every request passes:
 *
 *   await using api = await openMainApi();
 *   const ada = await api.anAdmin();
 *   const { status, body } = await ada.post('/api/v1/users', { email, password, role: 'user' });
 */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { loadConfig, type Config } from '../../backend/src/config/config.js';
import type { Env } from '../../backend/src/config/env.js';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import type { DatabasePool } from '../../backend/src/database/pool.js';
import { clientAddressReader } from '../../backend/src/lifecycle/clientAddress.js';
import { createHttpServer, listen } from '../../backend/src/lifecycle/httpServer.js';
import { createApp } from '../../backend/src/main-api/app.js';
import { createContext, type AppContext } from '../../backend/src/main-api/context.js';
import { startChangeFeed } from '../../backend/src/services/changeFeed.js';
import type { Actor } from '../../backend/src/services/changeAudit.js';
import type { LimitOverrides } from '../../backend/src/services/rateLimits.js';
import type { VaultGate } from '../../backend/src/services/vaultKeys.js';
import type { UserRole } from '../../backend/src/stores/usersStore.js';
import { createLogger } from '../../backend/src/telemetry/logger.js';
import { createMainApiMetrics } from '../../backend/src/telemetry/metrics.js';
import { openConnectedSite, type ConnectedSite } from './connectedSite.js';
import { waitUntil } from './eventually.js';

/** An answer as a client sees it. `body` is parsed JSON, or the text when it is none. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // A test knows what it asked for.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
}

type Send = (path: string, body?: unknown, headers?: Readonly<Record<string, string>>) => Promise<Answer>;

export interface Client {
  readonly get: (path: string, headers?: Readonly<Record<string, string>>) => Promise<Answer>;
  readonly post: Send;
  readonly put: Send;
  readonly patch: Send;
  readonly delete: Send;
}

export interface Person extends Client {
  readonly id: string;
  readonly email: string;
  readonly accessToken: string;
  readonly refreshToken: string;
}

export interface AuditRow {
  readonly action: string;
  readonly actor_kind: string;
  readonly actor_id: string | null;
  readonly actor_via: string | null;
  readonly subject_user_id: string | null;
  readonly target_kind: string | null;
  readonly target_id: string | null;
  readonly outcome: string;
  readonly error_code: string | null;
  readonly request_id: string | null;
  readonly client_address: string | null;
  readonly details: Record<string, unknown>;
}

export interface OpenedMainApi extends Client, AsyncDisposable {
  readonly url: string;
  readonly config: Config;
  readonly ctx: AppContext;
  readonly connected: ConnectedSite;
  /** Everything logged so far, one JSON line an event. */
  readonly logText: () => string;
  /** Somebody whose every request carries this bearer credential. */
  as(bearer: string): Client;
  /** Makes a user and signs them in over HTTP. */
  aPerson(role?: UserRole): Promise<Person>;
  anAdmin(): Promise<Person>;
  /** The audit rows that one request wrote. */
  auditOf(requestId: string): Promise<AuditRow[]>;
}

export interface MainApiWish {
  /** Any free one unless said otherwise. */
  readonly port?: number;
  readonly env?: Env;
  readonly limits?: LimitOverrides;
  readonly now?: () => number;
  readonly vault?: VaultGate;
  /** Stands between the application and its pool. */
  readonly wrapPool?: (pool: DatabasePool) => DatabasePool;
  /** Known to the main API as the key that its front signs with. */
  readonly frontKey?: Buffer;
}

export const goodPassword = 'correct horse battery staple';

/** Room for tests that are about something else. */
const wide: LimitOverrides = { 'login-account': 1_000, 'login-address': 1_000, setup: 1_000, invite: 1_000 };

export async function openMainApi(wish: MainApiWish = {}): Promise<OpenedMainApi> {
  const connected = await openConnectedSite();
  const stateDir = mkdtempSync(join(tmpdir(), 'portolan-api-'));
  const config = loadConfig(
    { PORTOLAN_STATE_DIR: stateDir, PUBLIC_URL: 'http://localhost:8080', ...wish.env },
    findProjectRoot(import.meta.dirname),
  );
  writeFileSync(config.paths.metricsToken, 'metrics-token-of-the-test\n', { mode: 0o400 });
  const written: string[] = [];
  const destination = new Writable({
    write(chunk: Buffer, _encoding, done) {
      written.push(chunk.toString('utf8'));
      done();
    },
  });
  const changes = startChangeFeed({
    connectionString: connected.site.db.urls.api,
    applicationName: 'test-main-api-listen',
  });
  await waitUntil('the change feed is up', () => changes.isUp);
  const pool = wish.wrapPool?.(connected.site.api) ?? connected.site.api;
  const ctx = createContext({
    config,
    log: createLogger({ level: 'debug', program: 'main-api', destination }),
    metrics: createMainApiMetrics(),
    pool,
    vault: wish.vault ?? connected.site.vault,
    registry: connected.registry,
    changes,
    signingKeys: connected.keys,
    isDraining: () => false,
    limits: { ...wide, ...wish.limits },
    ...(wish.now === undefined ? {} : { now: wish.now }),
  });
  const clientAddressOf = clientAddressReader({
    frontKey: wish.frontKey ?? null,
    trustProxy: config.trustProxy,
  });
  const server = createHttpServer(createApp(ctx, { clientAddressOf }));
  const port = await listen(server, { host: '127.0.0.1', port: wish.port ?? 0 });
  const url = `http://127.0.0.1:${port}`;
  const stranger = createClient(url, null);
  const superuser = await connected.site.db.superuser();

  let maker: Actor | null = null;
  const aPerson = async (role: UserRole = 'user'): Promise<Person> => {
    const email = `${randomUUID()}@example.com`;
    // Made on first need: a test of set-up wants a database without an admin.
    maker ??= { ...(await connected.anActor({ role: 'admin' })), requestId: null };
    const { id } = await ctx.users.create(maker, { email, password: goodPassword, role });
    const { body } = await stranger.post('/api/v1/auth/login', { email, password: goodPassword });
    const { accessToken, refreshToken } = body as { accessToken: string; refreshToken: string };
    return { id, email, accessToken, refreshToken, ...createClient(url, accessToken) };
  };

  return {
    ...stranger,
    url,
    config,
    ctx,
    connected,
    logText: () => written.join(''),
    as: (bearer) => createClient(url, bearer),
    aPerson,
    anAdmin: () => aPerson('admin'),
    async auditOf(requestId) {
      const { rows } = await superuser.query<AuditRow>('select * from audit_events where request_id = $1', [
        requestId,
      ]);
      return rows;
    },
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      });
      await ctx[Symbol.asyncDispose]();
      await changes[Symbol.asyncDispose]();
      await connected[Symbol.asyncDispose]();
      rmSync(stateDir, { recursive: true, force: true });
    },
  };
}

export function createClient(url: string, bearer: string | null): Client {
  const send =
    (method: string): Send =>
    async (path, body, headers = {}) => {
      const response = await fetch(url + path, {
        method,
        redirect: 'manual',
        headers: {
          ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      });
      return { status: response.status, headers: response.headers, body: parse(await response.text()) };
    };
  return {
    get: (path, headers) => send('GET')(path, undefined, headers),
    post: send('POST'),
    put: send('PUT'),
    patch: send('PATCH'),
    delete: send('DELETE'),
  };
}

/** A request with headers that `fetch` sets by itself, such as Host. */
export function sendRaw(
  url: string,
  {
    method = 'GET',
    headers = {},
    body = '',
  }: { method?: string; headers?: Record<string, string>; body?: string },
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(url, { method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const answered = new Headers();
        for (const [name, value] of Object.entries(response.headers)) answered.set(name, String(value));
        const text = Buffer.concat(chunks).toString('utf8');
        resolve({ status: response.statusCode ?? 0, headers: answered, body: parse(text) });
      });
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

export function modeOf(path: string): number {
  return statSync(path).mode & 0o777;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
