/**
 * The audit of calls: an intent before the upstream is contacted, an outcome after. Both are spooled first; the shipper
 * moves them here in batches. Each record carries its position in its spool, and the database keeps how far each spool
 * has come in the transaction that adds the rows: a batch sent twice, or cut differently, adds nothing twice.
 */
import type { Queryable } from '../database/queryable.js';

export type CallOutcome =
  | 'ok'
  /** The tool answered `isError`. */
  | 'tool_error'
  /** The upstream or the bridge answered with a JSON-RPC or HTTP error. */
  | 'error'
  | 'timeout'
  | 'cancelled'
  /** Nothing was sent upstream. */
  | 'refused'
  /** The process died in between; set by the sweep at its next start. */
  | 'unknown';

export interface CallAuditRecord {
  /** Where the record ends in its spool, in bytes; grows from record to record, below 2^53. */
  readonly position: number;
  readonly phase: 'intent' | 'outcome';
  /** Joins the two. */
  readonly callId: string;
  /** ISO 8601, UTC. */
  readonly occurredAt: string;
  /** Null when the instance is not known: a refused call. */
  readonly instanceId: string | null;
  readonly userId: string | null;
  readonly service: string;
  /** The JSON-RPC method, or `rest`. */
  readonly method: string;
  /** Tool or prompt; a resource only by its digest. */
  readonly name?: string;
  readonly era?: 'legacy' | 'modern';
  readonly requestId?: string;
  readonly clientAddress?: string;
  /** HMAC-SHA256 of the arguments under the audit key, hex. */
  readonly argumentsDigest?: string;
  readonly argumentsBytes?: number;
  /** What the service's `audit.arguments` keeps of them, sealed under the user's DEK, base64. */
  readonly argumentsSealed?: string;
  readonly outcome?: CallOutcome;
  readonly httpStatus?: number;
  readonly jsonRpcCode?: number;
  readonly isError?: boolean;
  readonly errorCode?: string;
  readonly durationMs?: number;
  readonly resultBytes?: number;
}

/** How far a spool was shipped: in bytes, and in records that are chained. */
export interface SpoolChain {
  readonly position: number;
  readonly seq: number;
  /** Null before the first chained record. */
  readonly head: Buffer | null;
}

/** A batch with its place in the chain of its spool. */
export interface ChainedBatch {
  readonly spoolId: string;
  readonly service: string;
  /** JSON text of an array of `CallAuditRecord` with `seq` and `mac`, numbered without a gap. */
  readonly records: string;
  readonly firstSeq: number;
  /** Where the last of them ends. */
  readonly position: number;
  /** The spool's head after the last of them. */
  readonly head: Buffer;
}

/**
 * Adds the records and moves position, number and head: all or nothing. Answers how many there were.
 * SQLSTATE 40001 when the first does not follow the last that is there.
 */
export async function shipCallAudit(
  db: Queryable,
  { spoolId, service, records, firstSeq, position, head }: ChainedBatch,
): Promise<number> {
  const { rows } = await db.query<{ added: number }>({
    name: 'ship_call_audit',
    text: 'select ship_call_audit($1, $2, $3, $4, $5, $6) as added',
    values: [spoolId, service, records, firstSeq, position, head],
  });
  return rows[0]?.added ?? 0;
}

/** Zeros and null for a spool that was never shipped from. */
export async function findSpoolChain(db: Queryable, spoolId: string): Promise<SpoolChain> {
  const { rows } = await db.query<SpoolChain>(
    'select "position"::float8 as position, coalesce(seq, 0)::float8 as seq, head from spool_chain($1)',
    [spoolId],
  );
  return rows[0]!;
}

/** Drops the position of a spool whose file is gone; its id must never be used again. */
export async function forgetSpool(db: Queryable, spoolId: string): Promise<void> {
  await db.query('select forget_spool($1)', [spoolId]);
}
