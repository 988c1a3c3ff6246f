/** What the programs export, asked of their own registries. */
import type { Registry } from 'prom-client';
import {
  createFrontMetrics,
  createMainApiMetrics,
  createMonitorMetrics,
  createServiceMetrics,
} from '../../backend/src/telemetry/metrics.js';

export interface Exported {
  readonly labels: ReadonlySet<string>;
}

const pool = () => ({ total: 1, idle: 1, waiting: 0 });

/** The four kinds of program, as they open their metrics. */
export function openAllMetrics() {
  const all = {
    mainApi: createMainApiMetrics(),
    service: createServiceMetrics('github'),
    front: createFrontMetrics(),
    monitor: createMonitorMetrics(),
  };
  for (const metrics of [all.mainApi, all.service, all.monitor]) metrics.watchPool(pool);
  return all;
}

/** Every name that a scrape can hold, with its labels. */
export async function findExported(): Promise<ReadonlyMap<string, Exported>> {
  const exported = new Map<string, Exported>();
  for (const { registry } of Object.values(openAllMetrics())) {
    for (const { name, type } of await registry.getMetricsAsJSON()) {
      const labels = new Set(labelNamesOf(registry, name));
      // Types come as words, whatever the declaration of prom-client says.
      if (String(type) !== 'histogram') exported.set(name, { labels });
      else {
        for (const part of ['sum', 'count']) exported.set(`${name}_${part}`, { labels });
        exported.set(`${name}_bucket`, { labels: new Set([...labels, 'le']) });
      }
    }
  }
  return exported;
}

function labelNamesOf(registry: Registry, name: string): readonly string[] {
  return (registry.getSingleMetric(name) as unknown as { labelNames: readonly string[] }).labelNames;
}
