/** The file_sd list of Prometheus: one target per process that serves `/metrics`. */
import type { ServiceDefinition } from './serviceDefinition.js';

export interface PrometheusTarget {
  readonly targets: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/** Ports as they are without `SERVICE_PORT_OFFSET` and with the defaults of the others. */
export function toPrometheusTargets(
  services: readonly Pick<ServiceDefinition, 'name' | 'port'>[],
): PrometheusTarget[] {
  return [
    target('main-api', 3000, 'main-api'),
    target('front', 8080, 'front'),
    target('health-monitor', 3999, 'health-monitor'),
    ...services
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      .map(({ name, port }) => target(name, port, 'universal-mcp-server')),
  ];
}

function target(service: string, port: number, program: string): PrometheusTarget {
  return { targets: [`127.0.0.1:${port}`], labels: { service, program } };
}
