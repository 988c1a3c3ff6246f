/**
 * The last lists that an instance's upstream gave, for when it cannot be asked (12.15). Written behind the calls, and
 * only when they changed; read rarely.
 */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Queryable } from '../../../database/queryable.js';
import {
  findLastList,
  lastListBytesMax,
  storeLastList,
  type ListKind,
} from '../../../stores/lastListsStore.js';
import type { Logger } from '../../../telemetry/logger.js';
import { isJsonObject, type JsonObject } from '../protocol/jsonRpc.js';

export interface LastLists {
  /** Keeps a list in the background; failing is logged and harms nobody. */
  remember(instanceId: string, kind: ListKind, result: JsonObject): void;
  /** Null when there is none, or when it cannot be read now. */
  find(instanceId: string, kind: ListKind): Promise<JsonObject | null>;
}

export function createLastLists(db: Queryable, service: string, log: Pick<Logger, 'warn'>): LastLists {
  const stored = new LRUCache<string, string>({ max: 10_000 });
  return {
    remember(instanceId, kind, result) {
      const body = JSON.stringify(result);
      if (body.length > lastListBytesMax / 4) return;
      const key = `${instanceId}/${kind}`;
      const digest = createHash('sha256').update(body).digest('base64');
      if (stored.get(key) === digest) return;
      stored.set(key, digest);
      storeLastList(db, { instanceId, service, kind, body }).catch((error: unknown) => {
        stored.delete(key);
        log.warn('a list could not be kept', { instance: instanceId, error });
      });
    },
    async find(instanceId, kind) {
      try {
        const found = await findLastList(db, { instanceId, service, kind });
        const parsed: unknown = found === null ? null : JSON.parse(found.body);
        return isJsonObject(parsed) ? parsed : null;
      } catch (error) {
        log.warn('a kept list could not be read', { instance: instanceId, error });
        return null;
      }
    },
  };
}
