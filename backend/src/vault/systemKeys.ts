/**
 * The three keys of the installation itself: `lookup` (instance ids are stored as its HMAC), `audit` (hash chain and
 * argument digests) and `state` (sealed sessions and request state). Each is 32 random bytes, wrapped like a DEK, so
 * that a new KEK leaves them as they are.
 */
import { createSecretKey, type KeyObject } from 'node:crypto';
import type { KeyRing, RandomBytes } from './keyRing.js';
import { systemOwner, unwrapKey, wrapKey, type WrappedKey } from './keyWrapping.js';
import { keyBytes } from './weakKey.js';

export const systemKeyNames = ['k_lookup', 'k_audit', 'k_state'] as const;
export type SystemKeyName = (typeof systemKeyNames)[number];

export type WrappedSystemKeys = Readonly<Record<SystemKeyName, WrappedKey>>;

export interface SystemKeys {
  readonly lookup: KeyObject;
  readonly audit: KeyObject;
  readonly state: KeyObject;
}

/** Makes and wraps fresh system keys. Only for an empty database: instance ids and audit chains hang on them. */
export function createSystemKeys(
  ring: KeyRing,
  installId: string,
  randomBytes: RandomBytes,
): WrappedSystemKeys {
  const wrapNew = (name: SystemKeyName) =>
    wrapKey(ring, installId, createSecretKey(randomBytes(keyBytes)), bindingOf(name), randomBytes);
  return { k_lookup: wrapNew('k_lookup'), k_audit: wrapNew('k_audit'), k_state: wrapNew('k_state') };
}

/** Opens the system keys; throws `SEALED` when the ring does not fit this installation. */
export function openSystemKeys(ring: KeyRing, installId: string, wrapped: WrappedSystemKeys): SystemKeys {
  const unwrap = (name: SystemKeyName) => unwrapKey(ring, installId, wrapped[name], bindingOf(name));
  return { lookup: unwrap('k_lookup'), audit: unwrap('k_audit'), state: unwrap('k_state') };
}

/** Moves one system key under the ring's primary KEK, as a rotation does. */
export function rewrapSystemKey(
  ring: KeyRing,
  installId: string,
  name: SystemKeyName,
  wrapped: WrappedKey,
  randomBytes: RandomBytes,
): WrappedKey {
  const key = unwrapKey(ring, installId, wrapped, bindingOf(name));
  return wrapKey(ring, installId, key, bindingOf(name), randomBytes);
}

function bindingOf(name: SystemKeyName) {
  return { purpose: name, ownerId: systemOwner, keyId: name } as const;
}
