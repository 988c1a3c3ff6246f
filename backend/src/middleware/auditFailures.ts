/** Writes the one audit row of a mutation that failed: nothing else changed, so it has a transaction of its own. */
import type { DatabasePool } from '../database/pool.js';
import { withUser } from '../database/withUser.js';
import type { AppError } from '../errors/appError.js';
import { recordActorChange, type Actor } from '../services/changeAudit.js';
import { recordStrangerChange } from '../services/requestOrigin.js';
import type { Logger } from '../telemetry/logger.js';

export interface FailedMutation {
  readonly audit: { readonly action: string; readonly target: string };
  readonly actor: Actor | null;
  readonly error: AppError;
  readonly targetId: string | null;
  readonly requestId: string;
  readonly clientAddress: string | null;
  readonly userAgent: string | null;
}

export interface AuditFailuresOptions {
  readonly pool: DatabasePool;
  readonly log: Logger;
  readonly onWriteFailure: () => void;
}

const refusals: ReadonlySet<number> = new Set([401, 403, 404, 429]);

/** The returned function never throws: the caller hears of the first failure, operators of this one as well. */
export function auditFailures({ pool, log, onWriteFailure }: AuditFailuresOptions) {
  return async (failed: FailedMutation): Promise<void> => {
    const { audit, actor, error, targetId, requestId } = failed;
    const change = {
      action: audit.action,
      target: { kind: audit.target, id: targetId },
      outcome: refusals.has(error.form.status) ? ('denied' as const) : ('failure' as const),
      errorCode: error.code,
    };
    try {
      await withUser(pool, { userId: actor?.userId ?? null, scope: 'self' }, (db) =>
        actor === null ? recordStrangerChange(db, failed, change) : recordActorChange(db, actor, change),
      );
    } catch (thrown) {
      onWriteFailure();
      log.error('the audit row of a failed change could not be written', { requestId, error: thrown });
    }
  };
}
