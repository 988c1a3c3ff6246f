/**
 * A universal server of one service in this process: real HTTP, real database, real children.
 *
 *   await using server = await openUniversalServer({ definition: aHostileService() });
 *   const alice = await server.aUrl();
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ServiceDefinition } from '../../backend/src/catalog/serviceDefinition.js';
import { loadConfig, type Config } from '../../backend/src/config/config.js';
import { createDrain, type Drain } from '../../backend/src/lifecycle/drain.js';
import { listen } from '../../backend/src/lifecycle/httpServer.js';
import { createServiceProcess } from '../../backend/src/mcp-servers/universal-mcp-server/context.js';
import { newJwtKeysFiles, parseSigningKeys, type SigningKeys } from '../../backend/src/services/jwtKeys.js';
import { withUser } from '../../backend/src/database/withUser.js';
import { deleteInstance, setActive } from '../../backend/src/stores/instancesStore.js';
import { createLogger } from '../../backend/src/telemetry/logger.js';
import { openInstallation, type Installation, type InstanceWish, type MadeInstance } from './installation.js';

export const projectRoot = join(import.meta.dirname, '..', '..');

export interface InstanceUrl extends MadeInstance {
  readonly url: string;
}

export interface UniversalServer extends AsyncDisposable {
  readonly site: Installation;
  readonly port: number;
  readonly origin: string;
  readonly config: Config;
  readonly signingKeys: SigningKeys;
  readonly metricsToken: string;
  /** An instance of a new user, or of the given one, and its URL on this port. */
  aUrl(wish?: Partial<InstanceWish>): Promise<InstanceUrl>;
  /** Ends the process's part as a restart would, and begins another on the same state and database. */
  restart(): Promise<void>;
}

export interface UniversalServerWish {
  readonly definition: ServiceDefinition;
  /** Changes to the environment that the configuration is read from. */
  readonly env?: Readonly<Record<string, string>>;
  readonly site?: Installation;
}

export async function openUniversalServer({
  definition,
  env = {},
  site: given,
}: UniversalServerWish): Promise<UniversalServer> {
  const site = given ?? (await openInstallation());
  const stateDir = mkdtempSync(join(tmpdir(), 'universal-'));
  const files = newJwtKeysFiles(randomUUID);
  mkdirSync(join(stateDir, 'database-urls'), { mode: 0o700 });
  writeFileSync(join(stateDir, 'database-urls', 'service'), site.db.urls.service.reveal(), { mode: 0o400 });
  writeFileSync(join(stateDir, 'keyring.json'), site.ring, { mode: 0o400 });
  writeFileSync(join(stateDir, 'jwt-public.json'), files.publicText);
  const metricsToken = randomUUID();
  writeFileSync(join(stateDir, 'metrics-token'), metricsToken);
  const config = loadConfig(
    { PORTOLAN_STATE_DIR: stateDir, MCP_TYPE: definition.name, PORT: '1', LOG_LEVEL: 'silent', ...env },
    projectRoot,
  );

  const start = async (port: number) => {
    let drain: Drain | null = null;
    const service = await createServiceProcess({
      config,
      definition,
      log: createLogger({ level: config.logLevel, program: 'test' }),
      lifecycle: {
        isDraining: () => drain?.isDraining ?? false,
        markStream: (response: ServerResponse) => drain?.markStream(response),
      },
    });
    drain = createDrain({
      server: service.server,
      lingerMs: 1,
      deadlineMs: 500,
      onStreamsEnd: () => service.endStreams(),
      close: () => service.close(),
    });
    const bound = await listen(service.server, { host: '127.0.0.1', port });
    return { drain, port: bound };
  };
  let running = await start(0);
  const origin = `http://127.0.0.1:${running.port}`;

  return {
    site,
    port: running.port,
    origin,
    config,
    signingKeys: parseSigningKeys(files.privateText),
    metricsToken,
    async aUrl(wish = {}) {
      const owner = wish.owner ?? (await site.aUser());
      const made = await site.anInstance({
        service: definition.name,
        prefix: definition.instancePrefix,
        ...wish,
        owner,
      });
      return { ...made, url: `${origin}/${made.instanceId}/${definition.name}` };
    },
    async restart() {
      await running.drain.start();
      running = await start(running.port);
    },
    async [Symbol.asyncDispose]() {
      await running.drain.start();
      if (given === undefined) await site[Symbol.asyncDispose]();
      rmSync(stateDir, { recursive: true, force: true });
    },
  };
}

/** What the owner can do to an instance at the main API, as the main API does it. */
export async function pauseInstance(
  { site }: Pick<UniversalServer, 'site'>,
  { id, owner }: MadeInstance,
): Promise<void> {
  await withUser(site.api, { userId: owner, scope: 'self' }, (client) =>
    setActive(client, { id, userId: owner }, false),
  );
}

export async function revokeInstance(
  { site }: Pick<UniversalServer, 'site'>,
  { id, owner }: MadeInstance,
): Promise<void> {
  await withUser(site.api, { userId: owner, scope: 'self' }, (client) =>
    deleteInstance(client, { id, userId: owner }),
  );
}
