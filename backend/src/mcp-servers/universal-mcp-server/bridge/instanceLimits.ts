/**
 * How much one instance may ask: a token bucket and a number of calls under way (05, "Rate limits"). It is asked on
 * every call, so it is two numbers and a monotonic clock rather than the library that guards the main API, whose wall
 * clock and promise each call would pay for (R16).
 */
import { AppError } from '../../../errors/appError.js';
import type { ServiceLimits } from '../../../catalog/servicePolicies.js';

export interface InstanceLimits {
  /** Takes one request. @throws AppError RATE_LIMIT_EXCEEDED with the time until there is room. */
  takeRequest(): void;
  /** Begins a call; the caller has to end it. @throws AppError RATE_LIMIT_EXCEEDED when too many are under way. */
  beginCall(): void;
  endCall(): void;
  readonly callsUnderWay: number;
}

export function createInstanceLimits(
  limits: Pick<ServiceLimits, 'requestsPerMinute' | 'burst' | 'concurrency'>,
  onRefused: (scope: 'instance-requests' | 'instance-calls') => void = () => {},
  now: () => number = () => performance.now(),
): InstanceLimits {
  const perMs = limits.requestsPerMinute / 60_000;
  let left = limits.burst;
  let filledAt = now();
  let callsUnderWay = 0;

  return {
    takeRequest() {
      const at = now();
      left = Math.min(limits.burst, left + (at - filledAt) * perMs);
      filledAt = at;
      if (left < 1) {
        onRefused('instance-requests');
        throw new AppError('RATE_LIMIT_EXCEEDED', 'the instance asks too often', {
          publicDetail: 'Too many requests for this instance. Try again in a moment.',
          retryAfterSeconds: Math.max(1, Math.ceil((1 - left) / perMs / 1_000)),
        });
      }
      left -= 1;
    },
    beginCall() {
      if (callsUnderWay >= limits.concurrency) {
        onRefused('instance-calls');
        throw new AppError('RATE_LIMIT_EXCEEDED', 'the instance has too many calls under way', {
          publicDetail: `This instance has ${limits.concurrency} calls under way already. Wait for one to end.`,
          retryAfterSeconds: 1,
        });
      }
      callsUnderWay += 1;
    },
    endCall() {
      callsUnderWay -= 1;
    },
    get callsUnderWay() {
      return callsUnderWay;
    },
  };
}
