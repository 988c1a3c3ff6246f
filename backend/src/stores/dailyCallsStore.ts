/** Calls by the day, handed out in blocks; for the service role. */
import type { Queryable } from '../database/queryable.js';

export interface DailyLease {
  /** The UTC day, by the clock of the database: `2026-01-31`. */
  readonly day: string;
  /** 0: the day is used up, or the instance is gone. */
  readonly granted: number;
  /** Until the next day begins. */
  readonly dayLeftMs: number;
}

export interface DailyLeaseWish {
  readonly instanceId: string;
  readonly service: string;
  readonly limit: number;
  /** What all instances of the user may use together, those that were deleted today too. */
  readonly userLimit: number;
  readonly wanted: number;
}

export async function leaseDailyCalls(db: Queryable, wish: DailyLeaseWish): Promise<DailyLease> {
  const { rows } = await db.query<DailyLease>(
    `select day::text as day, granted, day_left_ms as "dayLeftMs" from lease_daily_calls($1, $2, $3, $4, $5)`,
    [wish.instanceId, wish.service, wish.limit, wish.userLimit, wish.wanted],
  );
  return rows[0] as DailyLease;
}

/** Gives back what was leased and not spent. */
export async function returnDailyCalls(
  db: Queryable,
  lease: {
    readonly instanceId: string;
    readonly service: string;
    readonly day: string;
    readonly unspent: number;
  },
): Promise<void> {
  await db.query('select return_daily_calls($1, $2, $3, $4)', [
    lease.instanceId,
    lease.service,
    lease.day,
    lease.unspent,
  ]);
}
