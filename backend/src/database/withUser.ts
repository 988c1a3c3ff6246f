import { AppError } from '../errors/appError.js';
import type { DatabasePool, TransactionOptions } from './pool.js';
import type { Queryable } from './queryable.js';

/**
 * For whom a transaction runs; the row policies read it. `self` sees the user's own rows. `admin` sees everybody's and
 * is for routes that have checked the role. `auditor` reads everybody's audit and nothing else of others.
 */
export interface UserScope {
  /** Null before sign-in and in set-up: no rows are anybody's. */
  readonly userId: string | null;
  readonly scope: 'self' | 'admin' | 'auditor';
}

const uuidForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Runs `work` in a transaction in which the row policies know the user. This is the only place that sets `app.user_id`
 * and `app.scope`, and it sets them for the transaction alone: a setting of the session would be seen by the next user
 * of the pooled connection.
 * @throws AppError DATABASE_UNAVAILABLE; whatever `work` throws, after a rollback.
 */
export function withUser<T>(
  pool: DatabasePool,
  { userId, scope }: UserScope,
  work: (client: Queryable) => Promise<T>,
  options: Pick<TransactionOptions, 'readOnly'> = {},
): Promise<T> {
  if (userId !== null && !uuidForm.test(userId)) {
    throw new AppError('INTERNAL', 'a user id that is no uuid reached the database room');
  }
  // The values are a checked uuid and one of three literals, so they may stand in the text: one round trip with BEGIN.
  const begin = `select set_config('app.user_id', '${userId ?? ''}', true), set_config('app.scope', '${scope}', true)`;
  return pool.transaction(work, { ...options, begin });
}
