/**
 * Probes every port, all at once, and stores what was found. Ports that fail are asked again in short rounds between the
 * long ones, so that an outage and its end show in seconds although a whole round comes every 30 s.
 */
import type { MonitorMetrics } from '../telemetry/metrics.js';
import type { Logger } from '../telemetry/logger.js';
import type { PortHealth, PortStates } from './portStates.js';
import { probePort } from './portProbe.js';
import type { WatchedPort } from './watchedPorts.js';

export interface ProbeRoundsOptions {
  readonly ports: () => readonly WatchedPort[];
  readonly states: PortStates;
  readonly metrics: Pick<MonitorMetrics, 'portUp' | 'forgetPort'>;
  readonly log: Logger;
  /** Stores one port's health; it may fail while the database is away. */
  readonly store: (health: PortHealth) => Promise<unknown>;
  /** Forgets ports that are watched no longer. */
  readonly forget: (watched: readonly string[]) => Promise<unknown>;
  readonly now: () => Date;
}

export interface ProbeRounds {
  /** Probes every port once. */
  probeAll(): Promise<void>;
  /** Probes those once whose last probe failed. */
  probeFailing(): Promise<void>;
  /** By name, as it was last seen. */
  latest(): ReadonlyMap<string, PortHealth>;
}

export function createProbeRounds(options: ProbeRoundsOptions): ProbeRounds {
  const { ports, states, metrics, log, store, forget, now } = options;
  const latest = new Map<string, PortHealth>();
  /** A port that takes its time is not asked again meanwhile. */
  const underWay = new Set<string>();

  const probe = async (port: WatchedPort): Promise<void> => {
    if (underWay.has(port.name)) return;
    underWay.add(port.name);
    const result = await probePort(`${port.origin}/health`, port.timeoutMs);
    underWay.delete(port.name);
    const before = latest.get(port.name);
    const health = states.note(port, result, now());
    latest.set(port.name, health);
    metrics.portUp(port.name).set(health.isHealthy ? 1 : 0);
    if (before !== undefined && before.isHealthy !== health.isHealthy) {
      const fields = { service: port.name, count: health.failures };
      if (health.isHealthy) log.info('a port is healthy again', fields);
      else log.error('a port is unhealthy', fields);
    }
    await store(health).catch((error: unknown) => {
      log.warn('the health of a port could not be stored', { service: port.name, error });
    });
  };

  return {
    async probeAll() {
      const round = ports();
      const names = round.map(({ name }) => name);
      for (const name of states.forgetExcept(new Set(names))) {
        latest.delete(name);
        metrics.forgetPort(name);
      }
      await forget(names).catch((error: unknown) =>
        log.warn('ports that are gone could not be forgotten', { error }),
      );
      await Promise.all(round.map(probe));
    },
    async probeFailing() {
      await Promise.all(
        ports()
          .filter(({ name }) => (latest.get(name)?.failures ?? 0) > 0)
          .map(probe),
      );
    },
    latest: () => latest,
  };
}
