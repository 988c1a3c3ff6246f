/**
 * Remembers for 5 s at most who a session or key belongs to. A NOTIFY for the user, or the instance that it is for, forgets
 * it at once; while the LISTEN connection is down nothing is remembered (05; 07 B04).
 */
import { LRUCache } from 'lru-cache';
import type { ChangeSource } from './instanceResolver.js';

/** Whose it is, and which instance it is for where it is for one alone. */
interface Checked {
  readonly userId: string;
  readonly instanceId?: string;
}

export interface CheckCache<Check extends Checked> extends Disposable {
  /** What is remembered under `key`, else what `find` gives; null is never remembered. */
  get(key: string, find: () => Promise<Check | null>): Promise<Check | null>;
  /** For changes made by this process itself, which need not wait for their NOTIFY. */
  forgetUser(userId: string): void;
}

const ageMsMax = 5_000;

export function createCheckCache<Check extends Checked>(
  changes: ChangeSource,
  entriesMax = 10_000,
): CheckCache<Check> {
  const checks = new LRUCache<string, Check>({ max: entriesMax, ttl: ageMsMax });
  /** Grows with each change, so that an answer asked for before one is not kept after it. */
  let generation = 0;

  const forget = (isMeant: (check: Check) => boolean): void => {
    generation += 1;
    for (const [key, check] of Array.from(checks.entries())) if (isMeant(check)) checks.delete(key);
  };
  const forgetUser = (userId: string): void => forget((check) => check.userId === userId);
  const stop = changes.onChange((change) => {
    switch (change.kind) {
      case 'instance':
        return forget((check) => check.instanceId === change.instanceId);
      case 'service':
        return;
      case 'user':
        return forgetUser(change.userId);
      case 'unknown':
        generation += 1;
        checks.clear();
    }
  });

  return {
    async get(key, find) {
      const known = changes.isUp ? checks.get(key) : undefined;
      if (known !== undefined) return known;
      const asked = generation;
      const found = await find();
      if (found !== null && changes.isUp && asked === generation) checks.set(key, found);
      return found;
    },
    forgetUser,
    [Symbol.dispose]() {
      stop();
      checks.clear();
    },
  };
}
