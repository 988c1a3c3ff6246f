/**
 * Retention of the audits (05: 30 days): partitions of whole days are dropped, and a signed checkpoint says in the same
 * transaction which numbers lay in them. A partition that is gone without such a statement was taken by somebody else.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../../errors/appError.js';
import type { Queryable } from '../../database/queryable.js';
import {
  findWholeCheckpoint,
  forgetCheckpoints,
  listShards,
  listStrayDays,
  lockAuditChain,
  lockExpiredPartitions,
  type ExpiredPartition,
} from '../../stores/auditChainStore.js';
import { dropAuditPartitions, ensureAuditPartitions } from '../../stores/auditStore.js';
import { writeAudit } from '../changeAudit.js';
import { stateCheckpoint, type AuditChainParts, type MadeCheckpoint } from './auditSealer.js';

export interface PruneOptions extends AuditChainParts {
  /** The first day (`YYYY-MM-DD`, UTC) that stays. */
  readonly before: string;
  /** Says what would go, and changes nothing. */
  readonly dryRun?: boolean;
  /** Named in the audit: the job, or the command. */
  readonly via: string;
}

export type PrunedPartition = Pick<ExpiredPartition, 'name' | 'audit' | 'rows'>;

const dayMs = 86_400_000;
/** Statements stay this much longer than the rows that they speak of. */
const statementDays = 7;
const lockTries = 50;

/** Drops what is older. @throws AppError DATABASE_UNAVAILABLE when another process keeps the chain for ten seconds */
export async function pruneAudit(options: PruneOptions): Promise<readonly PrunedPartition[]> {
  for (let tries = 0; tries < lockTries; tries += 1) {
    const done = await pruneOnce(options);
    if (done !== null) return done;
    await delay(200);
  }
  throw new AppError('DATABASE_UNAVAILABLE', 'another process works on the chain of the audit');
}

class DryRun extends Error {
  readonly found: readonly PrunedPartition[];

  constructor(found: readonly PrunedPartition[]) {
    super('nothing was changed');
    this.found = found;
  }
}

async function pruneOnce(options: PruneOptions): Promise<readonly PrunedPartition[] | null> {
  const { pool, files, before, dryRun = false } = options;
  const keepStatements = new Date(Date.parse(before) - statementDays * dayMs);
  let made: MadeCheckpoint | null = null;
  try {
    const pruned = await pool.transaction(async (db) => {
      if (!(await lockAuditChain(db))) return null;
      for (const day of await listStrayDays(db)) {
        if (day < before) await ensureAuditPartitions(db, new Date(`${day}T00:00:00Z`), 1);
      }
      const expired = await lockExpiredPartitions(db, before);
      const found = expired.map(({ name, audit, rows }) => ({ name, audit, rows }));
      if (dryRun) throw new DryRun(found);
      if (expired.length === 0) return found;
      const from = await findWholeCheckpoint(db, keepStatements);
      await dropAuditPartitions(db, new Date(`${before}T00:00:00Z`));
      await recordPruning(db, options, found);
      made = await stateCheckpoint(db, options, {
        shards: await listShards(db, 'all'),
        isWhole: true,
        pruned: {
          partitions: found.map(({ name, rows }) => [name, rows]),
          runs: expired.flatMap(({ runs }) =>
            runs.map(({ audit, shard, first, last }): [typeof audit, string, number, number] => [
              audit,
              shard,
              first,
              last,
            ]),
          ),
        },
        ...(from === null ? {} : { from }),
      });
      if (from !== null) await forgetCheckpoints(db, from, keepStatements);
      return found;
    });
    if (made !== null) {
      const { checkpoint, statement }: MadeCheckpoint = made;
      files.append(statement, checkpoint.at);
      files.forgetBefore(keepStatements.toISOString().slice(0, 10));
    }
    return pruned;
  } catch (thrown) {
    // The transaction made partitions for days that had none; a dry run takes that back too.
    if (thrown instanceof DryRun) return thrown.found;
    throw thrown;
  }
}

async function recordPruning(
  db: Queryable,
  { via, before }: PruneOptions,
  found: readonly PrunedPartition[],
): Promise<void> {
  await writeAudit(db, {
    actorKind: 'system',
    actorId: null,
    actorVia: via,
    subjectUserId: null,
    action: 'audit.pruned',
    targetKind: 'audit',
    targetId: before,
    service: null,
    outcome: 'success',
    errorCode: null,
    requestId: null,
    clientAddress: null,
    details: { partitions: found.length, rows: found.reduce((sum, { rows }) => sum + rows, 0) },
  });
}
