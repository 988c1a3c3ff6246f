/**
 * Wrapped keys: the install's id, the system keys, the data keys of users and of the system, and which ring each live
 * process holds. A trigger counts wraps per KEK, so that nobody can forget to.
 */
import type { Queryable } from '../database/queryable.js';
import type { WrappedDataKey } from './instanceLookupStore.js';

export type SystemKeyName = 'lookup' | 'audit' | 'state';

export interface WrappedSystemKey {
  readonly name: SystemKeyName;
  readonly kekId: string;
  readonly wrapped: Buffer;
}

export interface SystemKeys {
  readonly installId: string;
  readonly keys: readonly WrappedSystemKey[];
}

/** A wrapped data key with the revision that a rewrap is optimistic on. */
export interface DataKeyRow extends WrappedDataKey {
  readonly userId: string | null;
  readonly revision: number;
}

export interface RingHeartbeat {
  readonly processId: string;
  readonly program: string;
  readonly fingerprint: string;
  readonly primaryKekId: string;
  readonly seenAt: Date;
}

const dataKeyColumns = 'id, kek_id as "kekId", wrapped, user_id as "userId", revision';

/**
 * The install's id and its wrapped system keys; null on an empty database. Every role may call it, so a service
 * process starts with it too.
 */
export async function readSystemKeys(db: Queryable): Promise<SystemKeys | null> {
  const { rows } = await db.query<WrappedSystemKey & { installId: string }>(
    'select install_id as "installId", name, kek_id as "kekId", wrapped from read_system_keys()',
  );
  const first = rows[0];
  if (first === undefined) return null;
  return {
    installId: first.installId,
    keys: rows.map(({ name, kekId, wrapped }) => ({ name, kekId, wrapped })),
  };
}

/**
 * Lays the foundation of an empty database: install id, system keys, the system's data key. Answers false, having
 * changed nothing, when there is one already; of parallel callers exactly one succeeds.
 */
export async function createInstall(
  db: Queryable,
  install: {
    readonly installId: string;
    readonly systemKeys: readonly WrappedSystemKey[];
    readonly systemDataKey: WrappedDataKey;
  },
): Promise<boolean> {
  const { rowCount } = await db.query('insert into install (install_id) values ($1) on conflict do nothing', [
    install.installId,
  ]);
  if (rowCount !== 1) return false;
  for (const { name, kekId, wrapped } of install.systemKeys) {
    await db.query('insert into system_keys (name, kek_id, wrapped) values ($1, $2, $3)', [
      name,
      kekId,
      wrapped,
    ]);
  }
  await insertDataKey(db, { ...install.systemDataKey, userId: null });
  return true;
}

/** Adds a data key: of a user, or of the system when `userId` is null. */
export async function insertDataKey(
  db: Queryable,
  key: WrappedDataKey & { readonly userId: string | null },
): Promise<void> {
  await db.query('insert into data_keys (id, user_id, kek_id, wrapped) values ($1, $2, $3, $4)', [
    key.id,
    key.userId,
    key.kekId,
    key.wrapped,
  ]);
}

/** The data keys of a user, or of the system; the newest, first, seals what is new. */
export async function findDataKeys(db: Queryable, userId: string | null): Promise<DataKeyRow[]> {
  const { rows } = await db.query<DataKeyRow>(
    `select ${dataKeyColumns} from data_keys where user_id is not distinct from $1::uuid order by created_at desc, id`,
    [userId],
  );
  return rows;
}

/** Shreds everything that was sealed for a user. Answers how many keys there were. */
export async function deleteDataKeysOfUser(db: Queryable, userId: string): Promise<number> {
  const { rowCount } = await db.query('delete from data_keys where user_id = $1', [userId]);
  return rowCount ?? 0;
}

/** Up to `limit` data keys under any other KEK, locked; rows that another worker holds are skipped. */
export async function takeDataKeysToRewrap(
  db: Queryable,
  kekId: string,
  limit: number,
): Promise<DataKeyRow[]> {
  const { rows } = await db.query<DataKeyRow>(
    `select ${dataKeyColumns} from data_keys where kek_id <> $1 order by id limit $2 for update skip locked`,
    [kekId, limit],
  );
  return rows;
}

/** Stores a data key wrapped anew; false when its revision is no longer that one. */
export async function rewrapDataKey(
  db: Queryable,
  key: WrappedDataKey & { readonly revision: number },
): Promise<boolean> {
  const { rowCount } = await db.query(
    `update data_keys set kek_id = $3, wrapped = $4, revision = revision + 1, updated_at = now()
     where id = $1 and revision = $2`,
    [key.id, key.revision, key.kekId, key.wrapped],
  );
  return rowCount === 1;
}

export async function rewrapSystemKey(
  db: Queryable,
  key: WrappedSystemKey,
  fromKekId: string,
): Promise<boolean> {
  const { rowCount } = await db.query(
    'update system_keys set kek_id = $3, wrapped = $4, updated_at = now() where name = $1 and kek_id = $2',
    [key.name, fromKekId, key.kekId, key.wrapped],
  );
  return rowCount === 1;
}

/** How many keys each KEK wraps now, and how often it wrapped one ever; a rotation is due well before 2^31. */
export async function countByKek(db: Queryable): Promise<{ kekId: string; keys: number; wraps: number }[]> {
  const { rows } = await db.query<{ kekId: string; keys: number; wraps: number }>(
    `select u.kek_id as "kekId", u.wraps::float8 as wraps,
       ((select count(*) from data_keys d where d.kek_id = u.kek_id)
        + (select count(*) from system_keys s where s.kek_id = u.kek_id))::int as keys
     from kek_usage u order by u.kek_id`,
  );
  return rows;
}

/** Says that this process is alive with that ring; every role may call it. */
export async function beatRing(db: Queryable, beat: Omit<RingHeartbeat, 'seenAt'>): Promise<void> {
  await db.query('select ring_heartbeat($1, $2, $3, $4)', [
    beat.processId,
    beat.program,
    beat.fingerprint,
    beat.primaryKekId,
  ]);
}

/** Processes heard from within `withinMs`. */
export async function listRingHeartbeats(db: Queryable, withinMs: number): Promise<RingHeartbeat[]> {
  const { rows } = await db.query<RingHeartbeat>(
    `select process_id as "processId", program, fingerprint, primary_kek_id as "primaryKekId", seen_at as "seenAt"
     from ring_heartbeats where seen_at > now() - $1 * interval '1 millisecond' order by program, process_id`,
    [withinMs],
  );
  return rows;
}
