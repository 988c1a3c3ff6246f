/**
 * Bounds what one address can try out among instance ids: 20 unknown ones a minute (05, "Rate limits"; A06). Beyond that
 * it is answered without asking the database, unless the id was good a moment ago; other addresses notice nothing.
 */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';

export interface StrangerLimits {
  /**
   * Whether this id may be looked up for this address, and whether a point was taken for it: from an address that was
   * wrong before it is taken ahead, so that many tries at once do not pass on one point.
   */
  mayTry(address: string, instanceId: string): Attempt;
  noteUnknown(address: string, attempt: Attempt): void;
  noteKnown(address: string, instanceId: string, attempt: Attempt): void;
  /** Nobody could tell; the point is given back. */
  noteUnanswered(address: string, attempt: Attempt): void;
}

export type Attempt = 'refused' | 'free' | 'paid';

export interface StrangerLimitsOptions {
  readonly perMinute?: number;
  /** A monotonic clock in ms. */
  readonly now?: () => number;
}

interface Bucket {
  left: number;
  filledAt: number;
}

const knownMs = 60_000;

export function createStrangerLimits(options: StrangerLimitsOptions = {}): StrangerLimits {
  const { perMinute = 20, now = () => performance.now() } = options;
  const buckets = new LRUCache<string, Bucket>({ max: 50_000 });
  // Digests, so that no instance id stays in memory for it.
  const known = new LRUCache<string, true>({ max: 20_000, ttl: knownMs });

  const fill = (bucket: Bucket): Bucket => {
    const at = now();
    bucket.left = Math.min(perMinute, bucket.left + ((at - bucket.filledAt) * perMinute) / 60_000);
    bucket.filledAt = at;
    return bucket;
  };

  const noteUnanswered = (address: string, attempt: Attempt): void => {
    const bucket = attempt === 'paid' ? buckets.get(address) : undefined;
    if (bucket !== undefined) bucket.left = Math.min(perMinute, bucket.left + 1);
  };

  return {
    mayTry(address, instanceId) {
      const bucket = buckets.get(address);
      if (bucket === undefined) return 'free';
      if (fill(bucket).left < 1) return known.has(digestOf(instanceId)) ? 'free' : 'refused';
      bucket.left -= 1;
      return 'paid';
    },
    noteUnknown(address, attempt) {
      if (attempt === 'paid') return;
      const bucket = fill(buckets.get(address) ?? { left: perMinute, filledAt: now() });
      bucket.left = Math.max(0, bucket.left - 1);
      buckets.set(address, bucket);
    },
    noteUnanswered,
    noteKnown(address, instanceId, attempt) {
      noteUnanswered(address, attempt);
      // Only addresses that tried too much ever ask; while there is none, nothing needs to be remembered.
      if (buckets.size > 0) known.set(digestOf(instanceId), true);
    },
  };
}

function digestOf(id: string): string {
  return createHash('sha256').update(id).digest('base64');
}
