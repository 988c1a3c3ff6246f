import type { InstanceState } from '../stores/instancesStore.js';

/** One user's use of one service, as the bridge and an upstream see it: nothing in it is secret. */
export interface ResolvedInstance {
  /** The instance's uuid: the only name of it that may be logged or audited. */
  readonly id: string;
  readonly userId: string;
  readonly service: string;
  readonly label: string;
  /** Grows with every revocation, rotation or pause; whatever was made under an older one is void. */
  readonly epoch: number;
  /** Null until a credential was stored. */
  readonly credentialMethod: string | null;
  /** 0 without a credential. */
  readonly credentialRevision: number;
  /**
   * Set when the credential is one that an admin shares: the revision of the instance's own row, for which its state
   * counts, and null when it has none.
   */
  readonly ownRevision?: number | null;
  /** 0 without overrides. */
  readonly overridesRevision: number;
  /** How far it is known to work; *configured* is not *observed*. */
  readonly state: InstanceState;
}
