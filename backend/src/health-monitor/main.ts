/**
 * The health monitor: probes every port (P05), kills what hangs (R28), revives what PM2 gave up on, and shows it all.
 */
import { join } from 'node:path';
import { loadServices } from '../catalog/loadServices.js';
import { createServiceRegistry } from '../catalog/serviceRegistry.js';
import { loadConfig } from '../config/config.js';
import { readCallerEnv, readEnv } from '../config/env.js';
import { findProjectRoot } from '../config/projectRoot.js';
import { readSecretFile } from '../config/secrets.js';
import { createPool } from '../database/pool.js';
import { createScheduler } from '../jobs/scheduler.js';
import { createDrain, drainOnSignals, type Drain } from '../lifecycle/drain.js';
import { hostGuard } from '../lifecycle/hostGuard.js';
import { createHttpServer, listen, runProgram } from '../lifecycle/httpServer.js';
import { startChangeFeed } from '../services/changeFeed.js';
import { forgetHealthExcept, recordHealth } from '../stores/healthStore.js';
import { createPm2 } from '../supervisor/pm2.js';
import { findPm2Home } from '../supervisor/pm2Home.js';
import { createLogger } from '../telemetry/logger.js';
import { createMonitorMetrics } from '../telemetry/metrics.js';
import { metricsAccess } from '../telemetry/metricsAccess.js';
import { createHangWatch } from './hangWatch.js';
import { createMonitorHandler } from './monitorServer.js';
import { createPortStates } from './portStates.js';
import { createProbeRounds } from './probeRounds.js';
import { createRevival } from './revival.js';
import { toWatchedPorts } from './watchedPorts.js';

const failingMs = 1_000;
const heartbeatMs = 3_000;
const lookAtPm2Ms = 10_000;

await runProgram('health-monitor', async () => {
  const config = loadConfig(readEnv(), findProjectRoot());
  const { paths, projectRoot, monitorIntervalMs } = config;
  const log = createLogger({ level: config.logLevel, program: 'health-monitor' });
  const metrics = createMonitorMetrics();
  const connectionString = readSecretFile(
    config.databaseUrlFile('jobs'),
    'the connection string of the role jobs',
  );
  const pool = createPool({
    connectionString,
    applicationName: 'portolan-health-monitor',
    connectionsMax: 3,
    onIdleError: (error) => log.warn('an idle database connection broke', { error }),
  });
  metrics.watchPool(() => pool.counts());
  const registry = createServiceRegistry(() => loadServices(config));
  const changes = startChangeFeed({ connectionString, applicationName: 'portolan-health-monitor-listen' });
  changes.onRegistryChange(() => void registry.reload());
  const ports = () => toWatchedPorts(config, registry.list());

  let roundEndedAt = performance.now();
  const rounds = createProbeRounds({
    ports,
    states: createPortStates(),
    metrics,
    log,
    store: (health) => recordHealth(pool, health),
    forget: (watched) => forgetHealthExcept(pool, watched),
    now: () => new Date(),
  });
  const scheduler = createScheduler({
    onRun: ({ job, outcome, durationMs, error }) => {
      if (outcome === 'failure') log.warn(`the job ${job} failed`, { durationMs, error });
    },
  });
  scheduler.add({
    name: 'probe-ports',
    everyMs: monitorIntervalMs,
    atStart: true,
    async run() {
      registry.reload();
      await rounds.probeAll();
      roundEndedAt = performance.now();
    },
  });
  scheduler.add({ name: 'probe-failing-ports', everyMs: failingMs, run: () => rounds.probeFailing() });

  const pm2Home = findPm2Home(paths);
  if (pm2Home === null) {
    log.warn('there is no PM2 of this fleet: nothing is revived');
  } else {
    const pm2 = createPm2({ projectRoot, home: pm2Home, env: readCallerEnv() });
    const fleetFile = join(paths.stateDir, 'fleet-apps.json');
    const listApps = () => pm2.list();
    const revive = createRevival({ listApps, start: (name) => pm2.start(fleetFile, [name]), metrics, log });
    scheduler.add({ name: 'revive', everyMs: lookAtPm2Ms, atStart: true, run: revive });
    const beat = createHangWatch({ ports, listApps, kill: (pid) => process.kill(pid, 'SIGKILL'), log });
    scheduler.add({ name: 'heartbeat', everyMs: heartbeatMs, run: beat });
  }

  let drain: Drain | null = null;
  const server = createHttpServer(
    createMonitorHandler({
      guard: hostGuard(config),
      metrics,
      metricsAccess: metricsAccess({ tokenFile: paths.metricsToken, isOpen: config.metricsOpen }),
      isDraining: () => drain?.isDraining ?? false,
      isCurrent: () => performance.now() - roundEndedAt < monitorIntervalMs * 2 + 60_000,
    }),
  );
  drain = createDrain({
    server,
    async close() {
      await scheduler.drain();
      await changes[Symbol.asyncDispose]();
      await pool.close();
    },
  });
  drainOnSignals(drain, (error) => log.error('closing failed', { error }));
  await listen(server, { host: config.hosts.service, port: config.ports.monitor });
  log.info('listening');
  process.send?.('ready');
});
