/**
 * Whose request is worked on next, when more come than one process can do at once. A round of the event loop begins a few
 * requests and no more; users take turns, so that whoever sends ten times as much waits in a line of their own. While one
 * user is alone nothing waits. What cannot be done soon is refused at once rather than kept (R19).
 */
import { AppError } from '../../../errors/appError.js';
import { FairQueue } from '../../../lifecycle/fairQueue.js';

export interface RequestTurns {
  /**
   * Null: begin at once. Else a promise that resolves when it is this user's turn.
   * @param now of the monotonic clock, in ms.
   * @throws AppError RATE_LIMIT_EXCEEDED when this user has too many waiting, SERVICE_SATURATED when all together have.
   */
  take(userId: string, now: number): Promise<void> | null;
  readonly waiting: number;
}

export interface RequestTurnsOptions {
  /** Requests that one round of the event loop begins. */
  readonly startsPerRound?: number;
  readonly waitingMax?: number;
  readonly waitingPerUserMax?: number;
  /** Calls back in the next round of the event loop, after what has come by then was read. */
  readonly nextRound?: (callback: () => void) => void;
  /** Between 0 and 1. */
  readonly random?: () => number;
}

/** How long after another user was seen nobody counts as alone. */
const companyMs = 1_000;
const retrySecondsMax = 5;

export function createRequestTurns(options: RequestTurnsOptions = {}): RequestTurns {
  const {
    startsPerRound = 4,
    waitingMax = 2_048,
    waitingPerUserMax = 256,
    nextRound = setImmediate,
    random = Math.random,
  } = options;
  const queue = new FairQueue<() => void>();
  /** Who began something in this round. */
  let begun: string[] = [];
  let isRoundAhead = false;
  let lastUser = '';
  let companySince = -Infinity;

  const announceRound = (): void => {
    if (isRoundAhead) return;
    isRoundAhead = true;
    nextRound(round);
  };

  const round = (): void => {
    isRoundAhead = false;
    begun = [];
    while (begun.length < startsPerRound && queue.size > 0) {
      begun.push('');
      queue.shift()?.();
    }
    if (begun.length > 0) announceRound();
  };

  return {
    take(userId, now) {
      if (userId !== lastUser) {
        lastUser = userId;
        companySince = now;
      }
      const isAlone = queue.size === 0 && now - companySince > companyMs;
      if (isAlone) return null;
      announceRound();
      if (begun.length < startsPerRound && !begun.includes(userId) && queue.sizeOf(userId) === 0) {
        begun.push(userId);
        return null;
      }
      if (queue.sizeOf(userId) >= waitingPerUserMax) throw tooManyOfOne();
      if (queue.size >= waitingMax) throw tooMany(random());
      return new Promise((resolve) => queue.push(userId, resolve));
    },
    get waiting() {
      return queue.size;
    },
  };
}

function tooManyOfOne(): AppError {
  return new AppError('RATE_LIMIT_EXCEEDED', 'the user has too many requests waiting', {
    publicDetail: 'You have too many requests waiting at this service. Wait for some to be answered.',
    retryAfterSeconds: 1,
  });
}

/** Whoever is sent away comes back at another time than the others. */
function tooMany(chance: number): AppError {
  return new AppError('SERVICE_SATURATED', 'too many requests wait', {
    publicDetail: 'The service has more to do than it can. Try again in a moment.',
    retryAfterSeconds: 1 + Math.floor(chance * retrySecondsMax),
  });
}
