/**
 * From probes to a state of each port. One lost probe is no outage: it takes `failAfter` in a row to become unhealthy and
 * `okAfter` to recover; a port that was never healthy is unhealthy from its first failure.
 */
import type { ServiceHealth } from '../stores/healthStore.js';
import type { ProbeResult } from './portProbe.js';
import type { WatchedPort } from './watchedPorts.js';

export type PortHealth = Omit<ServiceHealth, 'since'>;

export interface PortStates {
  /** Takes one probe in and gives the state of the port after it. */
  note(port: WatchedPort, probe: ProbeResult, at: Date): PortHealth;
  /** Forgets the ports that are watched no longer, and names them. */
  forgetExcept(names: ReadonlySet<string>): string[];
}

interface Known {
  readonly isHealthy: boolean;
  readonly failures: number;
  readonly successes: number;
}

export function createPortStates(): PortStates {
  const known = new Map<string, Known>();
  return {
    note({ name, failAfter, okAfter }, probe, at) {
      const before = known.get(name) ?? { isHealthy: false, failures: 0, successes: okAfter - 1 };
      const failures = probe.isHealthy ? 0 : before.failures + 1;
      const successes = probe.isHealthy ? before.successes + 1 : 0;
      const isHealthy = before.isHealthy ? failures < failAfter : successes >= okAfter;
      known.set(name, { isHealthy, failures, successes });
      return {
        service: name,
        state: isHealthy ? 'RUNNING' : probe.isHealthy ? 'STARTING' : 'FAILED',
        isHealthy,
        lastCheckAt: at,
        responseTimeMs: probe.responseTimeMs,
        error: probe.error,
        failures,
      };
    },
    forgetExcept(names) {
      const gone = [...known.keys()].filter((name) => !names.has(name));
      for (const name of gone) known.delete(name);
      return gone;
    },
  };
}
