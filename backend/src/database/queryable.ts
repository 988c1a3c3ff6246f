import type { QueryConfig, QueryResult, QueryResultRow } from 'pg';

/**
 * What a store needs of the database: one query at a time, on a pool, on a client or inside a transaction.
 * Which of the three it is decides the caller, and with it what is atomic and whose rows are seen.
 */
export interface Queryable {
  query<Row extends QueryResultRow>(
    query: string | QueryConfig,
    values?: unknown[],
  ): Promise<QueryResult<Row>>;
  /** The MAC of an audit event, by whoever may write one; see `PoolOptions.auditMac`. */
  readonly auditMac?: AuditMac;
}

/** HMAC of an event's canonical text under `k_audit`. @throws AppError SEALED */
export type AuditMac = (canonical: string) => Buffer;

/** The row that a statement must have found or made; the SQL guarantees it. */
export function onlyRow<Row extends QueryResultRow>(result: QueryResult<Row>): Row {
  const row = result.rows[0];
  if (row === undefined || result.rows.length > 1)
    throw new Error(`expected one row, got ${result.rows.length}`);
  return row;
}
