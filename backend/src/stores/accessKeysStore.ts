/**
 * Access keys: bearer credentials of one instance each, known by their keyed digest. The main API makes, lists and
 * revokes them inside `withUser`; a service process checks them by functions and can read no table.
 */
import type { Queryable } from '../database/queryable.js';
import type { InstanceKey } from './instancesStore.js';

export interface AccessKey {
  readonly id: string;
  readonly instanceId: string;
  readonly name: string;
  /** The first characters of the key, so that its owner can tell it from others. */
  readonly hint: string;
  readonly createdAt: Date;
  readonly expiresAt: Date | null;
  readonly lastUsedAt: Date | null;
}

const columns = `id, instance_id as "instanceId", name, hint, created_at as "createdAt", expires_at as "expiresAt",
  last_used_at as "lastUsedAt"`;

/** `key` names the instance, whose row the caller has locked. */
export async function createAccessKey(
  db: Queryable,
  key: InstanceKey,
  made: {
    readonly id: string;
    readonly name: string;
    readonly hint: string;
    /** HMAC of the key under the lookup key, 32 bytes. */
    readonly digest: Buffer;
    readonly expiresAt: Date | null;
  },
): Promise<AccessKey> {
  const { rows } = await db.query<AccessKey>(
    `insert into access_keys (id, instance_id, user_id, name, hint, digest, expires_at)
     values ($1, $2, $3, $4, $5, $6, $7) returning ${columns}`,
    [made.id, key.id, key.userId, made.name, made.hint, made.digest, made.expiresAt],
  );
  return rows[0]!;
}

/** The instance's keys that were not revoked, newest first. */
export async function listAccessKeys(db: Queryable, { id, userId }: InstanceKey): Promise<AccessKey[]> {
  const { rows } = await db.query<AccessKey>(
    `select ${columns} from access_keys
     where instance_id = $1 and user_id = $2 and revoked_at is null order by created_at desc, id`,
    [id, userId],
  );
  return rows;
}

/** Answers whether there was such a key; it notifies like a change of its instance. */
export async function revokeAccessKey(
  db: Queryable,
  { id, userId }: InstanceKey,
  keyId: string,
): Promise<boolean> {
  const { rowCount } = await db.query(
    `update access_keys set revoked_at = now()
     where id = $1 and instance_id = $2 and user_id = $3 and revoked_at is null`,
    [keyId, id, userId],
  );
  return rowCount === 1;
}

export interface LiveAccessKey {
  readonly id: string;
  /** Until its end, by the database's clock; null when it has none. */
  readonly expiresInMs: number | null;
}

/** For a service process: the live key of this very instance, or null. Its use is noted at most once a minute. */
export async function checkAccessKey(
  db: Queryable,
  digest: Buffer,
  instance: { readonly id: string; readonly service: string },
): Promise<LiveAccessKey | null> {
  const { rows } = await db.query<LiveAccessKey>({
    name: 'check_access_key',
    text: 'select id, expires_in_ms as "expiresInMs" from check_access_key($1, $2, $3)',
    values: [digest, instance.id, instance.service],
  });
  return rows[0] ?? null;
}

/** For a service process: whether what is open under a key may stay open. */
export async function isAccessKeyLive(db: Queryable, keyId: string, instanceId: string): Promise<boolean> {
  const { rows } = await db.query<{ live: boolean }>('select is_access_key_live($1, $2) as live', [
    keyId,
    instanceId,
  ]);
  return rows[0]?.live ?? false;
}

/** For a service process: whether this is a live login session of a user who is not disabled. */
export async function isSessionLive(db: Queryable, sessionId: string, userId: string): Promise<boolean> {
  const { rows } = await db.query<{ live: boolean }>({
    name: 'is_session_live',
    text: 'select is_session_live($1, $2) as live',
    values: [sessionId, userId],
  });
  return rows[0]?.live ?? false;
}
