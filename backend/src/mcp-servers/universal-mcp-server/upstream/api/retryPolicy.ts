/**
 * When a request may be sent again: only for calls that may run twice, only on the declared statuses or when nothing was
 * sent at all, as long as the service asks for within bounds, and never more than a tenth of all calls (06, "Defaults").
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiDefinition } from '../../../../catalog/serviceDefinition.js';
import type { EgressResponse } from '../../../../egress/egressCall.js';
import { AppError } from '../../../../errors/appError.js';

/** A service that asks for a longer pause gets no second try; its user is told when to come back. */
const pauseMsMax = 10_000;
const firstPauseMs = 200;

export interface RetryBudget {
  /** Each call earns a tenth of a retry; ten are kept at most. */
  earn(): void;
  /** Whether there is one to spend. */
  spend(): boolean;
}

export function createRetryBudget(): RetryBudget {
  let left = 10;
  return {
    earn: () => void (left = Math.min(10, left + 0.1)),
    spend: () => {
      if (left < 1) return false;
      left -= 1;
      return true;
    },
  };
}

/**
 * @param send gets the milliseconds that are left for it.
 * @param deadline on the clock of `performance.now()`; no pause goes past it.
 * @throws what the last try threw, or the signal's reason.
 */
export async function sendWithRetries(
  send: (leftMs: number) => Promise<EgressResponse>,
  policy: ApiDefinition['retry'],
  context: { readonly budget: RetryBudget; readonly deadline: number; readonly signal: AbortSignal },
): Promise<EgressResponse> {
  const { budget, deadline, signal } = context;
  budget.earn();
  for (let attempt = 1; ; attempt += 1) {
    const leftMs = Math.max(1, deadline - performance.now());
    const result = await send(leftMs).catch((error: unknown) => {
      // Nothing was sent, so that nothing can happen twice.
      if (error instanceof AppError && error.code === 'UPSTREAM_UNREACHABLE') return error;
      throw error;
    });
    const pauseMs = pauseBefore(result, attempt, policy);
    const goesOn =
      attempt < policy.attempts &&
      pauseMs !== null &&
      performance.now() + pauseMs < deadline &&
      budget.spend();
    if (!goesOn) {
      if (result instanceof AppError) throw result;
      return result;
    }
    await sleep(pauseMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

/** Null: not to be tried again. */
function pauseBefore(
  result: EgressResponse | AppError,
  attempt: number,
  policy: ApiDefinition['retry'],
): number | null {
  const backoffMs = firstPauseMs * 2 ** (attempt - 1) * (0.75 + Math.random() / 2);
  if (result instanceof AppError) return backoffMs;
  if (!policy.on.includes(result.status)) return null;
  const asked = policy.respectRetryAfter ? readRetryAfter(result.headers['retry-after']) : null;
  if (asked === null) return backoffMs;
  return asked * 1_000 > pauseMsMax ? null : asked * 1_000;
}

/** Whole seconds from now (RFC 9110 §10.2.3: seconds or a date), or null without a header that says so. */
export function readRetryAfter(header: string | undefined, now = Date.now()): number | null {
  if (header === undefined) return null;
  if (/^\d{1,9}$/.test(header)) return Number(header);
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.max(0, Math.ceil((date - now) / 1_000));
}
