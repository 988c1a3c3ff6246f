/** The file_sd list of Prometheus: one target per process that serves `/metrics`. */
import type { Config } from '../config/config.js';
import type { ServiceDefinition } from './serviceDefinition.js';

export interface PrometheusTarget {
  readonly targets: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/** What the committed list stands for: an installation that moved no port. */
export const defaultPorts: Config['ports'] = { api: 3000, front: 8080, monitor: 3999, serviceOffset: 0 };

export function toPrometheusTargets(
  services: readonly Pick<ServiceDefinition, 'name' | 'port'>[],
  ports: Config['ports'],
): PrometheusTarget[] {
  return [
    target('main-api', ports.api, 'main-api'),
    target('front', ports.front, 'front'),
    target('health-monitor', ports.monitor, 'health-monitor'),
    ...services
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      .map(({ name, port }) => target(name, port + ports.serviceOffset, 'universal-mcp-server')),
  ];
}

function target(service: string, port: number, program: string): PrometheusTarget {
  return { targets: [`127.0.0.1:${port}`], labels: { service, program } };
}
