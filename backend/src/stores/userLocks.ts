/**
 * Locks on what has no row yet: a user's first data key, and the number of a user's instances of one service. Held until
 * the transaction ends.
 */
import type { Queryable } from '../database/queryable.js';

/**
 * Waits for its turn. Parallel transactions that take the same lock run one after the other from here on, and each
 * sees what the one before it committed (read committed takes a fresh snapshot for the next statement).
 */
export async function lockForUser(
  db: Queryable,
  purpose: 'data-key' | 'instances',
  userId: string,
  detail = '',
): Promise<void> {
  // A collision of hashes makes two strangers wait for each other and nothing else.
  await db.query('select pg_advisory_xact_lock(hashtextextended($1, 7))', [`${purpose}/${userId}/${detail}`]);
}
