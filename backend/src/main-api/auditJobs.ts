/** What the main API does for the audit by itself: partitions, the chain with its checkpoints, retention, and a look at the last verification. */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { withUser } from '../database/withUser.js';
import type { DatabasePool } from '../database/pool.js';
import type { Job } from '../jobs/scheduler.js';
import { createAuditSealer } from '../services/audit/auditSealer.js';
import { openCheckpointFiles } from '../services/audit/checkpointFiles.js';
import { pruneAudit } from '../services/audit/pruneAudit.js';
import { loadSigningKeys } from '../services/jwtKeys.js';
import type { VaultGate } from '../services/vaultKeys.js';
import { findLastVerification } from '../stores/auditQueryStore.js';
import { ensureAuditPartitions } from '../stores/auditStore.js';
import type { AppContext } from './context.js';

const hourMs = 60 * 60_000;
const dayMs = 24 * hourMs;
const partitionDaysAhead = 7;

export interface AuditJobsParts {
  readonly ctx: Pick<AppContext, 'config' | 'pool' | 'metrics' | 'now' | 'log'>;
  readonly vault: VaultGate;
  /** Role `portolan_jobs`. */
  readonly pool: DatabasePool;
  /** The same role, for statements that take minutes. */
  readonly openPatientPool: () => DatabasePool;
}

export function toAuditJobs({ ctx, vault, pool, openPatientPool }: AuditJobsParts): readonly Job[] {
  const { config, log, metrics, now } = ctx;
  const always: Job[] = [
    {
      name: 'audit-partitions',
      everyMs: hourMs,
      atStart: true,
      run: async () => void (await ensureAuditPartitions(pool, new Date(now()), partitionDaysAhead)),
    },
    { name: 'audit-verification-gauge', everyMs: 60_000, atStart: true, run: () => showVerification(ctx) },
  ];
  if (!existsSync(config.paths.auditKeys)) {
    log.error('there is no key to sign the checkpoints of the audit with; run the set-up');
    return always;
  }
  const chain = {
    keys: () => vault.keys(),
    signing: loadSigningKeys(config.paths.auditKeys),
    files: openCheckpointFiles(config.paths.auditCheckpointsDir),
    now,
    newId: randomUUID,
  };
  const sealer = createAuditSealer({
    ...chain,
    pool,
    onGap: (count) => {
      metrics.auditProblems.set(count);
      log.error('the database lost checkpoints of the audit that the state directory has', { count });
    },
  });
  // While the vault is sealed nothing is audited either; it says so itself.
  const whileOpen = (run: () => Promise<unknown>) => async (): Promise<void> => {
    if (vault.isOpen) await run();
  };
  return [
    ...always,
    { name: 'audit-seal', everyMs: 1_000, atStart: true, run: whileOpen(() => sealer.seal()) },
    { name: 'audit-checkpoint', everyMs: 10_000, atStart: true, run: whileOpen(() => sealer.checkpoint()) },
    {
      name: 'audit-retention',
      everyMs: hourMs,
      atStart: true,
      run: whileOpen(async () => {
        await using patient = openPatientPool();
        const before = new Date(now() - config.auditRetentionDays * dayMs).toISOString().slice(0, 10);
        await pruneAudit({ ...chain, pool: patient, before, via: 'audit-retention' });
      }),
    },
  ];
}

/** A verification that found something stays visible until a later one finds nothing. */
async function showVerification({ pool, metrics }: Pick<AppContext, 'pool' | 'metrics'>): Promise<void> {
  const last = await withUser(pool, { userId: null, scope: 'auditor' }, findLastVerification, {
    readOnly: true,
  });
  if (last !== null) metrics.auditProblems.set(last.problems);
}
