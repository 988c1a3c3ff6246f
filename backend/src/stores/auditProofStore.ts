/**
 * Both audits as they lie there, for whoever verifies or exports them: whole, in order, a batch at a time by a cursor, so
 * that memory stays bounded however much there is. Called in a read-only transaction of the scope `auditor` or `admin`.
 */
import type { Queryable } from '../database/queryable.js';
import type { AuditEvent } from './auditStore.js';
import type { AuditName, StoredCheckpoint } from './auditChainStore.js';
import type { CallAuditRecord } from './callAuditStore.js';

/** From its begin up to its end, which is left out; null where it is open. ISO 8601. */
export interface TimeRange {
  readonly from: string | null;
  readonly to: string | null;
}

/** A row's proof; all null in a row that was written before there was a chain. */
interface Proof {
  readonly shard: string | null;
  readonly seq: number | null;
  readonly mac: Buffer | null;
  /** False when its time is finer than a writer's clock: somebody moved it. */
  readonly isTimeWhole: boolean;
}

export interface ProvenEvent extends AuditEvent, Proof {
  readonly id: string;
  readonly occurredAt: Date;
  readonly link: Buffer | null;
}

export interface ProvenCall extends Proof {
  readonly record: CallAuditRecord;
}

export const proofBatchRows = 2_000;

const timeColumn = `occurred_at = date_trunc('milliseconds', occurred_at) as "isTimeWhole"`;

const eventColumns = `id, occurred_at as "occurredAt", actor_kind as "actorKind", actor_id as "actorId",
  actor_via as "actorVia", subject_user_id as "subjectUserId", action, target_kind as "targetKind",
  target_id as "targetId", service, outcome, error_code as "errorCode", request_id as "requestId",
  client_address as "clientAddress", details, shard, seq::float8 as seq, mac, link, ${timeColumn}`;

/** Events by shard and number; those without one come last. */
export async function* readProvenEvents(db: Queryable, range: TimeRange): AsyncGenerator<ProvenEvent[]> {
  yield* readBatches<ProvenEvent>(
    db,
    'proven_events',
    `select ${eventColumns} from audit_events ${whereOf(range)} order by shard, seq`,
  );
}

const callColumns = `occurred_at, call_id, phase, instance_id, user_id, service, method, name, era, request_id,
  client_address, encode(arguments_digest, 'hex') as arguments_digest, arguments_bytes, encode(arguments_sealed, 'base64')
  as arguments_sealed, outcome, http_status, json_rpc_code, is_error, error_code, duration_ms,
  duration_ms::float8 as exact_ms, result_bytes::float8 as result_bytes, spool_id, spool_position::float8 as position,
  seq::float8 as seq, mac, ${timeColumn}`;

/** Records of calls by spool and number; those without one come last. */
export async function* readProvenCalls(db: Queryable, range: TimeRange): AsyncGenerator<ProvenCall[]> {
  const sql = `select ${callColumns} from audit_calls ${whereOf(range)} order by spool_id, seq`;
  for await (const rows of readBatches<CallRow>(db, 'proven_calls', sql)) yield rows.map(toProvenCall);
}

/** All statements in the database, by number. */
export async function* readCheckpoints(db: Queryable): AsyncGenerator<StoredCheckpoint[]> {
  yield* readBatches<StoredCheckpoint>(
    db,
    'checkpoints',
    'select number::float8 as number, statement from audit_checkpoints order by number',
  );
}

/** The begins of the days that have a partition, ascending; what lies in none is in between. */
export async function listPartitionDays(db: Queryable): Promise<string[]> {
  const { rows } = await db.query<{ day: string }>(
    `select distinct to_date(right(c.relname, 8), 'YYYYMMDD')::text as day
     from pg_inherits h join pg_class c on c.oid = h.inhrelid
     where h.inhparent in ('audit_events'::regclass, 'audit_calls'::regclass) and c.relname ~ '_\\d{8}$' order by 1`,
  );
  return rows.map(({ day }) => day);
}

/** How many rows there are, roughly: what the planner believes. */
export async function estimateAuditRows(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ rows: number }>(
    `select coalesce(sum(greatest(c.reltuples, 0)), 0)::float8 as rows
     from pg_inherits h join pg_class c on c.oid = h.inhrelid
     where h.inhparent in ('audit_events'::regclass, 'audit_calls'::regclass)`,
  );
  return rows[0]?.rows ?? 0;
}

export interface ShardState {
  readonly audit: AuditName;
  readonly shard: string;
  readonly seq: number;
}

/** How far the database says that each shard has come. */
export async function listShardStates(db: Queryable): Promise<ShardState[]> {
  const { rows } = await db.query<ShardState>('select audit, shard, seq::float8 as seq from audit_shards');
  return rows;
}

async function* readBatches<Row extends object>(
  db: Queryable,
  cursor: string,
  sql: string,
): AsyncGenerator<Row[]> {
  await db.query(`declare ${cursor} no scroll cursor for ${sql}`);
  for (;;) {
    const { rows } = await db.query<Row>(`fetch ${proofBatchRows} from ${cursor}`);
    if (rows.length > 0) yield rows;
    if (rows.length < proofBatchRows) break;
  }
  await db.query(`close ${cursor}`);
}

const timeForm = /^\d{4}-\d{2}-\d{2}T[\d:.]+Z$/;

/** Times stand in the text, since a cursor takes no parameters from a prepared statement of its own. */
function whereOf({ from, to }: TimeRange): string {
  for (const time of [from, to]) {
    if (time !== null && !timeForm.test(time)) throw new Error('a time range is not in ISO 8601');
  }
  const bounds = [
    ...(from === null ? [] : [`occurred_at >= '${from}'`]),
    ...(to === null ? [] : [`occurred_at < '${to}'`]),
  ];
  return bounds.length === 0 ? '' : `where ${bounds.join(' and ')}`;
}

interface CallRow {
  readonly occurred_at: Date;
  readonly call_id: string;
  readonly phase: 'intent' | 'outcome';
  readonly instance_id: string | null;
  readonly user_id: string | null;
  readonly service: string;
  readonly method: string;
  readonly name: string | null;
  readonly era: 'legacy' | 'modern' | null;
  readonly request_id: string | null;
  readonly client_address: string | null;
  readonly arguments_digest: string | null;
  readonly arguments_bytes: number | null;
  readonly arguments_sealed: string | null;
  readonly outcome: NonNullable<CallAuditRecord['outcome']> | null;
  readonly http_status: number | null;
  readonly json_rpc_code: number | null;
  readonly is_error: boolean | null;
  readonly error_code: string | null;
  readonly duration_ms: number | null;
  readonly exact_ms: number | null;
  readonly result_bytes: number | null;
  readonly spool_id: string;
  readonly position: number;
  readonly seq: number | null;
  readonly mac: Buffer | null;
  readonly isTimeWhole: boolean;
}

function toProvenCall(row: CallRow): ProvenCall {
  // A whole number is printed shorter than it is where `real` has no more digits; a fraction as it was written.
  const durationMs = Number.isInteger(row.exact_ms) ? row.exact_ms : row.duration_ms;
  const optional = {
    name: row.name,
    era: row.era,
    requestId: row.request_id,
    clientAddress: row.client_address,
    argumentsDigest: row.arguments_digest,
    argumentsBytes: row.arguments_bytes,
    // PostgreSQL breaks base64 into lines.
    argumentsSealed: row.arguments_sealed?.replaceAll('\n', '') ?? null,
    outcome: row.outcome,
    httpStatus: row.http_status,
    jsonRpcCode: row.json_rpc_code,
    isError: row.is_error,
    errorCode: row.error_code,
    durationMs,
    resultBytes: row.result_bytes,
  };
  const known: Partial<CallAuditRecord> = Object.fromEntries(
    Object.entries(optional).filter(([, value]) => value !== null),
  );
  return {
    shard: row.spool_id,
    seq: row.seq,
    mac: row.mac,
    isTimeWhole: row.isTimeWhole,
    record: {
      position: row.position,
      phase: row.phase,
      callId: row.call_id,
      occurredAt: row.occurred_at.toISOString(),
      instanceId: row.instance_id,
      userId: row.user_id,
      service: row.service,
      method: row.method,
      ...known,
    },
  };
}
