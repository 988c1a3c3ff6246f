import type { Queryable } from '../database/queryable.js';

/**
 * Removes what has ended: sessions, keys, invites, limits, and deleted instances past their month. Answers how many rows
 * went, by kind. For the jobs role; safe to run at any time and twice at once.
 */
export async function purgeExpired(db: Queryable): Promise<Map<string, number>> {
  const { rows } = await db.query<{ kind: string; purged: number }>(
    `select kind, purged::float8 as purged from purge_expired()
     union all select 'access_keys', purge_access_keys()::float8`,
  );
  const daily = await db.query<{ purged: number }>('select purge_daily_calls()::float8 as purged');
  const sightings = await db.query<{ purged: number }>('select purge_tool_sightings()::float8 as purged');
  return new Map([
    ...rows.map(({ kind, purged }) => [kind, purged] as const),
    ['daily_calls', daily.rows[0]?.purged ?? 0] as const,
    ['tool_sightings', sightings.rows[0]?.purged ?? 0] as const,
  ]);
}

/** Which of these instances were deleted at least `olderThanMs` ago; needs the scope `admin`. */
export async function findDeletedInstances(
  db: Queryable,
  ids: readonly string[],
  olderThanMs: number,
): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select id from instances
     where id = any($1::uuid[]) and deleted_at < now() - $2 * interval '1 millisecond'`,
    [ids, olderThanMs],
  );
  return rows.map(({ id }) => id);
}
