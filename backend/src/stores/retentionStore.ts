import type { Queryable } from '../database/queryable.js';

/**
 * Removes what has ended: sessions, keys, invites, limits, and deleted instances past their month. Answers how many rows
 * went, by kind. For the jobs role; safe to run at any time and twice at once.
 */
export async function purgeExpired(db: Queryable): Promise<Map<string, number>> {
  const { rows } = await db.query<{ kind: string; purged: number }>(
    'select kind, purged::float8 as purged from purge_expired()',
  );
  return new Map(rows.map(({ kind, purged }) => [kind, purged]));
}
