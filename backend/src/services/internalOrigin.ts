import type { ServiceDefinition } from '../catalog/serviceDefinition.js';
import type { Config } from '../config/config.js';

/** Where the process of a service listens, as another program of this machine reaches it. */
export function toInternalOrigin(
  { hosts, ports }: Pick<Config, 'hosts' | 'ports'>,
  { port }: Pick<ServiceDefinition, 'port'>,
): string {
  return `http://${toLoopback(hosts.service)}:${port + ports.serviceOffset}`;
}

function toLoopback(host: string): string {
  if (host === '::' || host === '::1') return '[::1]';
  return host === '0.0.0.0' || host === 'localhost' ? '127.0.0.1' : host;
}
