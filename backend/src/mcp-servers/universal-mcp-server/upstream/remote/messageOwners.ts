/** Whose messages a connection or session sends, from its beginning on and after a change of the instance. */
import type { SealedInstance } from '../../../../services/instanceResolver.js';
import type { MayGoOn } from '../../../../services/oauth/sameGrant.js';
import type { ResolvedInstance } from '../../../../services/resolvedInstance.js';
import type { ConnectionTerms } from '../upstream.js';
import type { MessageOwner } from './rawCall.js';

/** A conversation opens its credential for each message; what was opened for a probe is used as it is. */
export function ownerOf({ instance, values }: Pick<ConnectionTerms, 'instance' | 'values'>): MessageOwner {
  return isSealed(instance) ? { instance, values: null } : { instance, values };
}

/**
 * Lets what speaks for that owner speak for the instance as it is now: the next message opens the renewed access token.
 * @returns false when it has to end: the instance is void (`now` null), or its credential was replaced.
 */
export function goOnAs(owner: MessageOwner, now: ResolvedInstance | null, mayGoOn: MayGoOn): boolean {
  if (now === null || !mayGoOn(owner.instance, now)) return false;
  // Values that stand for the instance are of one revision, and two changes may be told in the wrong order.
  if (owner.instance.credentialRevision > now.credentialRevision) return true;
  // The same credential, perhaps under another key by now.
  if (
    owner.instance.credentialRevision === now.credentialRevision &&
    (owner.values !== null || !isSealed(now))
  )
    return true;
  if (owner.values !== null || !isSealed(now)) return false;
  owner.instance = now;
  return true;
}

function isSealed(instance: ResolvedInstance): instance is SealedInstance {
  return 'dataKeys' in instance;
}
