import type { ServiceMetrics } from '../../telemetry/metrics.js';
import type { Circuits } from './upstream/circuits.js';
import type { KindUpstream } from './upstream/createUpstream.js';

/** Brings up to date what a scrape reads rather than what is counted: children by state, their isolation, the circuit. */
export function refreshGauges(
  { kind, upstream }: KindUpstream,
  { openCount }: Pick<Circuits, 'openCount'>,
  metrics: Pick<ServiceMetrics, 'childIsolation' | 'childProcesses' | 'circuitState'>,
): void {
  if (kind !== 'stdio') return metrics.circuitState.set(openCount > 0 ? 2 : 0);
  metrics.childIsolation(upstream.isolation.form).set(1);
  const counts = upstream.counts();
  for (const state of ['starting', 'idle', 'busy', 'stopping'] as const)
    metrics.childProcesses(state).set(counts[state]);
  metrics.circuitState.set(counts.leftAlone > 0 ? 2 : 0);
}
