/** Who may use an instance besides knowing its URL: its mode, its addresses and its end. Run inside `withUser`. */
import type { Queryable } from '../database/queryable.js';
import { changeInstance, type AccessMode, type Instance, type InstanceKey } from './instancesStore.js';

export interface InstanceAccess {
  readonly accessMode: AccessMode;
  /** Each as ipaddr.js writes it; at most 32. */
  readonly allowedCidrs: readonly string[];
  readonly expiresAt: Date | null;
}

/** Sets all three. `cutsStreams` raises the epoch, so that what is open has to come again under the new terms. */
export function setAccess(
  db: Queryable,
  key: InstanceKey,
  { accessMode, allowedCidrs, expiresAt }: InstanceAccess,
  { cutsStreams }: { readonly cutsStreams: boolean },
): Promise<Instance | null> {
  return changeInstance(
    db,
    key,
    'access_mode = $3, allowed_cidrs = $4, expires_at = $5, epoch = epoch + $6',
    [accessMode, [...allowedCidrs], expiresAt, cutsStreams ? 1 : 0],
  );
}
