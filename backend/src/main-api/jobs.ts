/** What the main API does by itself, again and again; each job is harmless in several processes at once. */
import { existsSync } from 'node:fs';
import { readSecretFile } from '../config/secrets.js';
import { createPool, type DatabasePool } from '../database/pool.js';
import type { AuditMac } from '../database/queryable.js';
import { withUser } from '../database/withUser.js';
import { removeInstanceData } from '../jobs/removeInstanceData.js';
import type { Job, Scheduler } from '../jobs/scheduler.js';
import { sweepStagedCredentials } from '../jobs/sweepStagedCredentials.js';
import type { VaultGate } from '../services/vaultKeys.js';
import { countInstancesByState } from '../stores/instancesStore.js';
import { countByKek } from '../stores/keysStore.js';
import { purgeExpired } from '../stores/retentionStore.js';
import { eventMac } from '../vault/auditMacs.js';
import { toAuditJobs } from './auditJobs.js';
import type { AppContext } from './context.js';

const hourMs = 60 * 60_000;
/** For what reads whole partitions. */
const patientMs = 15 * 60_000;
type InstanceCount = Awaited<ReturnType<typeof countInstancesByState>>[number];

export interface JobsParts {
  readonly ctx: Pick<AppContext, 'config' | 'pool' | 'firstAdmin' | 'metrics' | 'now' | 'log'>;
  readonly vault: VaultGate;
}

/** The returned function closes what the jobs use; call it after the scheduler is drained. */
export function addJobs(scheduler: Scheduler, { ctx, vault }: JobsParts): () => Promise<void> {
  scheduler.add({ name: 'setup-code', everyMs: 10_000, atStart: true, run: () => ctx.firstAdmin.keepCode() });
  scheduler.add({ name: 'instances-gauge', everyMs: 15_000, atStart: true, run: instancesGauge(ctx) });
  scheduler.add({ name: 'keys-gauge', everyMs: 60_000, atStart: true, run: () => countKeys(ctx, vault) });
  scheduler.add(sweepStagedCredentials({ pool: ctx.pool }));
  const { instanceDataDir } = ctx.config.paths;
  scheduler.add(removeInstanceData({ pool: ctx.pool, instanceDataDir }));
  const urlFile = ctx.config.paths.databaseUrl('jobs');
  const auditMac = (text: string): Buffer => eventMac(vault.keys().system.audit, text);
  const pool = openJobsPool(urlFile, auditMac);
  if (pool === null) return async () => {};
  scheduler.add(purgeJob(pool));
  const openPatientPool = (): DatabasePool => openJobsPool(urlFile, auditMac, patientMs)!;
  for (const job of toAuditJobs({ ctx, vault, pool, openPatientPool })) scheduler.add(job);
  return () => pool.close();
}

/** Role `portolan_jobs`; null where this installation gives the main API no such role. */
function openJobsPool(urlFile: string, auditMac: AuditMac, statementTimeoutMs = 30_000): DatabasePool | null {
  if (!existsSync(urlFile)) return null;
  return createPool({
    connectionString: readSecretFile(urlFile, 'the connection string of the role jobs'),
    applicationName: 'portolan-jobs',
    connectionsMax: 1,
    statementTimeoutMs,
    auditMac,
    idleTimeoutMs: 10_000,
  });
}

function purgeJob(pool: DatabasePool): Job {
  return {
    name: 'purge-expired',
    everyMs: hourMs,
    atStart: true,
    run: async () => void (await purgeExpired(pool)),
  };
}

/** How many wrapped keys are under the primary KEK, and how many wait for a rewrap. */
async function countKeys(
  { pool, metrics }: Pick<AppContext, 'pool' | 'metrics'>,
  vault: VaultGate,
): Promise<void> {
  if (!vault.isOpen) return;
  const { primary } = vault.keys().ring;
  const counts = await withUser(pool, { userId: null, scope: 'admin' }, countByKek, { readOnly: true });
  const sum = (isCurrent: boolean): number =>
    counts
      .filter(({ kekId }) => (kekId === primary.id) === isCurrent)
      .reduce((total, { keys }) => total + keys, 0);
  for (const isCurrent of [true, false]) metrics.secretsByKeyVersion(isCurrent).set(sum(isCurrent));
}

/** Sets the gauge anew; what was there before and is no more counts zero rather than staying as it was. */
function instancesGauge({ pool, metrics }: Pick<AppContext, 'pool' | 'metrics'>): () => Promise<void> {
  let shown: readonly InstanceCount[] = [];
  return async () => {
    const counts = await withUser(pool, { userId: null, scope: 'admin' }, countInstancesByState, {
      readOnly: true,
    });
    for (const { service, state } of shown) metrics.instances(service, state).set(0);
    for (const { service, state, count } of counts) metrics.instances(service, state).set(count);
    shown = counts;
  };
}
