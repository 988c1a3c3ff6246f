/**
 * The main API's application on a port of its own, over a connected site, with people who sign in with their passwords:
 *
 *   await using api = await startMainApi();
 *   const alice = await api.signIn();
 *   await alice.call('POST', '/api/v1/services/notes/authenticate', { apiKey: 'good-alice' });
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import { loadConfig } from '../../backend/src/config/config.js';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import { withUser } from '../../backend/src/database/withUser.js';
import { createApp } from '../../backend/src/main-api/app.js';
import { createContext, type AppContext } from '../../backend/src/main-api/context.js';
import { startChangeFeed } from '../../backend/src/services/changeFeed.js';
import { createPasswords } from '../../backend/src/services/passwords.js';
import { createUser, type UserRole } from '../../backend/src/stores/usersStore.js';
import { createLogger } from '../../backend/src/telemetry/logger.js';
import { createMainApiMetrics } from '../../backend/src/telemetry/metrics.js';
import { openConnectedSite, type ConnectedSite } from './connectedSite.js';
import { waitUntil } from './eventually.js';
import { callApi, type Answer } from './people.js';

export interface SignedIn {
  readonly userId: string;
  readonly email: string;
  readonly bearer: string;
  call(method: string, path: string, body?: unknown): Promise<Answer>;
}

export interface RunningMainApi extends AsyncDisposable {
  readonly bench: ConnectedSite;
  readonly ctx: AppContext;
  readonly origin: string;
  /** Everything that was logged. */
  logged(): string;
  /** A new person, signed in; `signedInMinutesAgo` moves the sign-in back. */
  signIn(wish?: { readonly role?: UserRole; readonly signedInMinutesAgo?: number }): Promise<SignedIn>;
}

const password = 'correct horse battery staple';

export async function startMainApi(): Promise<RunningMainApi> {
  const bench = await openConnectedSite();
  const { site } = bench;
  const lines: string[] = [];
  const config = loadConfig(
    { PORTOLAN_STATE_DIR: bench.mcpPortsDir, PUBLIC_URL: bench.publicUrl.href },
    findProjectRoot(),
  );
  const changes = startChangeFeed({ connectionString: site.db.urls.api, applicationName: 'main-api-listen' });
  await waitUntil('the feed is up', () => changes.isUp);
  const ctx = createContext({
    config,
    log: createLogger({
      level: 'debug',
      program: 'main-api',
      destination: new Writable({
        write(chunk: Buffer, _encoding, done) {
          lines.push(chunk.toString());
          done();
        },
      }),
    }),
    metrics: createMainApiMetrics(),
    pool: site.api,
    vault: site.vault,
    registry: bench.registry,
    changes,
    signingKeys: bench.keys,
    isDraining: () => false,
    limits: { 'login-address': 1_000, 'login-account': 1_000 },
  });
  const server = createServer(createApp(ctx, { clientAddressOf: () => '127.0.0.1' }));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const passwordHash = await createPasswords().hash(password);

  return {
    bench,
    ctx,
    origin,
    logged: () => lines.join(''),
    async signIn({ role = 'user', signedInMinutesAgo = 0 } = {}) {
      const userId = randomUUID();
      const email = `${userId}@example.com`;
      await withUser(site.api, { userId: null, scope: 'admin' }, (db) =>
        createUser(db, { id: userId, email, passwordHash, role }),
      );
      const { status, body } = await callApi(origin, 'POST', '/api/v1/auth/login', {
        body: { email, password },
      });
      if (status !== 200) throw new Error(`login: ${status} ${JSON.stringify(body)}`);
      const root = await site.db.superuser();
      await root.query(
        `update login_sessions set authenticated_at = authenticated_at - $2 * interval '1 minute' where user_id = $1`,
        [userId, signedInMinutesAgo],
      );
      const bearer = String(body.accessToken);
      return {
        userId,
        email,
        bearer,
        call: (method, path, sent) =>
          callApi(origin, method, path, sent === undefined ? { bearer } : { body: sent, bearer }),
      };
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
      await ctx[Symbol.asyncDispose]();
      await changes[Symbol.asyncDispose]();
      await bench[Symbol.asyncDispose]();
    },
  };
}
