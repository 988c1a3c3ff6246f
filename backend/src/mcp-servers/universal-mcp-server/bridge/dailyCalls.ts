/**
 * How many calls an instance may make in a day (`limits.dailyCalls`), over all processes and restarts. A process leases
 * blocks from the database and counts them down in memory, so that a call in a hundred waits for a statement. What was
 * leased counts as used: a process that is killed loses its unspent block, and the limit is never exceeded (decision 0018).
 *
 * The day is UTC by the clock of the database; how long it lasts is measured by the monotonic clock of the process, so
 * that a wall clock that jumps neither opens nor shuts anything here (06 R16).
 */
import { AppError } from '../../../errors/appError.js';
import type { ServiceDefinition } from '../../../catalog/serviceDefinition.js';
import type { Queryable } from '../../../database/queryable.js';
import { leaseDailyCalls, returnDailyCalls } from '../../../stores/dailyCallsStore.js';
import type { Logger } from '../../../telemetry/logger.js';

export interface DailyCalls {
  /**
   * Takes one of today's calls; undefined when it was there at once.
   * @throws AppError (also as a rejection) RATE_LIMIT_EXCEEDED with the time until midnight, DATABASE_UNAVAILABLE when
   * nobody can tell what is left.
   */
  take(instance: { readonly id: string }, method: string): Promise<void> | undefined;
  /** Gives back what was not spent. */
  close(): Promise<void>;
}

export interface DailyCallsOptions {
  readonly definition: Pick<ServiceDefinition, 'name' | 'limits' | 'credentials'>;
  readonly db: Queryable;
  readonly log: Pick<Logger, 'warn'>;
  readonly onRefused?: () => void;
  /** A monotonic clock in ms. */
  readonly now?: () => number;
}

/** What asks the upstream to do something. Greetings and lists are not counted: clients send them by themselves. */
const countedMethods: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read', 'rest']);

const blockCalls = 100;
/** A block that nobody spends is given back after this, so that another process can. */
const idleMs = 30_000;
/** Another process may give some back; how often that is asked. */
const askAgainMs = 5_000;
const integerMax = 2 ** 31 - 1;

interface Lease {
  day: string;
  left: number;
  /** Of the monotonic clock. */
  endsAt: number;
  refusedUntil: number;
  usedAt: number;
  fetching: Promise<void> | null;
}

export function createDailyCalls(options: DailyCallsOptions): DailyCalls {
  const { definition, db, log, onRefused, now = () => performance.now() } = options;
  const { name: service, limits, credentials } = definition;
  const { dailyCalls } = limits;
  if (dailyCalls === null) return { take: () => undefined, close: () => Promise.resolve() };

  const limit = Math.min(dailyCalls, integerMax);
  const userLimit = Math.min(limit * (credentials.multiple ? credentials.maxPerUser : 1), integerMax);
  const leases = new Map<string, Lease>();

  const takeLeft = (lease: Lease): boolean => {
    const at = now();
    if (lease.left < 1 || at >= lease.endsAt) return false;
    lease.left -= 1;
    lease.usedAt = at;
    return true;
  };

  const fetch = async (instanceId: string, lease: Lease): Promise<void> => {
    // Measured from before the question, so that a lease never outlives its day.
    const askedAt = now();
    const { day, granted, dayLeftMs } = await leaseDailyCalls(db, {
      instanceId,
      service,
      limit,
      userLimit,
      wanted: blockCalls,
    });
    lease.endsAt = askedAt + dayLeftMs;
    lease.left = granted;
    lease.day = day;
    lease.usedAt = askedAt;
    if (granted === 0) lease.refusedUntil = Math.min(lease.endsAt, now() + askAgainMs);
  };

  const takeFetched = async (instanceId: string): Promise<void> => {
    for (;;) {
      const lease = leases.get(instanceId) ?? newLease(now());
      leases.set(instanceId, lease);
      if (takeLeft(lease)) return;
      const at = now();
      if (at < lease.refusedUntil) {
        onRefused?.();
        throw usedUp(limit, lease.endsAt - at);
      }
      lease.fetching ??= fetch(instanceId, lease).finally(() => {
        lease.fetching = null;
      });
      await lease.fetching;
    }
  };

  /** It is out of the map before it is given back: nobody spends what is on its way. */
  const giveBack = async (instanceId: string, { day, left, endsAt }: Lease): Promise<void> => {
    leases.delete(instanceId);
    if (left < 1 || now() >= endsAt) return;
    try {
      await returnDailyCalls(db, { instanceId, service, day, unspent: left });
    } catch (error) {
      log.warn('calls of the day could not be given back', { instance: instanceId, count: left, error });
    }
  };

  const sweep = setInterval(() => {
    const before = now() - idleMs;
    for (const [instanceId, lease] of Array.from(leases))
      if (lease.fetching === null && lease.usedAt < before) void giveBack(instanceId, lease);
  }, idleMs / 2).unref();

  return {
    take({ id }, method) {
      if (!countedMethods.has(method)) return undefined;
      const lease = leases.get(id);
      return lease !== undefined && takeLeft(lease) ? undefined : takeFetched(id);
    },
    async close() {
      clearInterval(sweep);
      for (const [instanceId, lease] of Array.from(leases)) await giveBack(instanceId, lease);
    },
  };
}

function newLease(at: number): Lease {
  return { day: '', left: 0, endsAt: at, refusedUntil: at, usedAt: at, fetching: null };
}

function usedUp(limit: number, waitMs: number): AppError {
  return new AppError('RATE_LIMIT_EXCEEDED', 'the calls of the day are used up', {
    publicDetail: `This instance has used its ${limit} calls of today. The day begins at midnight UTC.`,
    retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1_000)),
  });
}
