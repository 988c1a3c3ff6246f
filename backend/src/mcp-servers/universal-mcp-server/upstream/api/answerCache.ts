/**
 * Answers that may be given again, for as long as their tool declares (row I11). The key holds everything that an answer
 * depends on, the owner and the credential among it, so that nobody is ever given another one's (D10).
 */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { ResolvedInstance } from '../../../../services/resolvedInstance.js';
import { isJsonObject, type JsonObject } from '../../protocol/jsonRpc.js';
import type { ToolOutcome } from './toolOutcome.js';

type Answered = Extract<ToolOutcome, { kind: 'answered' }>;

export interface AnswerCache {
  find(key: string): Answered | undefined;
  keep(key: string, outcome: Answered, ttlMs: number): void;
  /** Drops what belongs to an instance. */
  forget(instanceId: string): void;
}

const bytesMax = 33_554_432;

export function createAnswerCache(): AnswerCache {
  const entries = new LRUCache<string, Answered>({
    max: 10_000,
    maxSize: bytesMax,
    sizeCalculation: (outcome, key) => sizeOf(outcome) + key.length,
  });
  return {
    find: (key) => entries.get(key),
    keep: (key, outcome, ttlMs) => void entries.set(key, outcome, { ttl: ttlMs }),
    forget: (instanceId) => {
      for (const key of Array.from(entries.keys())) {
        if (key.split(':', 3)[2] === instanceId) entries.delete(key);
      }
    },
  };
}

/** Uuids and a service's name hold no colon, so that no two keys can be taken for each other. */
export function toAnswerKey(instance: ResolvedInstance, tool: string, given: JsonObject): string {
  const { userId, service, id, epoch, credentialMethod, credentialRevision, overridesRevision } = instance;
  const digest = createHash('sha256').update(toCanonicalJson(given)).digest('base64url');
  const revisions = `${epoch}.${credentialMethod ?? ''}.${credentialRevision}.${overridesRevision}`;
  return `${userId}:${service}:${id}:${revisions}:${tool}:${digest}`;
}

/** Equal for equal values, whatever the order of their members. */
function toCanonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    isJsonObject(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : member,
  );
}

function sizeOf({ content }: Answered): number {
  return 1 + (content.form === 'image' ? content.base64.length : content.text.length * 2);
}
