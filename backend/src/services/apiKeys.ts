/**
 * Personal API keys: `ptk_<27><6>`, random with a checksum in the layout of instance ids, so that the same scanners
 * find one that leaked. Shown once, stored as a digest. A key has its owner's rights, except where a sign-in is asked.
 */
import type { DatabasePool } from '../database/pool.js';
import { withUser } from '../database/withUser.js';
import { AppError } from '../errors/appError.js';
import {
  createApiKey,
  findApiKey,
  listApiKeys,
  revokeApiKey,
  type ApiKey,
  type ApiKeyCheck,
} from '../stores/apiKeysStore.js';
import type { RandomBytes } from '../vault/keyRing.js';
import { recordActorChange, type Actor } from './changeAudit.js';
import type { CheckCache } from './checkCache.js';
import { createBearerKey } from './bearerKeys.js';
import { digestOf } from './opaqueSecret.js';

const keysPerUserMax = 50;

export interface ApiKeys {
  /** The key itself is in this answer and nowhere else. @throws AppError CONFLICT for too many */
  create(
    actor: Actor,
    given: { readonly name: string; readonly expiresAt: Date | null },
  ): Promise<ApiKey & { readonly key: string }>;
  list(actor: Actor): Promise<readonly ApiKey[]>;
  /** @throws AppError NOT_FOUND */
  revoke(actor: Actor, id: string): Promise<void>;
  /** @throws AppError UNAUTHENTICATED */
  check(key: string): Promise<ApiKeyCheck>;
}

export interface ApiKeysOptions {
  readonly pool: DatabasePool;
  readonly checks: CheckCache<ApiKeyCheck>;
  readonly now: () => number;
  readonly newId: () => string;
  readonly randomBytes: RandomBytes;
}

export function createApiKeys({ pool, checks, now, newId, randomBytes }: ApiKeysOptions): ApiKeys {
  return {
    async create(actor, { name, expiresAt }) {
      const { key, hint } = createBearerKey(randomBytes);
      const row = { id: newId(), userId: actor.userId, name, hint, expiresAt };
      return withUser(pool, { userId: actor.userId, scope: 'self' }, async (db) => {
        if ((await listApiKeys(db, actor.userId)).length >= keysPerUserMax) {
          throw new AppError('CONFLICT', 'too many personal API keys', {
            publicDetail: `You have ${keysPerUserMax} keys; delete one that you no longer use.`,
          });
        }
        const created = await createApiKey(db, { ...row, digest: digestOf(key) });
        await recordActorChange(db, actor, {
          action: 'api_key.created',
          target: { kind: 'api_key', id: row.id },
          details: { expires: expiresAt !== null },
        });
        return { ...created, key };
      });
    },

    list: (actor) =>
      withUser(pool, { userId: actor.userId, scope: 'self' }, (db) => listApiKeys(db, actor.userId), {
        readOnly: true,
      }),

    async revoke(actor, id) {
      await withUser(pool, { userId: actor.userId, scope: 'self' }, async (db) => {
        if (!(await revokeApiKey(db, { userId: actor.userId, id }))) {
          throw new AppError('NOT_FOUND', 'no live key of this id and user');
        }
        await recordActorChange(db, actor, { action: 'api_key.revoked', target: { kind: 'api_key', id } });
      });
      checks.forgetUser(actor.userId);
    },

    async check(key) {
      const digest = digestOf(key);
      const found = await checks.get(digest.toString('base64url'), () => findApiKey(pool, digest));
      const isExpired = found?.expiresAt != null && found.expiresAt.getTime() <= now();
      if (found === null || isExpired || found.status !== 'active') {
        throw new AppError('UNAUTHENTICATED', 'the personal API key is unknown, revoked or expired', {
          publicDetail: 'The API key is not valid: create a new one.',
        });
      }
      return found;
    },
  };
}
