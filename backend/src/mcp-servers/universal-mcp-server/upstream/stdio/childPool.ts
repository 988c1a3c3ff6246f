/**
 * Which children there are and for whom: one start at a time for a key, no more than the service and each user may have,
 * the least recently used idle one gives way, idle and old ones are ended, and what keeps crashing is started later and
 * later, then left alone for a while (R10).
 * A key stands for one instance at one credential and overrides revision, and for one session where the
 * child cannot be shared.
 */
import { AppError } from '../../../../errors/appError.js';
import type { McpChild } from './mcpChild.js';

export interface ChildPoolOptions {
  readonly childrenMax: number;
  readonly perUserMax: number;
  readonly idleTimeoutMs: number;
  /** No child lives longer than this once nobody uses it. */
  readonly lifetimeMsMax?: number;
  /** A monotonic clock in ms. */
  readonly now?: () => number;
  /** Bytes that this host has left for another process. */
  readonly freeBytes?: () => number;
  /** Between 0 and 1. */
  readonly random?: () => number;
}

export interface ChildKey {
  readonly key: string;
  /** Null for a child that all users share. */
  readonly instanceId: string | null;
  readonly userId: string | null;
  /** Of the instance with its credential and overrides; null for a child that all users share. */
  readonly revision: string | null;
}

export interface ChildPool extends AsyncDisposable {
  /**
   * The running child of a key, or a new one from `start`.
   * @throws AppError SERVICE_SATURATED, UPSTREAM_FAILED with a time to wait when it crashed too often, or what `start` throws.
   */
  get(key: ChildKey, start: () => Promise<McpChild>): Promise<McpChild>;
  /**
   * Files a child that was started before its key was known for good; where there is one already, that one is given and
   * this one ends.
   */
  file(from: string, to: ChildKey): McpChild | null;
  /** Ends the children that match, with their in-flight requests. */
  end(matches: (key: ChildKey) => boolean, reason: AppError): Promise<void>;
  counts(): {
    readonly starting: number;
    readonly idle: number;
    readonly busy: number;
    readonly stopping: number;
    /** Keys whose child is left alone for a while, since it kept crashing. */
    readonly leftAlone: number;
  };
}

interface Entry {
  key: ChildKey;
  readonly starting: Promise<McpChild>;
  child: McpChild | null;
  readonly startedAt: number;
  usedAt: number;
}

const crashesMax = 5;
const crashWindowMs = 60_000;
/** Below this a child is started only in the place of another. */
const freeBytesMin = 128 * 1024 * 1024;
const day = 24 * 60 * 60_000;

export function createChildPool(options: ChildPoolOptions): ChildPool {
  const {
    childrenMax,
    perUserMax,
    idleTimeoutMs,
    lifetimeMsMax = day,
    now = () => performance.now(),
    freeBytes = () => process.availableMemory(),
    random = Math.random,
  } = options;
  const entries = new Map<string, Entry>();
  const stopping = new Set<Promise<unknown>>();
  const crashes = new Map<string, number[]>();
  let isClosed = false;

  const isIdle = (entry: Entry): boolean =>
    entry.child !== null && entry.child.inFlight === 0 && !entry.child.hasSubscriptions;

  const stop = (entry: Entry, reason: AppError): Promise<void> => {
    if (entries.get(entry.key.key) === entry) entries.delete(entry.key.key);
    const stopped = entry.starting.then(
      (child) => child.stop(reason),
      () => {},
    );
    stopping.add(stopped);
    void stopped.finally(() => stopping.delete(stopped));
    return stopped;
  };

  /** Makes room by ending the least recently used idle child among those that count. */
  const makeRoom = (counts: (entry: Entry) => boolean, max: number, what: string): void => {
    const counted = [...entries.values()].filter(counts);
    if (counted.length < max) return;
    const oldest = counted.filter(isIdle).sort((a, b) => a.usedAt - b.usedAt)[0];
    if (oldest === undefined) {
      throw new AppError('SERVICE_SATURATED', `${max} children are busy for this ${what}`, {
        publicDetail: 'All processes of this service are busy. Try again in a moment.',
        retryAfterSeconds: 5,
      });
    }
    void stop(oldest, new AppError('UPSTREAM_FAILED', 'the child gave way to another'));
  };

  const recentCrashes = (key: string): number[] =>
    (crashes.get(key) ?? []).filter((at) => now() - at < crashWindowMs);

  const refuseCrashLoop = ({ key }: ChildKey): void => {
    const recent = recentCrashes(key);
    if (recent.length === 0) crashes.delete(key);
    if (recent.length < crashesMax) return;
    const waitMs = crashWindowMs - (now() - (recent[0] ?? now()));
    throw new AppError('UPSTREAM_FAILED', `the child ended ${recent.length} times within a minute`, {
      publicDetail: 'The server behind keeps stopping. It is tried again in a moment.',
      retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1_000)),
    });
  };

  const noteCrash = ({ key }: ChildKey): void => {
    crashes.set(key, [...(crashes.get(key) ?? []).slice(1 - crashesMax), now()]);
  };

  /** Sees a child from its start to its end; an end that was not asked for is a crash. */
  const follow = async (entry: Entry): Promise<void> => {
    try {
      entry.child = await entry.starting;
      await entry.child.ended;
    } catch {
      // The callers of `get` hear why it did not start.
    }
    const { key } = entry;
    if (entries.get(key.key) !== entry) return;
    entries.delete(key.key);
    noteCrash(key);
  };

  const startNew = (key: ChildKey, start: () => Promise<McpChild>): Entry => {
    refuseCrashLoop(key);
    const { userId } = key;
    if (userId !== null) makeRoom((entry) => entry.key.userId === userId, perUserMax, 'user');
    makeRoom(() => true, childrenMax, 'service');
    // Where the host is nearly full the service has as many children as it has now, or one less.
    if (freeBytes() < freeBytesMin) makeRoom(() => true, Math.max(1, entries.size), 'host');
    const waitMs = backoffMs(recentCrashes(key.key).length, random());
    const starting = waitMs === 0 ? start() : delay(waitMs).then(start);
    const entry: Entry = { key, starting, child: null, startedAt: now(), usedAt: now() };
    entries.set(key.key, entry);
    void follow(entry);
    return entry;
  };

  /** A child that broke and is not gone yet counts as a crash; its successor starts when it is gone. */
  const findUsable = (key: string): Entry | undefined => {
    const entry = entries.get(key);
    if (entry === undefined || entry.child === null || entry.child.isUsable) return entry;
    entries.delete(key);
    noteCrash(entry.key);
    const gone = entry.child.ended;
    stopping.add(gone);
    void gone.finally(() => stopping.delete(gone));
    return undefined;
  };

  const sweep = setInterval(
    () => {
      for (const key of Array.from(crashes.keys())) if (recentCrashes(key).length === 0) crashes.delete(key);
      for (const entry of Array.from(entries.values())) {
        if (entry.child !== null && entry.child.inFlight > 0) entry.usedAt = now();
        const isDone = now() - entry.usedAt > idleTimeoutMs || now() - entry.startedAt > lifetimeMsMax;
        if (isDone && isIdle(entry)) void stop(entry, new AppError('UPSTREAM_FAILED', 'the child was idle'));
      }
    },
    Math.max(50, Math.min(idleTimeoutMs / 4, 15_000)),
  ).unref();

  return {
    async get(key, start) {
      if (isClosed) throw new AppError('SERVICE_UNAVAILABLE', 'the pool of children is closed');
      const entry = findUsable(key.key) ?? startNew(key, start);
      entry.usedAt = now();
      return entry.child ?? entry.starting;
    },
    file(from, to) {
      const entry = entries.get(from);
      if (entry === undefined || from === to.key) return entry?.child ?? null;
      const other = findUsable(to.key);
      if (other?.child != null) {
        void stop(entry, new AppError('UPSTREAM_FAILED', 'another child serves the same'));
        return other.child;
      }
      if (other !== undefined) return entry.child;
      entries.delete(from);
      entry.key = to;
      entries.set(to.key, entry);
      return entry.child;
    },
    async end(matches, reason) {
      const ending = [...entries.values()].filter((entry) => matches(entry.key));
      await Promise.all(ending.map((entry) => stop(entry, reason)));
    },
    counts() {
      const all = [...entries.values()];
      const running = all.filter(({ child }) => child !== null);
      const busy = running.filter(({ child }) => child !== null && child.inFlight > 0).length;
      return {
        starting: all.length - running.length,
        idle: running.length - busy,
        busy,
        stopping: stopping.size,
        leftAlone: [...crashes.keys()].filter((key) => recentCrashes(key).length >= crashesMax).length,
      };
    },
    async [Symbol.asyncDispose]() {
      isClosed = true;
      clearInterval(sweep);
      for (const entry of Array.from(entries.values()))
        void stop(entry, new AppError('SERVICE_UNAVAILABLE', 'the service stops'));
      await Promise.all(stopping);
    },
  };
}

/**
 * How long a start waits after so many crashes within the window: not at all after the first, then twice as long each
 * time, half of it by chance, so that the children of many instances do not come back at once.
 */
function backoffMs(crashCount: number, chance: number): number {
  if (crashCount < 2) return 0;
  return 250 * 2 ** (crashCount - 2) * (0.5 + chance / 2);
}

const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
