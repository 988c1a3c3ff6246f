/**
 * How much one instance, and one user over all instances, may ask: buckets of requests and a number of calls under way
 * (05, "Rate limits"). They are asked on every call, so each is two numbers and a monotonic clock rather than the library
 * that guards the main API, whose wall clock and promise each call would pay for (R16).
 */
import { AppError } from '../../../errors/appError.js';
import type { ServiceLimits } from '../../../catalog/servicePolicies.js';
import { createRequestBucket, type RequestBucket } from '../upstream/requestBucket.js';

export interface InstanceLimits {
  /** Takes one request. @throws AppError RATE_LIMIT_EXCEEDED with the time until there is room. */
  takeRequest(): void;
  /** Begins a call; the caller has to end it. @throws AppError RATE_LIMIT_EXCEEDED when too many are under way. */
  beginCall(): void;
  endCall(): void;
  /** Counts a call again that had ended its count while it waited for its client; it is under way, so never refused. */
  resumeCall(): void;
  readonly callsUnderWay: number;
}

export type LimitScope = 'instance-requests' | 'user-requests' | 'instance-calls';

/** @param ofUser the bucket that all instances of the user share; null when the service sets no limit a user. */
export function createInstanceLimits(
  limits: Pick<ServiceLimits, 'requestsPerMinute' | 'burst' | 'concurrency'>,
  ofUser: RequestBucket | null,
  onRefused: (scope: LimitScope) => void = () => {},
): InstanceLimits {
  const ofInstance = createRequestBucket(limits.requestsPerMinute, limits.burst);
  let callsUnderWay = 0;

  return {
    takeRequest() {
      const waitForInstance = ofInstance.take();
      if (waitForInstance > 0) {
        onRefused('instance-requests');
        throw new AppError('RATE_LIMIT_EXCEEDED', 'the instance asks too often', {
          publicDetail: 'Too many requests for this instance. Try again in a moment.',
          retryAfterSeconds: waitForInstance,
        });
      }
      const waitForUser = ofUser?.take() ?? 0;
      if (waitForUser > 0) {
        onRefused('user-requests');
        throw new AppError('RATE_LIMIT_EXCEEDED', 'the user asks too often over all instances', {
          publicDetail: 'Too many requests over all your instances of this service. Try again in a moment.',
          retryAfterSeconds: waitForUser,
        });
      }
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
    resumeCall() {
      callsUnderWay += 1;
    },
    get callsUnderWay() {
      return callsUnderWay;
    },
  };
}
