/**
 * Uses of a credential that no call of a client's stands for: telling a server that a session is over, hearing it in the
 * background, asking which eras it speaks. Each is audited like a call, its intent before the upstream hears anything
 * (06, "no unaudited use of a secret").
 */
import { AppError } from '../../../errors/appError.js';
import type { ResolvedInstance } from '../../../services/resolvedInstance.js';
import type { CallOutcome } from '../../../spool/callRecord.js';
import type { CallSpool } from '../../../spool/callSpool.js';

/** What stands as the method in the audit. */
export type UseName = 'session/end' | 'stream/listen' | 'era/ask' | 'list/recall';

/**
 * Does the work between intent and outcome, and gives what it gives. `toOutcome` says how a result came out; without it
 * every result is `ok`.
 * @throws AppError AUDIT_UNAVAILABLE: the work was not begun; whatever the work throws
 */
export type AuditUse = <T>(
  instance: Pick<ResolvedInstance, 'id' | 'userId'>,
  name: UseName,
  work: () => Promise<T>,
  toOutcome?: (result: T) => Omit<CallOutcome, 'callId'>,
) => Promise<T>;

export interface CredentialUsesParts {
  readonly spool: Pick<CallSpool, 'intent' | 'outcome'>;
  readonly newId: () => string;
}

export function createAuditUse({ spool, newId }: CredentialUsesParts): AuditUse {
  return async (instance, name, work, toOutcome = () => ({ outcome: 'ok' })) => {
    const callId = newId();
    await spool.intent({ callId, instanceId: instance.id, userId: instance.userId, method: name });
    const startedAt = performance.now();
    const finish = (how: Omit<CallOutcome, 'callId'>): void =>
      spool.outcome({ callId, ...how, durationMs: Math.round(performance.now() - startedAt) });
    try {
      const result = await work();
      finish(toOutcome(result));
      return result;
    } catch (error) {
      finish({ outcome: 'error', errorCode: error instanceof AppError ? error.code : 'INTERNAL' });
      throw error;
    }
  };
}

/** How an HTTP status came out. */
export function toStatusOutcome(status: number): Omit<CallOutcome, 'callId'> {
  return { outcome: status < 400 ? 'ok' : 'error', httpStatus: status };
}
