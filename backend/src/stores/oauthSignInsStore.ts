/**
 * Sign-ins with a service that are under way: begun in somebody's login session, answered once by a browser that comes
 * back with the state. The state and the browser's cookie are kept as digests, the rest sealed. Run inside `withUser`.
 */
import type { Queryable } from '../database/queryable.js';
import type { UserRole } from './usersStore.js';

export interface NewSignIn {
  readonly id: string;
  readonly userId: string;
  readonly sessionId: string;
  readonly service: string;
  readonly label: string;
  readonly method: string;
  /** SHA-256, 32 bytes each. */
  readonly stateDigest: Buffer;
  readonly browserDigest: Buffer;
  /** Bound to the column `sealed_context`. */
  readonly sealedContext: Buffer;
  readonly expiresAt: Date;
}

/** A sign-in as its answer takes it; it is used up by that. */
export interface TakenSignIn extends Omit<NewSignIn, 'stateDigest' | 'expiresAt'> {
  readonly role: UserRole;
  readonly userStatus: 'active' | 'disabled';
  /** When a password was last given in the session. */
  readonly authenticatedAt: Date;
  readonly isSessionLive: boolean;
  readonly isExpired: boolean;
}

export interface SignInOutcome {
  readonly id: string;
  readonly service: string;
  readonly label: string;
  readonly method: string;
  /** Null while it is open. */
  readonly outcome: 'connected' | 'failed' | null;
  readonly errorCode: string | null;
  readonly message: string | null;
  readonly expiresAt: Date;
}

/** Adds one, and forgets what of the user's is older than `keepMax` others. */
export async function insertSignIn(db: Queryable, signIn: NewSignIn, keepMax: number): Promise<void> {
  await db.query(
    `delete from oauth_sign_ins where user_id = $1 and id not in (
       select id from oauth_sign_ins where user_id = $1 order by created_at desc, id limit $2
     )`,
    [signIn.userId, keepMax],
  );
  await db.query(
    `insert into oauth_sign_ins (id, user_id, session_id, service, label, method, state_digest, browser_digest,
       sealed_context, expires_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    [
      signIn.id,
      signIn.userId,
      signIn.sessionId,
      signIn.service,
      signIn.label,
      signIn.method,
      signIn.stateDigest,
      signIn.browserDigest,
      signIn.sealedContext,
      signIn.expiresAt,
    ],
  );
}

/** For a browser of which nobody knows yet whose it is. Null for a state that is unknown or was used. */
export async function takeSignIn(db: Queryable, stateDigest: Buffer): Promise<TakenSignIn | null> {
  const { rows } = await db.query<TakenSignIn>(
    `select id, user_id as "userId", session_id as "sessionId", role, user_status as "userStatus",
       authenticated_at as "authenticatedAt", is_session_live as "isSessionLive", service, label, method,
       browser_digest as "browserDigest", sealed_context as "sealedContext", is_expired as "isExpired"
     from take_oauth_sign_in($1)`,
    [stateDigest],
  );
  return rows[0] ?? null;
}

export async function recordSignInOutcome(
  db: Queryable,
  key: { readonly id: string; readonly userId: string },
  told: Pick<SignInOutcome, 'outcome' | 'errorCode' | 'message'>,
): Promise<void> {
  await db.query(
    `update oauth_sign_ins set outcome = $3, error_code = $4, message = left($5, 1000)
     where id = $1 and user_id = $2 and used_at is not null`,
    [key.id, key.userId, told.outcome, told.errorCode, told.message],
  );
}

export async function findSignIn(
  db: Queryable,
  key: { readonly id: string; readonly userId: string },
): Promise<SignInOutcome | null> {
  const { rows } = await db.query<SignInOutcome>(
    `select id, service, label, method, outcome, error_code as "errorCode", message, expires_at as "expiresAt"
     from oauth_sign_ins where id = $1 and user_id = $2`,
    [key.id, key.userId],
  );
  return rows[0] ?? null;
}
