/**
 * Which reveals the audit has told of lately, so that a page that lists instances again and again writes a row a minute
 * rather than one each time. It is remembered by process and login session, and only once the row was committed.
 */
import { LRUCache } from 'lru-cache';

export interface RevealNotes {
  /** Whether the audit has told within the last minute that this session was shown each of these instances. */
  isTold(via: string, instanceIds: readonly string[]): boolean;
  note(via: string, instanceIds: readonly string[]): void;
}

const toldForMs = 60_000;
const keyOf = (via: string, instanceId: string): string => `${via} ${instanceId}`;

/** @param now milliseconds since the epoch */
export function createRevealNotes(now: () => number): RevealNotes {
  const toldAt = new LRUCache<string, number>({ max: 20_000 });
  return {
    isTold(via, instanceIds) {
      return instanceIds.every((id) => {
        const at = toldAt.get(keyOf(via, id));
        // A clock that was set back makes nothing told for longer.
        return at !== undefined && Math.abs(now() - at) < toldForMs;
      });
    },
    note(via, instanceIds) {
      for (const id of instanceIds) toldAt.set(keyOf(via, id), now());
    },
  };
}
