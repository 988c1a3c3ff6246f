/**
 * How often this process may contact the service behind, for all users together (`limits.upstreamRequestsPerMinute`):
 * asked before each request leaves, so that one installation keeps within what the service allows it.
 */
import type { ServiceLimits } from '../../../catalog/servicePolicies.js';
import { AppError } from '../../../errors/appError.js';
import { createRequestBucket, defaultBurst } from './requestBucket.js';

/** Takes one request. @throws AppError RATE_LIMIT_EXCEEDED with the time until there is room. */
export type TakeUpstreamRequest = () => void;

export function createRequestBudget(
  { upstreamRequestsPerMinute: perMinute }: Pick<ServiceLimits, 'upstreamRequestsPerMinute'>,
  now?: () => number,
): TakeUpstreamRequest {
  if (perMinute === null) return () => {};
  const bucket = createRequestBucket(perMinute, defaultBurst(perMinute), now);
  return () => {
    const retryAfterSeconds = bucket.take();
    if (retryAfterSeconds === 0) return;
    throw new AppError('RATE_LIMIT_EXCEEDED', 'the service is asked too often by all users together', {
      publicDetail: 'The service has been asked as often as this installation may. Try again in a moment.',
      retryAfterSeconds,
    });
  };
}
