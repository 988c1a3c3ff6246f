/** What the monitor saw of each service, and each change of it. Written by the jobs role, read by the main API. */
import type { Queryable } from '../database/queryable.js';

export type ServiceState =
  'PENDING' | 'CREATING' | 'STARTING' | 'RUNNING' | 'STOPPING' | 'STOPPED' | 'FAILED';

export interface ServiceHealth {
  readonly service: string;
  readonly state: ServiceState;
  readonly isHealthy: boolean;
  readonly lastCheckAt: Date;
  readonly responseTimeMs: number | null;
  /** A short reason in our own words. */
  readonly error: string | null;
  /** Failed probes in a row. */
  readonly failures: number;
  /** Since when it is in this state. */
  readonly since: Date;
}

export interface ServiceHealthChange {
  readonly id: string;
  readonly service: string;
  readonly oldState: ServiceState | null;
  readonly newState: ServiceState;
  readonly isHealthy: boolean;
  readonly reason: string | null;
  readonly occurredAt: Date;
}

const columns = `service, state, is_healthy as "isHealthy", last_check_at as "lastCheckAt",
  response_time_ms as "responseTimeMs", error, failures, since`;

/**
 * Stores one probe's result. When state or health differ from before, a trigger writes the history row and notifies
 * `portolan_events` with `{type: 'SERVER_STATE_CHANGED', …}`, in the same transaction.
 */
export async function recordHealth(
  db: Queryable,
  probe: Omit<ServiceHealth, 'since'>,
): Promise<ServiceHealth> {
  const { rows } = await db.query<ServiceHealth>(
    `insert into service_health as h (service, state, is_healthy, last_check_at, response_time_ms, error, failures)
     values ($1, $2, $3, $4, $5, $6, $7)
     on conflict (service) do update set state = excluded.state, is_healthy = excluded.is_healthy,
       last_check_at = excluded.last_check_at, response_time_ms = excluded.response_time_ms, error = excluded.error,
       failures = excluded.failures,
       since = case when h.state is distinct from excluded.state then now() else h.since end
     returning ${columns}`,
    [
      probe.service,
      probe.state,
      probe.isHealthy,
      probe.lastCheckAt,
      probe.responseTimeMs,
      probe.error,
      probe.failures,
    ],
  );
  return rows[0]!;
}

export async function listHealth(db: Queryable): Promise<ServiceHealth[]> {
  const { rows } = await db.query<ServiceHealth>(`select ${columns} from service_health order by service`);
  return rows;
}

/** Forgets services that are no longer in the registry; their history stays. */
export async function forgetHealthExcept(db: Queryable, services: readonly string[]): Promise<number> {
  const { rowCount } = await db.query('delete from service_health where service <> all($1::text[])', [
    services,
  ]);
  return rowCount ?? 0;
}

/** The latest changes, newest first. */
export async function listHealthChanges(
  db: Queryable,
  options: { readonly service?: string; readonly limit: number },
): Promise<ServiceHealthChange[]> {
  const { rows } = await db.query<ServiceHealthChange>(
    `select id::text as id, service, old_state as "oldState", new_state as "newState", is_healthy as "isHealthy",
       reason, occurred_at as "occurredAt"
     from service_health_changes where $1::text is null or service = $1
     order by service_health_changes.id desc limit $2`,
    [options.service ?? null, options.limit],
  );
  return rows;
}
