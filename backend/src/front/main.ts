/**
 * The front: the origin that people use. It sends an instance URL to its service's port and everything else to the main
 * API, so that a restart of the main API cuts no instance's stream (12.1).
 */
import { loadServices } from '../catalog/loadServices.js';
import { createServiceRegistry } from '../catalog/serviceRegistry.js';
import { loadConfig } from '../config/config.js';
import { readEnv } from '../config/env.js';
import { findProjectRoot } from '../config/projectRoot.js';
import { readSecretFile } from '../config/secrets.js';
import { clientAddressReader, clientAddressSigner } from '../lifecycle/clientAddress.js';
import { createDrain, drainOnSignals, type Drain } from '../lifecycle/drain.js';
import { hostGuard } from '../lifecycle/hostGuard.js';
import { createHttpServer, listen, runProgram } from '../lifecycle/httpServer.js';
import { startChangeFeed } from '../services/changeFeed.js';
import { createLogger } from '../telemetry/logger.js';
import { createFrontMetrics } from '../telemetry/metrics.js';
import { metricsAccess } from '../telemetry/metricsAccess.js';
import { createForwarder } from './forward.js';
import { createFrontHandler } from './frontServer.js';

await runProgram('front', async () => {
  const config = loadConfig(readEnv(), findProjectRoot());
  const log = createLogger({ level: config.logLevel, program: 'front' });
  const registry = createServiceRegistry(() => loadServices(config));
  const changes = startChangeFeed({
    connectionString: readSecretFile(
      config.databaseUrlFile('service'),
      'the connection string of the role service',
    ),
    applicationName: 'portolan-front-listen',
  });
  changes.onRegistryChange(() => void registry.reload());

  const frontKey = Buffer.from(readSecretFile(config.paths.frontKey, 'the front key').reveal(), 'base64');
  const addressOf = clientAddressReader({ frontKey: null, trustProxy: config.trustProxy });
  const signAddress = clientAddressSigner(frontKey);
  const forwarder = createForwarder();
  let drain: Drain | null = null;
  const server = createHttpServer(
    createFrontHandler({
      guard: hostGuard(config),
      services: registry,
      forwarder,
      stateAddress: (request) => signAddress(addressOf(request) ?? '0.0.0.0', Date.now()),
      metrics: createFrontMetrics(),
      metricsAccess: metricsAccess({ tokenFile: config.paths.metricsToken, isOpen: config.metricsOpen }),
      log,
      isDraining: () => drain?.isDraining ?? false,
      markStream: (response) => drain?.markStream(response),
      innerHosts: { api: config.hosts.api, service: config.hosts.service },
      apiPort: config.ports.api,
      servicePortOffset: config.ports.serviceOffset,
    }),
  );
  drain = createDrain({
    server,
    async close() {
      await changes[Symbol.asyncDispose]();
      await forwarder[Symbol.asyncDispose]();
    },
  });
  drainOnSignals(drain, (error) => log.error('closing failed', { error }));
  await listen(server, { host: config.hosts.front, port: config.ports.front });
  log.info('listening');
  process.send?.('ready');
});
