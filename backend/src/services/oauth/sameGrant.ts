/**
 * Tells the renewal of an access token from a credential that was put in its place. Only a renewal keeps the id of the
 * grant, which lies sealed in both records; each is bound to its instance and revision, so that nobody but the holder of
 * the keys can make two of them agree.
 */
import type { ServiceDefinition } from '../../catalog/serviceDefinition.js';
import type { CredentialOpener } from '../credentialOpener.js';
import type { SealedInstance } from '../instanceResolver.js';
import type { ResolvedInstance } from '../resolvedInstance.js';
import { findOAuthMethod } from './renewInTurn.js';

/**
 * Whether what is open for the one may go on as the other: the same instance at one epoch, overrides and credential, or a
 * credential that was merely renewed. False when it cannot be told. Never throws.
 */
export type MayGoOn = (one: ResolvedInstance, other: ResolvedInstance) => boolean;

/** For what holds a credential itself: nothing goes on under another revision. */
export const isSameRevision: MayGoOn = (one, other) =>
  isSameBesides(one, other) && one.credentialRevision === other.credentialRevision;

/** For what opens the credential anew with each message. */
export function createSameGrant(
  definition: ServiceDefinition,
  opener: Pick<CredentialOpener, 'openGrant'>,
): MayGoOn {
  return (one, other) => {
    if (isSameRevision(one, other)) return true;
    if (!isSameBesides(one, other) || !isOwn(one) || !isOwn(other)) return false;
    if (findOAuthMethod(definition, one) === null || one.credentialMethod !== other.credentialMethod)
      return false;
    try {
      // Of the two the later knows how the keys are wrapped now.
      const before = { ...one, dataKeys: [...other.dataKeys, ...one.dataKeys] };
      return opener.openGrant(before).grantId === opener.openGrant(other).grantId;
    } catch {
      // Sealed, shredded or under a key that is gone: it is taken to be another's.
      return false;
    }
  };
}

function isSameBesides(one: ResolvedInstance, other: ResolvedInstance): boolean {
  return (
    one.id === other.id &&
    one.userId === other.userId &&
    one.epoch === other.epoch &&
    one.overridesRevision === other.overridesRevision
  );
}

/** With a record of the instance's own; what an admin shares is never renewed. */
function isOwn(instance: ResolvedInstance): instance is SealedInstance {
  const { sealedCredential = null, sharedRow } = instance as Partial<SealedInstance>;
  return sealedCredential !== null && sharedRow === undefined;
}
