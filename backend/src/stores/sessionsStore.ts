/**
 * Login sessions and their refresh credentials. A session is one family: each refresh uses up one credential and gives
 * out the next; using one twice ends the whole session. Only SHA-256 digests are stored.
 */
import type { Queryable } from '../database/queryable.js';
import type { UserRole, UserStatus } from './usersStore.js';

export interface LoginSession {
  readonly id: string;
  readonly userId: string;
  /** When a password was last given; reveals ask for a recent one. */
  readonly authenticatedAt: Date;
  readonly userAgent: string | null;
  readonly createdAt: Date;
  readonly lastSeenAt: Date;
  readonly expiresAt: Date;
}

/** What each request of a signed-in user is checked against. */
export interface SessionCheck {
  readonly userId: string;
  readonly role: UserRole;
  readonly status: UserStatus;
  readonly authenticatedAt: Date;
  readonly isRevoked: boolean;
  readonly expiresAt: Date;
}

export interface NewRefreshToken {
  readonly id: string;
  /** SHA-256 of the opaque value. */
  readonly digest: Buffer;
  readonly expiresAt: Date;
}

export type RefreshOutcome =
  | { readonly kind: 'rotated'; readonly userId: string; readonly sessionId: string; readonly role: UserRole }
  /** It was used before: the session is revoked now. */
  | { readonly kind: 'reused'; readonly userId: string; readonly sessionId: string }
  | { readonly kind: 'refused'; readonly reason: 'unknown' | 'expired' | 'revoked' | 'disabled' };

const columns = `id, user_id as "userId", authenticated_at as "authenticatedAt", user_agent as "userAgent",
  created_at as "createdAt", last_seen_at as "lastSeenAt", expires_at as "expiresAt"`;

/** Opens a session with its first refresh credential; run it as the user who signed in. */
export async function openSession(
  db: Queryable,
  session: {
    readonly id: string;
    readonly userId: string;
    readonly userAgent: string | null;
    readonly expiresAt: Date;
    readonly refresh: NewRefreshToken;
  },
): Promise<LoginSession> {
  const { rows } = await db.query<LoginSession>(
    `insert into login_sessions (id, user_id, user_agent, expires_at) values ($1, $2, left($3, 200), $4)
     returning ${columns}`,
    [session.id, session.userId, session.userAgent, session.expiresAt],
  );
  await db.query(
    'insert into refresh_tokens (id, session_id, user_id, digest, expires_at) values ($1, $2, $3, $4, $5)',
    [session.refresh.id, session.id, session.userId, session.refresh.digest, session.refresh.expiresAt],
  );
  return rows[0]!;
}

/**
 * Uses up a refresh credential and stores the next one, in one step under a lock: of two parallel callers one gets
 * `rotated` and the other `reused`. Works without a user; what it changed stands even if the caller then answers 401.
 */
export async function rotateRefreshToken(
  db: Queryable,
  digest: Buffer,
  next: NewRefreshToken,
): Promise<RefreshOutcome> {
  const { rows } = await db.query<{
    outcome: 'rotated' | 'reused' | 'unknown' | 'expired' | 'revoked' | 'disabled';
    userId: string;
    sessionId: string;
    role: UserRole;
  }>(
    `select outcome, user_id as "userId", session_id as "sessionId", role from rotate_refresh_token($1, $2, $3, $4)`,
    [digest, next.id, next.digest, next.expiresAt],
  );
  const { outcome, userId, sessionId, role } = rows[0]!;
  switch (outcome) {
    case 'rotated':
      return { kind: 'rotated', userId, sessionId, role };
    case 'reused':
      return { kind: 'reused', userId, sessionId };
    case 'unknown':
    case 'expired':
    case 'revoked':
    case 'disabled':
      return { kind: 'refused', reason: outcome };
  }
}

/** The state of a session and of its user, without a user being set; null when there is none. */
export async function checkSession(db: Queryable, id: string): Promise<SessionCheck | null> {
  const { rows } = await db.query<SessionCheck>({
    name: 'check_session',
    text: `select user_id as "userId", role, status, authenticated_at as "authenticatedAt",
             is_revoked as "isRevoked", expires_at as "expiresAt" from check_session($1)`,
    values: [id],
  });
  return rows[0] ?? null;
}

/** Notes that the password was given again just now. */
export async function recordReauthentication(
  db: Queryable,
  key: { readonly userId: string; readonly id: string },
): Promise<boolean> {
  const { rowCount } = await db.query(
    'update login_sessions set authenticated_at = now() where id = $1 and user_id = $2 and revoked_at is null',
    [key.id, key.userId],
  );
  return rowCount === 1;
}

/** The user's live sessions, newest first. */
export async function listSessions(db: Queryable, userId: string): Promise<LoginSession[]> {
  const { rows } = await db.query<LoginSession>(
    `select ${columns} from login_sessions
     where user_id = $1 and revoked_at is null and expires_at > now() order by created_at desc`,
    [userId],
  );
  return rows;
}

/** Ends one session and its refresh credentials; answers whether it was live. */
export async function revokeSession(
  db: Queryable,
  key: { readonly userId: string; readonly id: string },
): Promise<boolean> {
  const { rowCount } = await db.query(
    'update login_sessions set revoked_at = now() where id = $1 and user_id = $2 and revoked_at is null',
    [key.id, key.userId],
  );
  return rowCount === 1;
}

/** Ends all sessions of a user, but for one if wanted; answers how many were live. */
export async function revokeSessionsOfUser(
  db: Queryable,
  userId: string,
  exceptId?: string,
): Promise<number> {
  const { rowCount } = await db.query(
    `update login_sessions set revoked_at = now()
     where user_id = $1 and revoked_at is null and ($2::uuid is null or id <> $2)`,
    [userId, exceptId ?? null],
  );
  return rowCount ?? 0;
}
