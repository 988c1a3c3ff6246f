/**
 * What rotating keys needs of the database beyond the keys themselves: which KEKs may wrap, the rotation under way, and
 * every sealed record as one list. For the role `portolan_jobs`, which may put a record in the place of exactly the one
 * that it has read, and nothing else.
 */
import { onlyRow, type Queryable } from '../database/queryable.js';

/**
 * `distributing`: the new KEK is in the ring as `decrypt`. `promoting`: both may wrap, the ring file names the new one as
 * primary. `rewrapping`: only the new one may wrap. `settling`: all is verified; who holds old rows lets go of them.
 */
export type RotationPhase = 'distributing' | 'promoting' | 'rewrapping' | 'settling' | 'finished';

export interface KekRotation {
  readonly id: string;
  readonly fromKek: string;
  readonly toKek: string;
  readonly phase: RotationPhase;
  /** Keys that were wrapped anew so far, by all runs of it. */
  readonly rewrapped: number;
  readonly startedAt: Date;
  readonly finishedAt: Date | null;
}

const rotationColumns = `id, from_kek as "fromKek", to_kek as "toKek", phase, rewrapped, started_at as "startedAt",
  finished_at as "finishedAt"`;

/** The rotation that is not finished; null when there is none. */
export async function findOpenRotation(db: Queryable): Promise<KekRotation | null> {
  const { rows } = await db.query<KekRotation>(
    `select ${rotationColumns} from key_rotations where finished_at is null`,
  );
  return rows[0] ?? null;
}

export async function insertRotation(
  db: Queryable,
  { id, fromKek, toKek }: Pick<KekRotation, 'id' | 'fromKek' | 'toKek'>,
): Promise<KekRotation> {
  return onlyRow(
    await db.query<KekRotation>(
      `insert into key_rotations (id, from_kek, to_kek, phase) values ($1, $2, $3, 'distributing')
       returning ${rotationColumns}`,
      [id, fromKek, toKek],
    ),
  );
}

/** Notes where a rotation has got to, and how many keys it has wrapped anew since the last note. */
export async function noteRotation(
  db: Queryable,
  id: string,
  { phase, rewrapped = 0 }: { readonly phase: RotationPhase; readonly rewrapped?: number },
): Promise<KekRotation> {
  return onlyRow(
    await db.query<KekRotation>(
      `update key_rotations set phase = $2, rewrapped = rewrapped + $3, updated_at = now(),
         finished_at = case when $2 = 'finished' then now() end
       where id = $1 returning ${rotationColumns}`,
      [id, phase, rewrapped],
    ),
  );
}

/** From the commit on only these KEKs wrap keys; it waits for every transaction that another one was allowed to. */
export async function setWrappingKeks(db: Queryable, kekIds: readonly string[]): Promise<void> {
  await db.query(
    `insert into key_ring_state (wrapping_keks) values ($1)
     on conflict (is_only) do update set wrapping_keks = excluded.wrapping_keks, updated_at = now()`,
    [kekIds],
  );
}

/** Null while any KEK may. */
export async function readWrappingKeks(db: Queryable): Promise<readonly string[] | null> {
  const { rows } = await db.query<{ keks: string[] }>('select wrapping_keks as keks from key_ring_state');
  return rows[0]?.keks ?? null;
}

/** How many wrapped keys, data keys and system keys, are under any other KEK. */
export async function countUnderOthers(db: Queryable, kekId: string): Promise<number> {
  const result = await db.query<{ count: number }>(
    `select ((select count(*) from data_keys where kek_id <> $1)
       + (select count(*) from system_keys where kek_id <> $1))::int as count`,
    [kekId],
  );
  return onlyRow(result).count;
}

export async function countWrappedKeys(db: Queryable): Promise<number> {
  const result = await db.query<{ count: number }>(
    'select ((select count(*) from data_keys) + (select count(*) from system_keys))::int as count',
  );
  return onlyRow(result).count;
}

/** One sealed record with the place and the revision that it is bound to. */
export interface SealedRecordRow {
  readonly table: 'instances' | 'oauth_sign_ins' | 'oauth_clients' | 'service_settings';
  readonly column: string;
  readonly rowId: string;
  /** Null: of the installation itself. */
  readonly userId: string | null;
  readonly revision: number;
  readonly sealed: Buffer;
}

const recordColumns = `table_name as "table", column_name as "column", row_id as "rowId", user_id as "userId", revision,
  sealed`;

/** The sealed records of a user, or of the system, that are not under that data key. */
export async function listRecordsOutside(
  db: Queryable,
  userId: string | null,
  dataKeyId: string,
): Promise<SealedRecordRow[]> {
  // Two texts rather than one with `is not distinct from`, which no index serves.
  const whose = userId === null ? 'user_id is null and $1::uuid is null' : 'user_id = $1';
  const { rows } = await db.query<SealedRecordRow>(
    `select ${recordColumns} from sealed_records where ${whose} and data_key_id is distinct from $2`,
    [userId, dataKeyId],
  );
  return rows;
}

/** The records of one table in the order of its rows, from that id on: all of each row, of `rows` rows at most. */
export async function listRecords(
  db: Queryable,
  table: SealedRecordRow['table'],
  afterId: string,
  rowsMax: number,
): Promise<SealedRecordRow[]> {
  const { rows } = await db.query<SealedRecordRow>(
    `select ${recordColumns} from sealed_records where table_name = $1 and row_id in (
       select distinct row_id from sealed_records where table_name = $1 and row_id > $2 order by row_id limit $3
     ) order by row_id, column_name`,
    [table, afterId, rowsMax],
  );
  return rows;
}

/** False when another record lies there by now, which is newer than what was read. */
export async function resealRecord(
  db: Queryable,
  { table, column, rowId, sealed }: SealedRecordRow,
  resealed: Buffer,
): Promise<boolean> {
  const { rows } = await db.query<{ done: boolean }>('select reseal_record($1, $2, $3, $4, $5) as done', [
    table,
    column,
    rowId,
    sealed,
    resealed,
  ]);
  return rows[0]?.done === true;
}

/** `audited`: the audit keeps arguments under it, and is never written anew; it can go when retention has let go of them. */
export type DropOutcome = 'dropped' | 'newest' | 'in use' | 'audited' | 'gone';

/** Removes a data key whose owner has a newer one and under which nothing is sealed any more. */
export async function dropReplacedDataKey(db: Queryable, id: string): Promise<DropOutcome> {
  const result = await db.query<{ outcome: DropOutcome }>('select drop_replaced_data_key($1) as outcome', [
    id,
  ]);
  return onlyRow(result).outcome;
}

/** A user who is not deleted, by address or uuid. */
export async function findKeyOwner(db: Queryable, emailOrId: string): Promise<string | null> {
  const { rows } = await db.query<{ id: string | null }>('select find_key_owner($1) as id', [emailOrId]);
  return rows[0]?.id ?? null;
}

/** Which of these users were deleted. */
export async function findDeletedUsers(db: Queryable, ids: readonly string[]): Promise<ReadonlySet<string>> {
  const { rows } = await db.query<{ id: string }>('select id from deleted_users($1) as id', [ids]);
  return new Set(rows.map(({ id }) => id));
}
