import { join } from 'node:path';
import type { ServiceDefinition } from '../../backend/src/catalog/serviceDefinition.js';
import type { StdioDefinition } from '../../backend/src/catalog/mcpServerDefinitions.js';
import { loadServiceDefinitions } from '../../backend/src/catalog/loadServiceDefinitions.js';
import { readPortsLock } from '../../backend/src/catalog/portsLock.js';

const projectRoot = join(import.meta.dirname, '..', '..');
export const stdioServersDir = join(import.meta.dirname, 'stdioServers');
export const hostileServer = join(stdioServersDir, 'hostileServer.mjs');

/** A shipped service as it is loaded, with other settings for its children. */
export function aStdioService(name: string, stdio: Partial<StdioDefinition> = {}): ServiceDefinition {
  const { services } = loadServiceDefinitions({
    mcpPortsDir: join(projectRoot, 'mcp-ports'),
    lock: readPortsLock(join(projectRoot, 'mcp-ports', 'ports.lock.json')),
    env: () => undefined,
  });
  const found = services.find((service) => service.name === name);
  if (found?.stdio == null) throw new Error(`${name} is no shipped stdio service`);
  return { ...found, stdio: { ...found.stdio, ...stdio } };
}

/**
 * The service `everything` with the hostile test server in the place of its own, as a plain child: tests watch it by its pid
 * and by files that it writes. What keeps children apart is tested by `isolatedChildren.ts` and by whole service processes.
 */
export function aHostileService(stdio: Partial<StdioDefinition> = {}): ServiceDefinition {
  return aStdioService('everything', {
    command: process.execPath,
    args: [hostileServer],
    package: null,
    sandbox: { mode: 'off', readPaths: [], writePaths: [], network: 'host' },
    ...stdio,
  });
}
