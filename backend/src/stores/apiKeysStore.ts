/** Personal API keys, known by the SHA-256 digest of the whole key. */
import type { Queryable } from '../database/queryable.js';
import type { UserRole, UserStatus } from './usersStore.js';

export interface ApiKey {
  readonly id: string;
  readonly userId: string;
  readonly name: string;
  /** The first characters of the key, so that its owner can tell it from others. */
  readonly hint: string;
  readonly createdAt: Date;
  readonly expiresAt: Date | null;
  readonly lastUsedAt: Date | null;
}

export interface ApiKeyCheck {
  readonly id: string;
  readonly userId: string;
  readonly role: UserRole;
  readonly status: UserStatus;
  readonly expiresAt: Date | null;
}

const columns = `id, user_id as "userId", name, hint, created_at as "createdAt", expires_at as "expiresAt",
  last_used_at as "lastUsedAt"`;

export async function createApiKey(
  db: Queryable,
  key: {
    readonly id: string;
    readonly userId: string;
    readonly name: string;
    readonly hint: string;
    readonly digest: Buffer;
    readonly expiresAt: Date | null;
  },
): Promise<ApiKey> {
  const { rows } = await db.query<ApiKey>(
    `insert into api_keys (id, user_id, name, hint, digest, expires_at) values ($1, $2, $3, $4, $5, $6)
     returning ${columns}`,
    [key.id, key.userId, key.name, key.hint, key.digest, key.expiresAt],
  );
  return rows[0]!;
}

/** The user's keys that were not revoked, newest first. */
export async function listApiKeys(db: Queryable, userId: string): Promise<ApiKey[]> {
  const { rows } = await db.query<ApiKey>(
    `select ${columns} from api_keys where user_id = $1 and revoked_at is null order by created_at desc, id`,
    [userId],
  );
  return rows;
}

export async function revokeApiKey(
  db: Queryable,
  key: { readonly userId: string; readonly id: string },
): Promise<boolean> {
  const { rowCount } = await db.query(
    'update api_keys set revoked_at = now() where id = $1 and user_id = $2 and revoked_at is null',
    [key.id, key.userId],
  );
  return rowCount === 1;
}

export async function revokeApiKeysOfUser(db: Queryable, userId: string): Promise<number> {
  const { rowCount } = await db.query(
    'update api_keys set revoked_at = now() where user_id = $1 and revoked_at is null',
    [userId],
  );
  return rowCount ?? 0;
}

/**
 * Whose key it is, without a user being set; null for an unknown, revoked or expired one. Its last use is noted at
 * most once a minute.
 */
export async function findApiKey(db: Queryable, digest: Buffer): Promise<ApiKeyCheck | null> {
  const { rows } = await db.query<ApiKeyCheck>({
    name: 'find_api_key',
    text: 'select id, user_id as "userId", role, status, expires_at as "expiresAt" from find_api_key($1)',
    values: [digest],
  });
  return rows[0] ?? null;
}
