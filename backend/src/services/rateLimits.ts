/**
 * Limits by name (05, "Rate limits"), counted by rate-limiter-flexible. Counts that guard passwords and set-up lie in
 * PostgreSQL, so that neither a restart nor a second process forgets them; while the database is away, and for the
 * rest, each process counts in memory. A limit only makes wait: nothing is ever locked for good (07 B06).
 */
import {
  RateLimiterMemory,
  RateLimiterPostgres,
  RateLimiterRes,
  type RateLimiterAbstract,
} from 'rate-limiter-flexible';
import type { DatabasePool } from '../database/pool.js';
import { AppError } from '../errors/appError.js';

interface Limit {
  readonly points: number;
  readonly windowSeconds: number;
  /** Counted in the database. */
  readonly durable: boolean;
}

const limits = {
  'login-account': { points: 5, windowSeconds: 300, durable: true },
  'login-address': { points: 30, windowSeconds: 300, durable: true },
  setup: { points: 30, windowSeconds: 300, durable: true },
  invite: { points: 30, windowSeconds: 300, durable: true },
  password: { points: 5, windowSeconds: 300, durable: true },
  refresh: { points: 120, windowSeconds: 60, durable: false },
  reveal: { points: 5, windowSeconds: 60, durable: true },
  export: { points: 5, windowSeconds: 60, durable: true },
  import: { points: 5, windowSeconds: 60, durable: true },
  connect: { points: 5, windowSeconds: 60, durable: false },
  authenticate: { points: 20, windowSeconds: 60, durable: false },
  write: { points: 120, windowSeconds: 60, durable: false },
} as const satisfies Record<string, Limit>;

export type LimitName = keyof typeof limits;

/** Other numbers for some limits, such as a test or an operator wants. */
export type LimitOverrides = Readonly<Partial<Record<LimitName, number>>>;

export interface RateLimits {
  /**
   * Takes one point of `key`.
   * @throws AppError RATE_LIMIT_EXCEEDED with the seconds until there is one again.
   */
  consume(name: LimitName, key: string): Promise<void>;
  /** Gives all points back, as after a good password. */
  restore(name: LimitName, key: string): Promise<void>;
}

export interface RateLimitsOptions {
  readonly pool: DatabasePool;
  readonly points?: LimitOverrides;
  readonly onRefused?: (name: LimitName) => void;
}

export function createRateLimits({ pool, points = {}, onRefused }: RateLimitsOptions): RateLimits {
  const limiters = new Map<LimitName, RateLimiterAbstract>();
  for (const [name, limit] of Object.entries(limits) as [LimitName, Limit][]) {
    const form = {
      keyPrefix: name,
      points: points[name] ?? limit.points,
      duration: limit.windowSeconds,
    };
    const inMemory = new RateLimiterMemory(form);
    limiters.set(
      name,
      limit.durable
        ? new RateLimiterPostgres({
            ...form,
            storeClient: pool,
            storeType: 'client',
            tableName: 'rate_limits',
            tableCreated: true,
            clearExpiredByTimeout: false,
            insuranceLimiter: inMemory,
          })
        : inMemory,
    );
  }
  const limiterOf = (name: LimitName): RateLimiterAbstract => limiters.get(name)!;

  const consumeOnce = async (name: LimitName, key: string): Promise<number | null> => {
    try {
      await limiterOf(name).consume(key);
      return null;
    } catch (thrown) {
      if (thrown instanceof RateLimiterRes) return thrown.msBeforeNext;
      throw thrown;
    }
  };

  return {
    async consume(name, key) {
      let waitMs = await consumeOnce(name, key);
      // The stored end of a window is a wall-clock time. When the clock was set back it lies too far ahead: a wait
      // longer than a whole window cannot be right, so the count starts anew (06 R16).
      if (waitMs !== null && waitMs > limits[name].windowSeconds * 1000) {
        await limiterOf(name).delete(key);
        waitMs = await consumeOnce(name, key);
      }
      if (waitMs === null) return;
      onRefused?.(name);
      throw new AppError('RATE_LIMIT_EXCEEDED', `the limit ${name} is used up`, {
        publicDetail: 'Wait as long as Retry-After says, then try again.',
        retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)),
      });
    },
    async restore(name, key) {
      await limiterOf(name).delete(key);
    },
  };
}
