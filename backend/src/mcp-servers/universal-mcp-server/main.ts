/**
 * The universal server: one process for one service of `mcp-ports` (`MCP_TYPE`), for all its users. It starts without a
 * database and without a key ring (live, not ready, calls 503) and is ready by itself when they are back.
 */
import { findProjectRoot } from '../../config/projectRoot.js';
import { loadService } from '../../catalog/loadServices.js';
import { loadConfig } from '../../config/config.js';
import { readEnv } from '../../config/env.js';
import { AppError } from '../../errors/appError.js';
import { createDrain, drainOnSignals, type Drain } from '../../lifecycle/drain.js';
import { listen, runProgram } from '../../lifecycle/httpServer.js';
import { createLogger } from '../../telemetry/logger.js';
import { createServiceProcess } from './context.js';

await runProgram('universal-mcp-server', async () => {
  const config = loadConfig(readEnv(), findProjectRoot());
  if (config.service === null) throw new AppError('CONFIG_INVALID', 'MCP_TYPE names no service');
  const { name, port } = config.service;
  const definition = loadService(config, name);
  const log = createLogger({ level: config.logLevel, program: `mcp-${name}`, service: name });

  // One promise that nobody looked after must not end the calls of all the others; it is a mistake of ours to be mended.
  process.on('unhandledRejection', (error) => log.error('a promise was left to itself', { error }));

  let drain: Drain | null = null;
  const service = await createServiceProcess({
    config,
    definition,
    log,
    lifecycle: {
      isDraining: () => drain?.isDraining ?? false,
      markStream: (response) => drain?.markStream(response),
    },
  });
  drain = createDrain({
    server: service.server,
    onStreamsEnd: () => service.endStreams(),
    close: () => service.close(),
  });
  drainOnSignals(drain, (error) => log.error('closing failed', { error }));
  if (service.kindUpstream.kind === 'stdio') {
    const swept = await service.kindUpstream.upstream.sweepOrphans();
    service.metrics.orphans.set(swept);
    if (swept > 0) log.warn('children of a process that was killed were ended', { count: swept });
  }
  await listen(service.server, { host: config.hosts.service, port });
  log.info('listening');
  process.send?.('ready');
  await service.announce();
});
