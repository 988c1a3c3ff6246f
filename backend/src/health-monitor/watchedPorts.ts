/** The ports that the monitor watches: the main API, the front, and every enabled service of the registry. */
import type { ServiceDefinition } from '../catalog/serviceDefinition.js';
import type { Config } from '../config/config.js';

export interface WatchedPort {
  /** The service's name, `main-api` or `front`. */
  readonly name: string;
  /** Its PM2 app. */
  readonly program: string;
  readonly origin: string;
  readonly timeoutMs: number;
  /** Failed probes in a row until it counts as unhealthy, and good ones until it counts as healthy again. */
  readonly failAfter: number;
  readonly okAfter: number;
}

const ownProbe = { timeoutMs: 5_000, failAfter: 3, okAfter: 1 };

export function toWatchedPorts(
  { hosts, ports }: Pick<Config, 'hosts' | 'ports'>,
  services: readonly ServiceDefinition[],
): WatchedPort[] {
  return [
    { name: 'main-api', program: 'main-api', origin: toOrigin(hosts.api, ports.api), ...ownProbe },
    { name: 'front', program: 'front', origin: toOrigin(hosts.front, ports.front), ...ownProbe },
    ...services
      .filter(({ enabled, health }) => enabled && health.type !== 'none')
      .map(({ name, port, health: { timeoutMs, failAfter, okAfter } }) => ({
        name,
        program: `mcp-${name}`,
        origin: toOrigin(hosts.service, port + ports.serviceOffset),
        timeoutMs,
        failAfter,
        okAfter,
      })),
  ];
}

/** A program that listens on every address answers on the loopback too. */
function toOrigin(host: string, port: number): string {
  return `http://${host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host}:${port}`;
}
