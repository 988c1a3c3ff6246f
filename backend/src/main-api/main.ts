/**
 * The main API: users, catalog, instances, console. It starts without a database (503 until it comes) and without a key
 * ring (sealed until it is back), and ends without cutting anybody off.
 */
import { existsSync } from 'node:fs';
import { findProjectRoot } from '../config/projectRoot.js';
import { loadServices } from '../catalog/loadServices.js';
import { createServiceRegistry } from '../catalog/serviceRegistry.js';
import { loadConfig, type Config } from '../config/config.js';
import { readEnv } from '../config/env.js';
import { readSecretFile } from '../config/secrets.js';
import { createPool } from '../database/pool.js';
import { AppError } from '../errors/appError.js';
import { createScheduler } from '../jobs/scheduler.js';
import { clientAddressReader } from '../lifecycle/clientAddress.js';
import { createDrain, drainOnSignals, type Drain } from '../lifecycle/drain.js';
import { createHttpServer, listen, runProgram } from '../lifecycle/httpServer.js';
import { startChangeFeed } from '../services/changeFeed.js';
import { readInstallKeys } from '../services/installKeys.js';
import { loadSigningKeys, refuseSharedKeys, type SigningKeys } from '../services/jwtKeys.js';
import { startRingHeartbeat } from '../services/ringHeartbeat.js';
import { openVaultGate } from '../services/vaultKeys.js';
import { createLogger } from '../telemetry/logger.js';
import { createMainApiMetrics } from '../telemetry/metrics.js';
import { eventMac } from '../vault/auditMacs.js';
import { parseKeyRing } from '../vault/keyRing.js';
import { createApp } from './app.js';
import { createContext } from './context.js';
import { addJobs } from './jobs.js';

await runProgram('main-api', async () => {
  const config = loadConfig(readEnv(), findProjectRoot());
  const log = createLogger({ level: config.logLevel, program: 'main-api' });
  const metrics = createMainApiMetrics();
  const signingKeys = loadSigningKeys(config.paths.jwtKeys);
  refuseUnfitKeyRing(config, signingKeys);

  const connectionString = readSecretFile(
    config.databaseUrlFile('api'),
    'the connection string of the role api',
  );
  const pool = createPool({
    connectionString,
    applicationName: 'portolan-main-api',
    auditMac: (text) => eventMac(vault.keys().system.audit, text),
    onIdleError: (error) => log.warn('an idle database connection broke', { error }),
  });
  metrics.watchPool(() => pool.counts());
  const changes = startChangeFeed({
    connectionString,
    applicationName: 'portolan-main-api-listen',
    onConnection: (isUp, cause) =>
      isUp
        ? log.info('listening for changes')
        : log.warn('the listening connection was lost', { error: cause }),
  });
  const vault = await openVaultGate({
    readRing: () => readSecretFile(config.paths.keyRing, 'the key ring (KEYRING_FILE)'),
    readInstallKeys: () => readInstallKeys(pool),
    onChange: (isOpen, reason) =>
      isOpen ? log.info('the vault is open') : log.warn('the vault is sealed', { error: reason }),
  });
  const heartbeat = startRingHeartbeat({
    db: pool,
    vault,
    program: 'main-api',
    onFault: (error) => log.warn('the key ring could not be told of', { error }),
  });
  const registry = createServiceRegistry(() => loadServices(config));
  for (const problem of registry.problems()) {
    log.warn('a service configuration is not used', { service: problem.service });
  }
  const stopReloading = changes.onRegistryChange(() => {
    try {
      registry.reload();
    } catch (error) {
      log.error('the services could not be read again; those known before stay', { error });
    }
  });

  let drain: Drain | null = null;
  const isDraining = (): boolean => drain?.isDraining ?? false;
  const ctx = createContext({
    config,
    log,
    metrics,
    pool,
    vault,
    registry,
    changes,
    signingKeys,
    isDraining,
  });
  const scheduler = createScheduler({
    onRun: ({ job, outcome, durationMs, error }) => {
      metrics.jobRuns(job, outcome).inc();
      metrics.jobSeconds(job).inc(durationMs / 1_000);
      if (outcome === 'failure') log.warn(`the job ${job} failed`, { durationMs, error });
    },
  });
  const closeJobs = addJobs(scheduler, { ctx, vault });

  const frontKey = existsSync(config.paths.frontKey)
    ? Buffer.from(readSecretFile(config.paths.frontKey, 'the front key').reveal(), 'base64')
    : null;
  const clientAddressOf = clientAddressReader({ frontKey, trustProxy: config.trustProxy });
  const server = createHttpServer(createApp(ctx, { clientAddressOf }));
  drain = createDrain({
    server,
    async close() {
      await scheduler.drain();
      await closeJobs();
      stopReloading();
      await heartbeat[Symbol.asyncDispose]();
      vault[Symbol.dispose]();
      await ctx[Symbol.asyncDispose]();
      await changes[Symbol.asyncDispose]();
      await pool.close();
    },
  });
  drainOnSignals(drain, (error) => log.error('closing failed', { error }));
  await listen(server, { host: config.hosts.api, port: config.ports.api });
  log.info('listening');
  process.send?.('ready');
});

/**
 * A ring that is missing seals the vault; one that is there and unfit (short, constant, shared with the JWT keys) ends
 * the start, since no later arrival can make it fit (07 B08).
 */
function refuseUnfitKeyRing({ paths }: Config, signingKeys: SigningKeys): void {
  if (!existsSync(paths.keyRing)) return;
  try {
    const text = readSecretFile(paths.keyRing, 'the key ring');
    refuseSharedKeys(signingKeys, parseKeyRing(text.reveal()));
  } catch (thrown) {
    if (!(thrown instanceof AppError)) throw thrown;
    throw new AppError('CONFIG_INVALID', `KEYRING_FILE: ${thrown.message}`, { cause: thrown });
  }
}
