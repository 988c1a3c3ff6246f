/**
 * Login sessions: a password opens one, refreshing carries it on, logging out or changing the password ends it. A
 * session that ended opens nothing for longer than 5 s (07 B04); a refresh token used twice ends its session (B05).
 */
import type { DatabasePool } from '../database/pool.js';
import { withUser } from '../database/withUser.js';
import { AppError } from '../errors/appError.js';
import {
  checkSession,
  listSessions,
  openSession,
  recordReauthentication,
  revokeSession,
  rotateRefreshToken,
  type LoginSession,
  type NewRefreshToken,
  type SessionCheck,
} from '../stores/sessionsStore.js';
import { findLogin, findPasswordHash, recordLogin } from '../stores/usersStore.js';
import type { RandomBytes } from '../vault/keyRing.js';
import { accessTokenSeconds, type AccessTokens } from './accessTokens.js';
import { markAudited } from './auditedError.js';
import { recordActorChange, type Actor } from './changeAudit.js';
import type { CheckCache } from './checkCache.js';
import { createOpaqueSecret, digestOf } from './opaqueSecret.js';
import type { Passwords } from './passwords.js';
import type { RateLimits } from './rateLimits.js';
import { recordStrangerChange, type RequestOrigin } from './requestOrigin.js';

/** What a client holds after signing in. */
export interface SessionTokens {
  readonly accessToken: string;
  readonly refreshToken: string;
  /** Seconds until the access token ends. */
  readonly expiresIn: number;
}

export interface Sessions {
  /** @throws AppError UNAUTHENTICATED, the same for every reason; RATE_LIMIT_EXCEEDED. */
  login(credentials: { email: string; password: string }, origin: RequestOrigin): Promise<SessionTokens>;
  /** @throws AppError UNAUTHENTICATED */
  refresh(refreshToken: string, origin: RequestOrigin): Promise<SessionTokens>;
  logout(actor: Actor): Promise<void>;
  /** Ends one of the caller's sessions. @throws AppError NOT_FOUND */
  revoke(actor: Actor, sessionId: string): Promise<void>;
  list(actor: Actor): Promise<readonly LoginSession[]>;
  /** Makes this session recently signed in again. @throws AppError UNAUTHENTICATED, RATE_LIMIT_EXCEEDED */
  reauthenticate(actor: Actor, password: string): Promise<void>;
  /** The live session of an access token. @throws AppError UNAUTHENTICATED */
  check(accessToken: string): Promise<SessionCheck & { readonly sessionId: string }>;
}

export interface SessionsOptions {
  readonly pool: DatabasePool;
  readonly accessTokens: AccessTokens;
  readonly passwords: Passwords;
  readonly rateLimits: RateLimits;
  readonly checks: CheckCache<SessionCheck>;
  readonly now: () => number;
  readonly newId: () => string;
  readonly randomBytes: RandomBytes;
}

const dayMs = 24 * 60 * 60 * 1000;
/** A session ends after this long whatever happens, and earlier when it is not refreshed. */
export const sessionDaysMax = 30;
export const refreshDaysMax = 14;

export function createSessions(options: SessionsOptions): Sessions {
  const { pool, accessTokens, passwords, rateLimits, checks, now, newId, randomBytes } = options;

  const newRefresh = (): { readonly secret: string; readonly row: NewRefreshToken } => {
    const secret = createOpaqueSecret(randomBytes);
    const expiresAt = new Date(now() + refreshDaysMax * dayMs);
    return { secret, row: { id: newId(), digest: digestOf(secret), expiresAt } };
  };
  const toTokens = (userId: string, sessionId: string, refreshToken: string): SessionTokens => ({
    accessToken: accessTokens.sign({ userId, sessionId }),
    refreshToken,
    expiresIn: accessTokenSeconds,
  });

  return {
    async login({ email, password }, origin) {
      // A digest, so that the table of limits holds no addresses of people.
      const account = digestOf(email.toLowerCase()).toString('hex');
      await rateLimits.consume('login-address', origin.clientAddress ?? 'unknown');
      await rateLimits.consume('login-account', account);
      const login = await findLogin(pool, email);
      const isRight = await passwords.verify(login?.passwordHash ?? null, password);
      if (login === null || !isRight || login.status !== 'active') {
        const refusal = new AppError(
          'UNAUTHENTICATED',
          'the email or the password is wrong, or the user disabled',
          {
            publicDetail: 'The email or the password is not right.',
          },
        );
        await withUser(pool, { userId: null, scope: 'self' }, (db) =>
          recordStrangerChange(db, origin, {
            action: 'auth.login',
            target: { kind: 'session', id: null },
            outcome: 'denied',
            errorCode: refusal.code,
            ...(login === null ? {} : { subjectUserId: login.id }),
          }),
        );
        throw markAudited(refusal);
      }
      const sessionId = newId();
      const refresh = newRefresh();
      await withUser(pool, { userId: login.id, scope: 'self' }, async (db) => {
        await openSession(db, {
          id: sessionId,
          userId: login.id,
          userAgent: origin.userAgent,
          expiresAt: new Date(now() + sessionDaysMax * dayMs),
          refresh: refresh.row,
        });
        await recordLogin(db, login.id);
        await recordActorChange(db, toActor(login, sessionId, origin), {
          action: 'auth.login',
          target: { kind: 'session', id: sessionId },
        });
      });
      await rateLimits.restore('login-account', account);
      return toTokens(login.id, sessionId, refresh.secret);
    },

    async refresh(refreshToken, origin) {
      const next = newRefresh();
      const outcome = await withUser(pool, { userId: null, scope: 'self' }, async (db) => {
        const done = await rotateRefreshToken(db, digestOf(refreshToken), next.row);
        await recordStrangerChange(db, origin, {
          action: done.kind === 'reused' ? 'auth.refresh_reused' : 'auth.refresh',
          target: { kind: 'session', id: done.kind === 'refused' ? null : done.sessionId },
          outcome: done.kind === 'rotated' ? 'success' : 'denied',
          ...(done.kind === 'rotated' ? {} : { errorCode: 'UNAUTHENTICATED' }),
          ...(done.kind === 'refused'
            ? { details: { reason: done.reason } }
            : { subjectUserId: done.userId }),
        });
        return done;
      });
      if (outcome.kind === 'rotated') return toTokens(outcome.userId, outcome.sessionId, next.secret);
      if (outcome.kind === 'reused') checks.forgetUser(outcome.userId);
      throw markAudited(
        new AppError('UNAUTHENTICATED', `refresh ${outcome.kind}`, {
          publicDetail: 'The session has ended: sign in again.',
        }),
      );
    },

    async logout(actor) {
      const id = sessionIdOf(actor);
      await withUser(pool, { userId: actor.userId, scope: 'self' }, async (db) => {
        await revokeSession(db, { userId: actor.userId, id });
        await recordActorChange(db, actor, { action: 'auth.logout', target: { kind: 'session', id } });
      });
      checks.forgetUser(actor.userId);
    },

    async revoke(actor, sessionId) {
      await withUser(pool, { userId: actor.userId, scope: 'self' }, async (db) => {
        if (!(await revokeSession(db, { userId: actor.userId, id: sessionId }))) {
          throw new AppError('NOT_FOUND', 'no live session of this id and user');
        }
        await recordActorChange(db, actor, {
          action: 'session.revoked',
          target: { kind: 'session', id: sessionId },
        });
      });
      checks.forgetUser(actor.userId);
    },

    list: (actor) =>
      withUser(pool, { userId: actor.userId, scope: 'self' }, (db) => listSessions(db, actor.userId), {
        readOnly: true,
      }),

    async reauthenticate(actor, password) {
      const id = sessionIdOf(actor);
      await rateLimits.consume('password', actor.userId);
      await refuseWrongPassword(pool, passwords, actor, password);
      await withUser(pool, { userId: actor.userId, scope: 'self' }, async (db) => {
        if (!(await recordReauthentication(db, { userId: actor.userId, id }))) {
          throw new AppError('UNAUTHENTICATED', 'the session has ended meanwhile');
        }
        await recordActorChange(db, actor, {
          action: 'auth.reauthenticated',
          target: { kind: 'session', id },
        });
      });
      checks.forgetUser(actor.userId);
      await rateLimits.restore('password', actor.userId);
    },

    async check(accessToken) {
      const { userId, sessionId } = accessTokens.verify(accessToken);
      const found = await checks.get(sessionId, () => checkSession(pool, sessionId));
      const isLive =
        found !== null &&
        found.userId === userId &&
        found.status === 'active' &&
        !found.isRevoked &&
        found.expiresAt.getTime() > now();
      if (!isLive) {
        throw new AppError('UNAUTHENTICATED', 'the session has ended or its user is disabled', {
          publicDetail: 'The session has ended: sign in again.',
        });
      }
      return { ...found, sessionId };
    },
  };
}

/** The session that a caller came with. @throws AppError ACCESS_DENIED for one who came with a personal API key. */
export function sessionIdOf({ via }: Pick<Actor, 'via'>): string {
  const [kind, id] = via.split(':');
  if (kind === 'session' && id !== undefined) return id;
  throw new AppError('ACCESS_DENIED', 'a personal API key has no session', {
    publicDetail: 'A personal API key cannot do this; sign in with your password.',
  });
}

/** @throws AppError ACCESS_DENIED when it is not the caller's password; a 401 would make clients refresh instead. */
export async function refuseWrongPassword(
  pool: DatabasePool,
  passwords: Passwords,
  { userId }: Pick<Actor, 'userId'>,
  password: string,
): Promise<void> {
  const hash = await withUser(pool, { userId, scope: 'self' }, (db) => findPasswordHash(db, userId), {
    readOnly: true,
  });
  if (await passwords.verify(hash, password)) return;
  throw new AppError('ACCESS_DENIED', 'the password is wrong', {
    publicDetail: 'The current password is not right.',
  });
}

function toActor(
  login: { id: string; role: Actor['role'] },
  sessionId: string,
  origin: RequestOrigin,
): Actor {
  return {
    userId: login.id,
    role: login.role,
    via: `session:${sessionId}`,
    authenticatedAt: null,
    requestId: origin.requestId,
    clientAddress: origin.clientAddress,
  };
}
