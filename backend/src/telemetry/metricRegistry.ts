/**
 * A registry for one process, with Node's own process metrics in it, and constructors that give every further metric
 * the project's prefix.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

export interface Define {
  readonly registry: Registry;
  counter(name: string, help: string, labels: readonly string[]): Counter;
  /** `collect` sets the gauge at each scrape. */
  gauge(name: string, help: string, labels: readonly string[], collect?: (gauge: Gauge) => void): Gauge;
  histogram(name: string, help: string, labels: readonly string[], buckets: number[]): Histogram;
}

export function openRegistry(): Define {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const form = (name: string, help: string, labels: readonly string[]) => ({
    name: `portolan_${name}`,
    help,
    labelNames: [...labels],
    registers: [registry],
  });
  return {
    registry,
    counter: (name, help, labels) => new Counter(form(name, help, labels)),
    gauge: (name, help, labels, collect) => {
      const gauge: Gauge = new Gauge({
        ...form(name, help, labels),
        ...(collect === undefined ? {} : { collect: () => collect(gauge) }),
      });
      return gauge;
    },
    histogram: (name, help, labels, buckets) => new Histogram({ ...form(name, help, labels), buckets }),
  };
}
