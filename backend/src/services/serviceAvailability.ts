/**
 * Whether a service can be used now: known, enabled and healthy (P01), and what the health monitor last saw of it (P05).
 */
import type { ServiceRegistry } from '../catalog/serviceRegistry.js';
import type { ServiceDefinition } from '../catalog/serviceDefinition.js';
import type { Queryable } from '../database/queryable.js';
import { listHealth, type ServiceHealth, type ServiceState } from '../stores/healthStore.js';

export interface ServiceStatus {
  readonly isHealthy: boolean;
  /** ISO 8601; null before the first probe. */
  readonly lastCheck: string | null;
  readonly responseTimeMs: number | null;
  readonly error: string | null;
  /** Failed probes in a row. */
  readonly failures: number;
  readonly state: ServiceState | null;
  readonly since: string | null;
  /** Known, enabled and healthy. */
  readonly isAvailable: boolean;
}

export interface ServiceAvailability {
  isServiceAvailable(service: string): Promise<boolean>;
  /** By service name, for every service of the registry. @throws AppError DATABASE_UNAVAILABLE */
  statuses(): Promise<ReadonlyMap<string, ServiceStatus>>;
}

/** How old the monitor's word may be before it counts for nothing: the monitor itself may be dead. */
const staleAfterIntervals = 4;
const staleMsMin = 30_000;

export function createServiceAvailability(options: {
  readonly db: Queryable;
  readonly registry: ServiceRegistry;
  readonly monitorIntervalMs: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}): ServiceAvailability {
  const { db, registry, monitorIntervalMs, now } = options;
  const staleMs = Math.max(monitorIntervalMs * staleAfterIntervals, staleMsMin);

  const statuses = async (): Promise<ReadonlyMap<string, ServiceStatus>> => {
    const seen = new Map((await listHealth(db)).map((health) => [health.service, health]));
    return new Map(
      registry
        .list()
        .map((definition) => [
          definition.name,
          toServiceStatus(definition, seen.get(definition.name) ?? null, now(), staleMs),
        ]),
    );
  };
  return {
    statuses,
    async isServiceAvailable(service) {
      return (await statuses()).get(service)?.isAvailable ?? false;
    },
  };
}

export function toServiceStatus(
  definition: Pick<ServiceDefinition, 'enabled'>,
  health: ServiceHealth | null,
  now: number,
  staleMs: number,
): ServiceStatus {
  if (!definition.enabled) {
    return { ...neverSeen, error: 'the service is switched off', state: health?.state ?? null };
  }
  if (health === null) return { ...neverSeen, error: 'the monitor has not looked at it yet' };
  const isStale = now - health.lastCheckAt.getTime() > staleMs;
  const isHealthy = health.isHealthy && !isStale;
  return {
    isHealthy,
    lastCheck: health.lastCheckAt.toISOString(),
    responseTimeMs: health.responseTimeMs,
    error: isStale ? 'the monitor has not looked at it lately; is it running?' : health.error,
    failures: health.failures,
    state: health.state,
    since: health.since.toISOString(),
    isAvailable: isHealthy,
  };
}

const neverSeen = {
  isHealthy: false,
  lastCheck: null,
  responseTimeMs: null,
  failures: 0,
  state: null,
  since: null,
  isAvailable: false,
} as const;
