/**
 * Who comes with a bearer credential to an instance that wants one: the holder of one of its access keys, or its owner
 * with an access token of their own (05, "Access modes"). It is asked after the instance was found, so that whoever is
 * told anything here has proven to know the URL.
 *
 * What is kept between calls are outcomes, for 5 s at most, and only while the LISTEN connection that would void them is
 * up. A service process holds public keys only, and nothing in a header of a JWT is followed (07 B01–B03).
 */
import { LRUCache } from 'lru-cache';
import { createSteadyClock } from '../lifecycle/steadyClock.js';
import type { Queryable } from '../database/queryable.js';
import { AppError } from '../errors/appError.js';
import { checkAccessKey, isAccessKeyLive, isSessionLive } from '../stores/accessKeysStore.js';
import { accessKeyDigest } from '../vault/accessKeyDigest.js';
import type { AccessClaims } from './accessTokens.js';
import { isBearerKey } from './bearerKeys.js';
import { createCheckCache } from './checkCache.js';
import type { ChangeSource } from './instanceResolver.js';
import type { VerificationKeys } from './jwtKeys.js';
import { digestOf } from './opaqueSecret.js';
import type { ResolvedInstance } from './resolvedInstance.js';
import type { VaultGate } from './vaultKeys.js';

/** What a bearer credential was good for. */
export interface Grant {
  /** `key:<uuid>` or `session:<uuid>`, as the audit names it. */
  readonly via: string;
  readonly instanceId: string;
  /** The instance's owner. */
  readonly userId: string;
  /** Of the monotonic clock in ms; `Infinity` for a key without an end. */
  readonly endsAtMs: number;
}

export interface InstanceAccess extends Disposable {
  /**
   * @param bearer null when none came, or none of a form that could be one
   * @throws AppError BEARER_TOKEN_REQUIRED, BEARER_TOKEN_INVALID; ACCESS_DENIED for a live access token of somebody else;
   * DATABASE_UNAVAILABLE, SEALED
   */
  check(instance: Caller, bearer: string | null): Promise<Grant>;
  /**
   * Whether the key or session behind a grant is live, by the database's word; when the grant ends, it knows itself.
   * @throws AppError DATABASE_UNAVAILABLE
   */
  isLive(grant: Grant): Promise<boolean>;
}

type Caller = Pick<ResolvedInstance, 'id' | 'userId' | 'service'>;

export interface InstanceAccessOptions {
  readonly db: Queryable;
  readonly vault: VaultGate;
  readonly changes: ChangeSource;
  /** The origin that issues access tokens: `PUBLIC_URL`. */
  readonly issuer: string;
  /** The file of the main API's public keys. */
  readonly jwtPublicKeys: string;
  /** Milliseconds since the epoch; of a clock that is never set back. */
  readonly now?: () => number;
}

interface Claimed extends AccessClaims {
  readonly endsAtMs: number;
}

/** Public keys that were taken out of their file count no longer than this. */
const keysAgeMsMax = 5_000;

export function createInstanceAccess(options: InstanceAccessOptions): InstanceAccess {
  const { db, vault, changes, issuer, jwtPublicKeys, now = createSteadyClock() } = options;
  const keys = createCheckCache<Grant>(changes);
  const sessions = createCheckCache<{ readonly userId: string }>(changes);
  /** By digest, so that no credential stays in memory; a signature costs more than the rest of the way to it. */
  const claims = new LRUCache<string, Claimed>({ max: 10_000, ttl: keysAgeMsMax });
  let verification: { readonly keys: VerificationKeys; readonly readAt: number } | null = null;

  const checkKey = async ({ id, userId, service }: Caller, bearer: string): Promise<Grant> => {
    const digest = accessKeyDigest(vault.keys().system.lookup, bearer);
    const grant = await keys.get(`${id}/${digest.toString('base64')}`, async () => {
      const askedAt = performance.now();
      const found = await checkAccessKey(db, digest, { id, service });
      if (found === null) return null;
      const endsAtMs = found.expiresInMs === null ? Infinity : askedAt + found.expiresInMs;
      return { via: `key:${found.id}`, instanceId: id, userId, endsAtMs };
    });
    if (grant === null || grant.endsAtMs <= performance.now()) throw invalid('unknown, revoked or ended key');
    return grant;
  };

  const verify = async (bearer: string): Promise<Claimed> => {
    const name = digestOf(bearer).toString('base64');
    const known = claims.get(name);
    if (known !== undefined) return known;
    // Loaded with the first access token: most instances never see one.
    const [{ verifyAccessToken, leewaySeconds }, { loadVerificationKeys }] = await Promise.all([
      import('./accessTokens.js'),
      import('./jwtKeys.js'),
    ]);
    if (verification === null || performance.now() - verification.readAt > keysAgeMsMax)
      verification = { keys: loadVerificationKeys(jwtPublicKeys), readAt: performance.now() };
    const { userId, sessionId, expiresAt } = verifyOrRefuse(() =>
      verifyAccessToken(verification!.keys, issuer, bearer, now()),
    );
    const leftMs = expiresAt.getTime() + leewaySeconds * 1_000 - now();
    const claimed = { userId, sessionId, endsAtMs: performance.now() + leftMs };
    claims.set(name, claimed);
    return claimed;
  };

  const checkToken = async ({ id, userId }: Caller, bearer: string): Promise<Grant> => {
    const claimed = await verify(bearer);
    const isLive = await sessions.get(`${claimed.userId}/${claimed.sessionId}`, async () =>
      (await isSessionLive(db, claimed.sessionId, claimed.userId)) ? { userId: claimed.userId } : null,
    );
    if (isLive === null || claimed.endsAtMs <= performance.now()) throw invalid('the session has ended');
    if (claimed.userId !== userId) {
      throw new AppError('ACCESS_DENIED', 'an access token of somebody else', {
        publicDetail: 'This instance belongs to another account.',
      });
    }
    return { via: `session:${claimed.sessionId}`, instanceId: id, userId, endsAtMs: claimed.endsAtMs };
  };

  return {
    async check(instance, bearer) {
      if (bearer === null) {
        throw new AppError('BEARER_TOKEN_REQUIRED', 'an instance that wants more than its URL', {
          publicDetail: `This instance needs an access key as well as its URL. ${howToSend}`,
        });
      }
      return isBearerKey(bearer) ? checkKey(instance, bearer) : checkToken(instance, bearer);
    },
    async isLive({ via, instanceId, userId }) {
      const [kind, id = ''] = via.split(':');
      return kind === 'key' ? isAccessKeyLive(db, id, instanceId) : isSessionLive(db, id, userId);
    },
    [Symbol.dispose]() {
      keys[Symbol.dispose]();
      sessions[Symbol.dispose]();
      claims.clear();
    },
  };
}

const howToSend = 'Its owner makes one; send it in the header "Authorization: Bearer <access key>".';

function verifyOrRefuse<T>(verifyToken: () => T): T {
  try {
    return verifyToken();
  } catch (error) {
    if (error instanceof AppError && error.code === 'UNAUTHENTICATED') throw invalid(error.message);
    throw error;
  }
}

function invalid(why: string): AppError {
  return new AppError('BEARER_TOKEN_INVALID', `bearer credential of an instance: ${why}`, {
    publicDetail: `The access key is unknown, revoked or has ended. ${howToSend}`,
  });
}
