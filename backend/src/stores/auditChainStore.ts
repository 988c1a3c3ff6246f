/**
 * The chain of the audits as the sealer keeps it: events that wait for their number, how far each shard has come, and the
 * signed checkpoints. All of it is for the jobs role and goes by functions of the owner; that role cannot read an event.
 */
import type { Queryable } from '../database/queryable.js';

export type AuditName = 'audit_events' | 'audit_calls';

export interface UnsealedEvent {
  readonly id: string;
  /** As PostgreSQL prints it, whose clock is finer than a Date. */
  readonly occurredAt: string;
  readonly mac: Buffer;
}

export interface ShardHead {
  readonly audit: AuditName;
  readonly shard: string;
  readonly seq: number;
  readonly head: Buffer;
}

export interface StoredCheckpoint {
  readonly number: number;
  /** A compact JWS. */
  readonly statement: string;
}

/** The numbers from `first` to `last` of a shard that lie in a partition. */
export interface ShardRun {
  readonly audit: AuditName;
  readonly shard: string;
  readonly first: number;
  readonly last: number;
}

export interface ExpiredPartition {
  readonly name: string;
  readonly audit: AuditName;
  readonly rows: number;
  readonly runs: readonly ShardRun[];
}

/** True when this transaction is the only one that seals, until it ends. */
export async function lockAuditChain(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ isLocked: boolean }>('select lock_audit_chain() as "isLocked"');
  return rows[0]?.isLocked ?? false;
}

/** Events that were committed and have no number, oldest first. */
export async function findUnsealedEvents(db: Queryable, limit: number): Promise<UnsealedEvent[]> {
  const { rows } = await db.query<UnsealedEvent>({
    name: 'unsealed_audit_events',
    text: 'select id, occurred_at::text as "occurredAt", mac from unsealed_audit_events($1)',
    values: [limit],
  });
  return rows;
}

/** The shard of events that was written to last. */
export async function findEventShard(db: Queryable): Promise<ShardHead | null> {
  const { rows } = await db.query<ShardHead>(
    `select audit, shard, seq::float8 as seq, head from audit_shards
     where audit = 'audit_events' order by updated_at desc limit 1`,
  );
  return rows[0] ?? null;
}

/** Gives events the numbers from `firstSeq` on, in this order, and moves the shard's head. */
export async function sealEvents(
  db: Queryable,
  shard: string,
  firstSeq: number,
  links: readonly { readonly id: string; readonly occurredAt: string; readonly link: string }[],
  head: Buffer,
): Promise<void> {
  await db.query('select seal_audit_events($1, $2, $3, $4)', [shard, firstSeq, JSON.stringify(links), head]);
}

/** Shards that moved since a checkpoint named them, or all of them. */
export async function listShards(db: Queryable, which: 'waiting' | 'all'): Promise<ShardHead[]> {
  const { rows } = await db.query<ShardHead>(
    `select audit, shard, seq::float8 as seq, head from audit_shards
     ${which === 'waiting' ? 'where seq > checkpoint_seq' : ''} order by audit, shard`,
  );
  return rows;
}

export async function findLastCheckpoint(db: Queryable): Promise<StoredCheckpoint | null> {
  const { rows } = await db.query<StoredCheckpoint>(
    'select number::float8 as number, statement from audit_checkpoints order by number desc limit 1',
  );
  return rows[0] ?? null;
}

export async function insertCheckpoint(
  db: Queryable,
  checkpoint: StoredCheckpoint & { readonly issuedAt: string; readonly isWhole: boolean },
  shards: readonly ShardHead[],
): Promise<void> {
  const { number, issuedAt, isWhole, statement } = checkpoint;
  const named = JSON.stringify(shards.map(({ audit, shard, seq }) => [audit, shard, seq]));
  await db.query('select add_audit_checkpoint($1, $2, $3, $4, $5)', [
    number,
    issuedAt,
    isWhole,
    statement,
    named,
  ]);
}

/** How many rows of each day have no MAC. Reads both audits whole. */
export async function countUnchained(
  db: Queryable,
): Promise<{ audit: AuditName; day: string; count: number }[]> {
  const { rows } = await db.query<{ audit: AuditName; day: string; count: number }>(
    'select audit, day, count::float8 as count from count_unchained_audit() order by audit, day',
  );
  return rows;
}

/** Days (`YYYY-MM-DD`) whose rows lie in a default partition. */
export async function listStrayDays(db: Queryable): Promise<string[]> {
  const { rows } = await db.query<{ day: string }>(
    'select day::text as day from stray_audit_days() as day order by day',
  );
  return rows.map(({ day }) => day);
}

/** Partitions of whole days before `before` (`YYYY-MM-DD`), closed to writers until the transaction ends. */
export async function lockExpiredPartitions(db: Queryable, before: string): Promise<ExpiredPartition[]> {
  const { rows } = await db.query<{
    partition: string;
    audit: AuditName;
    count: number;
    shard: string | null;
    first: number;
    last: number;
  }>(
    `select partition, audit, row_count::float8 as count, shard, first_seq::float8 as first, last_seq::float8 as last
     from expired_audit_partitions($1::date)`,
    [before],
  );
  return rows
    .filter(({ shard }) => shard === null)
    .map(({ partition, audit, count }) => ({
      name: partition,
      audit,
      rows: count,
      runs: rows.flatMap((run) =>
        run.partition === partition && run.shard !== null
          ? [{ audit, shard: run.shard, first: run.first, last: run.last }]
          : [],
      ),
    }));
}

/** The number of the newest statement that names all shards and is older than that, for those before it to be forgotten. */
export async function findWholeCheckpoint(db: Queryable, before: Date): Promise<number | null> {
  const { rows } = await db.query<{ number: number | null }>(
    'select max(number)::float8 as number from audit_checkpoints where is_whole and issued_at < $1',
    [before.toISOString()],
  );
  return rows[0]?.number ?? null;
}

/** Removes statements below a number, and what is known of spools that are gone and were shipped before that time. */
export async function forgetCheckpoints(db: Queryable, below: number, shardsBefore: Date): Promise<void> {
  await db.query('select forget_audit_checkpoints($1, $2)', [below, shardsBefore.toISOString()]);
}
