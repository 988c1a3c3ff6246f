/** What calls show about instances, said once: that a credential works, or that the service no longer accepts it. */
import { LRUCache } from 'lru-cache';
import type { ResolvedInstance } from '../../../services/resolvedInstance.js';

/** What a call showed about an instance. `cause` is for its owner and names no value. */
export interface StateNote {
  readonly instanceId: string;
  /** Of the credential that was used; null when there was none. */
  readonly credentialRevision: number | null;
  readonly state: Extract<ResolvedInstance['state'], 'ready' | 'needs_reauth'>;
  readonly cause: string | null;
}

export interface StateNotes {
  noteReady(instance: ResolvedInstance): void;
  noteRefused(instance: ResolvedInstance, status: number): void;
}

/** As long as a process may see an older row of an instance, and a little more. */
const notedMs = 10_000;

/** @param record hears each change of state once; it must not throw. */
export function createStateNotes(record: (note: StateNote) => void): StateNotes {
  const noted = new LRUCache<string, ResolvedInstance['state']>({ max: 10_000, ttl: notedMs });

  const note = (instance: ResolvedInstance, state: StateNote['state'], cause: string | null): void => {
    // The common case on the path of every call: a good instance that nothing was said of.
    if (noted.size === 0 && instance.state === state) return;
    const key = `${instance.id} ${instance.credentialRevision}`;
    if ((noted.get(key) ?? instance.state) === state) return;
    noted.set(key, state);
    const inUse = instance.credentialMethod === null ? null : instance.credentialRevision;
    // What is recorded counts for the instance's own row, whoever the credential belongs to.
    const credentialRevision = instance.ownRevision === undefined ? inUse : instance.ownRevision;
    record({ instanceId: instance.id, credentialRevision, state, cause });
  };

  return {
    noteReady: (instance) => note(instance, 'ready', null),
    noteRefused: (instance, status) =>
      note(instance, 'needs_reauth', `The service answered with status ${status}.`),
  };
}
