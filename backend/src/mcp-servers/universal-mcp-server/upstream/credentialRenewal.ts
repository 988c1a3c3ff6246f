import type { CredentialValues } from '../../../services/credentialValues.js';
import type { ResolvedInstance } from '../../../services/resolvedInstance.js';

/** Renews what a service no longer accepts, where its kind of credential can be renewed without its owner (OAuth). */
export interface CredentialRenewal {
  /**
   * The values under a fresh access token, or null when nothing but the owner can help. Concurrent calls for one
   * instance share one renewal. Asked once for each refused request, before anything of its answer was passed on.
   * `used` are the values that were refused; without them those of the instance's own revision are meant. Never throws.
   */
  renew(this: void, instance: ResolvedInstance, used?: CredentialValues): Promise<CredentialValues | null>;
}
