/** How far an instance is known to work: *configured* is not *observed* (a state is set by what was seen). */
export const instanceStates = [
  'not_configured',
  'checking',
  'ready',
  'needs_reauth',
  'rejected_by_service',
  'unreachable',
] as const;

export type InstanceState = (typeof instanceStates)[number];

/**
 * One user's use of one service, as a call sees it. It carries sealed values only: opening them is `openValues` of the
 * resolver, for one call.
 */
export interface ResolvedInstance {
  /** The instance's uuid: the only name of it that may be logged or audited. */
  readonly id: string;
  readonly userId: string;
  readonly service: string;
  readonly label: string;
  /** Grows with every revoke, rotation or pause; whatever was made under an older one is void. */
  readonly epoch: number;
  /** Null until a credential was stored. */
  readonly credentialMethod: string | null;
  readonly credentialRevision: number;
  readonly overridesRevision: number;
  readonly state: InstanceState;
}
