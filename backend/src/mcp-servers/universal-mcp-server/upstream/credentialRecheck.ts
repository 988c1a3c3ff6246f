/**
 * Tells a credential that is no longer accepted from one that may not do a certain thing, for services that say 403 to
 * both: by the probe of its method, once in a while.
 */
import { LRUCache } from 'lru-cache';
import type { ServiceDefinition } from '../../../catalog/serviceDefinition.js';
import type { ConnectionTerms, ProbeOutcome } from './upstream.js';

type CallTerms = Pick<ConnectionTerms, 'instance' | 'values'>;

/** A verdict is good for this long, so that a model that insists does not double every call. */
const verdictMs = 30_000;

/** Whether the service's probe has words for 403 but none for 401: a bad key is told apart only by asking again. */
export function saysForbiddenOnly({ credentials }: Pick<ServiceDefinition, 'credentials'>): boolean {
  return credentials.methods.some(
    ({ probe }) => probe.type === 'http' && '403' in probe.reject && !('401' in probe.reject),
  );
}

/** @returns true unless the service says that it does not accept the credential. */
export function createCredentialRecheck(
  probe: (terms: CallTerms, signal: AbortSignal) => Promise<ProbeOutcome>,
): (terms: CallTerms, signal: AbortSignal) => Promise<boolean> {
  const verdicts = new LRUCache<string, boolean>({ max: 1_000, ttl: verdictMs });
  return async (terms, signal) => {
    const key = `${terms.instance.id} ${terms.instance.credentialRevision}`;
    const known = verdicts.get(key);
    if (known !== undefined) return known;
    const { outcome } = await probe(terms, signal);
    const isAccepted = outcome !== 'rejected';
    if (outcome === 'accepted' || outcome === 'rejected') verdicts.set(key, isAccepted);
    return isAccepted;
  };
}
