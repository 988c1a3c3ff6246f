/**
 * The one writer of the chain: gives committed events their number within a second, and states every ten seconds, signed,
 * how far the shards of both audits have come. Any process of the main API may do it; a lock in the database sees to it
 * that one does at a time. What happens between two checkpoints can be cut off by whoever owns the database and will not
 * be missed: docs/audit.md says so.
 */
import type { KeyObject } from 'node:crypto';
import type { DatabasePool } from '../../database/pool.js';
import type { Queryable } from '../../database/queryable.js';
import {
  countUnchained,
  findEventShard,
  findLastCheckpoint,
  findUnsealedEvents,
  insertCheckpoint,
  listShards,
  lockAuditChain,
  sealEvents,
  type ShardHead,
} from '../../stores/auditChainStore.js';
import { eventLink, firstHead, foldHead } from '../../vault/auditMacs.js';
import type { SigningKeys } from '../jwtKeys.js';
import { digestOf, readCheckpoint, signCheckpoint, type Checkpoint } from './checkpoint.js';
import type { CheckpointFiles } from './checkpointFiles.js';

export interface AuditChainParts {
  /** Role `portolan_jobs`. */
  readonly pool: DatabasePool;
  /** @throws AppError SEALED */
  readonly keys: () => { readonly installId: string; readonly system: { readonly audit: KeyObject } };
  readonly signing: SigningKeys;
  readonly files: CheckpointFiles;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly newId: () => string;
}

export interface AuditSealerOptions extends AuditChainParts {
  /** How long programs of the version before may still write rows without a MAC, in ms. */
  readonly settleAfterMs?: number;
  /** Told when the database lacks checkpoints that the state directory has. */
  readonly onGap?: (lost: number) => void;
}

export interface AuditSealer {
  /** Numbers all events that wait; how many. Zero while another process does it. */
  seal(): Promise<number>;
  /** Makes a checkpoint if anything moved; its number, or null. */
  checkpoint(): Promise<number | null>;
}

const batchRows = 500;

export function createAuditSealer(options: AuditSealerOptions): AuditSealer {
  const { pool, keys, newId, files } = options;
  /** The shard that was begun since the database was put back: its own numbers were given before. */
  let fresh: string | null = null;

  const sealBatch = (): Promise<number> =>
    pool.transaction(async (db) => {
      if (!(await lockAuditChain(db))) return 0;
      const events = await findUnsealedEvents(db, batchRows);
      if (events.length === 0) return 0;
      const former = await findEventShard(db);
      const lost = await countLost(db, files);
      if (lost === 0) fresh = null;
      const isFit = former !== null && (lost === 0 || former.shard === fresh);
      const { shard, seq, head: from } = isFit ? former : beginShard(newId);
      if (lost > 0) fresh = shard;
      const key = keys().system.audit;
      let head = from;
      const links = events.map(({ id, occurredAt, mac }, at) => {
        const link = eventLink(key, shard, seq + 1 + at, id, mac);
        head = foldHead(head, link);
        return { id, occurredAt, link: link.toString('base64') };
      });
      await sealEvents(db, shard, seq + 1, links, head);
      return events.length;
    });

  return {
    async seal() {
      let sealed = 0;
      for (let count = batchRows; count === batchRows; sealed += count) count = await sealBatch();
      return sealed;
    },
    async checkpoint() {
      const made = await pool.transaction(async (db) => {
        if (!(await lockAuditChain(db))) return null;
        const shards = await listShards(db, 'waiting');
        return await stateCheckpoint(db, options, { shards, isWhole: false });
      });
      if (made === null) return null;
      files.append(made.statement, made.checkpoint.at);
      return made.checkpoint.n;
    },
  };
}

/** How many statements the state directory has that the database lacks at its end. */
async function countLost(db: Queryable, files: CheckpointFiles): Promise<number> {
  const [stored, kept] = [(await findLastCheckpoint(db))?.statement ?? null, files.last()];
  return Math.max(0, numberOf(kept) - numberOf(stored));
}

function numberOf(statement: string | null): number {
  return statement === null ? 0 : (readCheckpoint(statement)?.n ?? 0);
}

export interface MadeCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly statement: string;
}

/**
 * Adds the next statement, in a transaction that holds the chain's lock; the caller appends it to the files after the
 * commit, so that the files never know more than the database did. Null when there is nothing to state.
 */
export async function stateCheckpoint(
  db: Queryable,
  { keys, signing, files, now, settleAfterMs = 3_600_000, onGap }: AuditSealerOptions,
  {
    shards,
    isWhole,
    ...more
  }: Pick<Checkpoint, 'isWhole'> &
    Pick<Partial<Checkpoint>, 'pruned' | 'from'> & { readonly shards: readonly ShardHead[] },
): Promise<MadeCheckpoint | null> {
  const at = new Date(now()).toISOString();
  const stored = (await findLastCheckpoint(db))?.statement ?? null;
  const kept = files.last();
  const known = stored === null ? null : readCheckpoint(stored);
  const remembered = kept === null ? null : readCheckpoint(kept);
  // The files may lag behind the database, where another machine made the last one; never the other way round.
  const lost = (remembered?.n ?? 0) - (known?.n ?? 0);
  const [last, text] = lost > 0 ? [remembered, kept] : [known, stored];
  if (lost > 0) onGap?.(lost);

  const isFirst = last === null;
  const began = last?.began ?? at;
  const isSettling =
    (last?.settled ?? null) === null &&
    (now() - Date.parse(began) >= settleAfterMs || (isFirst && (await countUnchained(db)).length === 0));
  if (shards.length === 0 && !isFirst && !isSettling && more.pruned === undefined) return null;
  const n = (last?.n ?? 0) + 1;
  const checkpoint: Checkpoint = {
    iss: keys().installId,
    n,
    at,
    prev: text === null ? null : digestOf(text),
    shards: shards.map(({ audit, shard, seq, head }) => [audit, shard, seq, head.toString('hex')]),
    isWhole: isWhole || isFirst,
    began,
    settled: isSettling ? n : (last?.settled ?? null),
    from: last?.from ?? 1,
    ...(isSettling
      ? { unchained: (await countUnchained(db)).map(({ audit, day, count }) => [audit, day, count]) }
      : {}),
    ...(lost > 0 ? { gap: true } : {}),
    ...more,
  };
  const statement = signCheckpoint(signing, checkpoint);
  await insertCheckpoint(db, { number: n, issuedAt: at, isWhole: checkpoint.isWhole, statement }, shards);
  return { checkpoint, statement };
}

function beginShard(newId: () => string): Pick<ShardHead, 'shard' | 'seq' | 'head'> {
  const shard = `events-${newId()}`;
  return { shard, seq: 0, head: firstHead('audit_events', shard) };
}
