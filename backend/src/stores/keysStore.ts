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

/**
 * Up to `limit` data keys under any other KEK, from that id on, locked; rows that another worker holds are skipped. The
 * lock is the one that an update of a wrap takes, so that whoever stores a record meanwhile does not wait.
 */
export async function takeDataKeysToRewrap(
  db: Queryable,
  kekId: string,
  { afterId, limit }: { readonly afterId: string; readonly limit: number },
): Promise<DataKeyRow[]> {
  const { rows } = await db.query<DataKeyRow>(
    `select ${dataKeyColumns} from data_keys where kek_id <> $1 and id > $2 order by id limit $3
     for no key update skip locked`,
    [kekId, afterId, limit],
  );
  return rows;
}

/** Stores data keys wrapped anew, but for those whose revision is no longer that one; answers how many it stored. */
export async function rewrapDataKeys(
  db: Queryable,
  keys: readonly (WrappedDataKey & { readonly revision: number })[],
): Promise<number> {
  const { rowCount } = await db.query(
    `update data_keys d set kek_id = n.kek_id, wrapped = n.wrapped, revision = d.revision + 1, updated_at = now()
     from unnest($1::uuid[], $2::integer[], $3::text[], $4::bytea[]) as n (id, revision, kek_id, wrapped)
     where d.id = n.id and d.revision = n.revision`,
    [
      keys.map(({ id }) => id),
      keys.map(({ revision }) => revision),
      keys.map(({ kekId }) => kekId),
      keys.map(({ wrapped }) => wrapped),
    ],
  );
  return rowCount ?? 0;
}

/** False when it is gone; else it stays until the transaction ends. */
export async function holdDataKey(db: Queryable, id: string): Promise<boolean> {
  const { rowCount } = await db.query('select from data_keys where id = $1 for key share', [id]);
  return rowCount === 1;
}

/** Those of these data keys that are there. */
export async function findDataKeysById(db: Queryable, ids: readonly string[]): Promise<DataKeyRow[]> {
  const { rows } = await db.query<DataKeyRow>(
    `select ${dataKeyColumns} from data_keys where id = any ($1::uuid[])`,
    [ids],
  );
  return rows;
}

/** The owners of data keys, in order, from that one on; null is the system, and comes last. Only whose newest key is old. */
export async function listDataKeyOwners(db: Queryable, olderThan: Date): Promise<(string | null)[]> {
  const { rows } = await db.query<{ userId: string | null }>(
    `select user_id as "userId" from data_keys group by user_id having max(created_at) < $1 or count(*) > 1
     order by user_id nulls last`,
    [olderThan],
  );
  return rows.map(({ userId }) => userId);
}

/** The wrapped data keys of everybody, in the order of their ids, from that id on. */
export async function listDataKeys(db: Queryable, afterId: string, limit: number): Promise<DataKeyRow[]> {
  const { rows } = await db.query<DataKeyRow>(
    `select ${dataKeyColumns} from data_keys where id > $1 order by id limit $2`,
    [afterId, limit],
  );
  return rows;
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

/**
 * Whether that KEK may wrap a key now. What it answers stays true until the caller's transaction ends: a rotation that
 * takes the right away waits for it.
 */
export async function mayWrap(db: Queryable, kekId: string): Promise<boolean> {
  const { rows } = await db.query<{ may: boolean }>('select may_wrap($1) as may', [kekId]);
  return rows[0]?.may === true;
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

/** Says that this process is no more, so that nobody waits for it. */
export async function endRingBeat(db: Queryable, processId: string): Promise<void> {
  await db.query('select ring_heartbeat_end($1)', [processId]);
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
