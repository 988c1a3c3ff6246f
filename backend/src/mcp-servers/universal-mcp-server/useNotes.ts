/** When instances were last used, collected in memory and written together: a call waits for none of it. */
import type { Queryable } from '../../database/queryable.js';
import { markInstancesUsed } from '../../stores/instanceLookupStore.js';
import type { Logger } from '../../telemetry/logger.js';

export interface UseNotes {
  note(instanceId: string): void;
  /** Writes what is left. */
  close(): Promise<void>;
}

const writeMs = 2_000;

export function createUseNotes(db: Queryable, log: Pick<Logger, 'warn'>): UseNotes {
  let noted = new Map<string, number>();

  const write = async (): Promise<void> => {
    if (noted.size === 0) return;
    const uses = [...noted].map(([id, at]) => ({ id, at: new Date(at) }));
    noted = new Map();
    try {
      await markInstancesUsed(db, uses);
    } catch (error) {
      log.warn('the last use of instances could not be noted', { count: uses.length, error });
    }
  };
  const timer = setInterval(() => void write(), writeMs).unref();

  return {
    note: (instanceId) => void noted.set(instanceId, Date.now()),
    async close() {
      clearInterval(timer);
      await write();
    },
  };
}
