/**
 * Forgets credentials that were staged and never settled: the process that had them checked died in between. What was in
 * use stays in use; an instance that was to be new goes as well.
 */
import { randomUUID } from 'node:crypto';
import type { DatabasePool } from '../database/pool.js';
import { withUser } from '../database/withUser.js';
import { insertAuditEvent } from '../stores/auditStore.js';
import { discardStaleStaged } from '../stores/instanceProbesStore.js';
import type { Job } from './scheduler.js';

/** Far longer than a probe may take. */
export const stagedAgeMsMax = 5 * 60_000;
const batchRows = 200;

export function sweepStagedCredentials(options: {
  /** Role `portolan_api`. */
  readonly pool: DatabasePool;
  readonly everyMs?: number;
  readonly olderThanMs?: number;
}): Job {
  const { pool, everyMs = 60_000, olderThanMs = stagedAgeMsMax } = options;
  const sweepBatch = (): Promise<number> =>
    withUser(pool, { userId: null, scope: 'admin' }, async (db) => {
      const settled = await discardStaleStaged(db, olderThanMs, batchRows);
      for (const { id, userId, service, isRemoved } of settled) {
        await insertAuditEvent(db, randomUUID(), {
          actorKind: 'system',
          actorId: null,
          actorVia: 'sweep-staged-credentials',
          subjectUserId: userId,
          action: 'credential.sweep',
          targetKind: 'instance',
          targetId: id,
          service,
          outcome: 'success',
          errorCode: null,
          requestId: null,
          clientAddress: null,
          details: { isRemoved },
        });
      }
      return settled.length;
    });

  return {
    name: 'sweep-staged-credentials',
    everyMs,
    async run(signal) {
      while (!signal.aborted && (await sweepBatch()) === batchRows);
    },
  };
}
