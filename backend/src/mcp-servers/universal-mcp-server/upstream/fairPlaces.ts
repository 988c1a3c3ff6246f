/**
 * Places at something that only so many can use at once, such as the pooled connections to a service behind. One user
 * holds at most a part of them, and while none is free users get the next ones in turn: slow calls of one tenant never
 * keep all others waiting.
 */
import { AppError } from '../../../errors/appError.js';
import { FairQueue } from '../../../lifecycle/fairQueue.js';

export interface FairPlaces {
  /**
   * Null: there was a place. Else a promise of one. Whoever got one has to `leave`.
   * Rejects with the signal's reason. @throws AppError SERVICE_SATURATED
   */
  enter(userId: string, signal: AbortSignal): Promise<void> | null;
  leave(userId: string): void;
  readonly taken: number;
  readonly waiting: number;
}

export interface FairPlacesOptions {
  readonly places: number;
  /** Of those, how many one user may hold; half of them unless said otherwise. */
  readonly perUserMax?: number;
  readonly waitingMax?: number;
}

export function createFairPlaces({
  places,
  perUserMax = Math.max(1, Math.ceil(places / 2)),
  waitingMax = 1_000,
}: FairPlacesOptions): FairPlaces {
  const queue = new FairQueue<() => void>();
  const held = new Map<string, number>();
  let taken = 0;

  const mayTake = (userId: string): boolean => (held.get(userId) ?? 0) < perUserMax;
  const take = (userId: string): void => {
    taken += 1;
    held.set(userId, (held.get(userId) ?? 0) + 1);
  };

  return {
    enter(userId, signal) {
      signal.throwIfAborted();
      if (taken < places && mayTake(userId)) {
        take(userId);
        return null;
      }
      if (queue.size >= waitingMax) {
        throw new AppError('SERVICE_SATURATED', 'too many calls wait for a connection', {
          publicDetail: 'Too many calls at once. Try again in a moment.',
          retryAfterSeconds: 1,
        });
      }
      return new Promise((resolve, reject) => {
        const go = (): void => {
          signal.removeEventListener('abort', giveUp);
          take(userId);
          resolve();
        };
        const giveUp = (): void => {
          if (queue.remove(userId, go)) reject(signal.reason as Error);
        };
        signal.addEventListener('abort', giveUp, { once: true });
        queue.push(userId, go);
      });
    },
    leave(userId) {
      taken -= 1;
      const left = (held.get(userId) ?? 1) - 1;
      if (left === 0) held.delete(userId);
      else held.set(userId, left);
      if (taken < places) queue.shift(mayTake)?.();
    },
    get taken() {
      return taken;
    },
    get waiting() {
      return queue.size;
    },
  };
}
