/**
 * Wraps keys under the ring: `HKDF-SHA256(KEK, salt = install id, info = "wrap/" + kek id)` gives the wrap key, with
 * which AES-256-GCM seals the 32 bytes. Purpose, owner and key id are authenticated, so that a wrapped key cannot be
 * passed off as another. The random 96-bit IV holds for 2^32 wraps under one KEK (NIST SP 800-38D §8.3); wraps are
 * counted by the caller, who rotates at 2^31.
 *
 * Wrapped form, 64 bytes: magic (4) · IV (12) · ciphertext (32) · tag (16).
 */
import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto';
import { AppError } from '../errors/appError.js';
import { encodeByteList } from './byteList.js';
import type { Kek, KeyRing, RandomBytes } from './keyRing.js';
import { keyBytes } from './weakKey.js';

export type KeyPurpose = 'dek' | 'k_lookup' | 'k_audit' | 'k_state';

/** What a wrapped key is for; it unwraps only under the very same. */
export interface KeyBinding {
  readonly purpose: KeyPurpose;
  /** The user's uuid, or `systemOwner`. */
  readonly ownerId: string;
  /** The key's own id: a DEK's uuid, a system key's name. */
  readonly keyId: string;
}

export interface WrappedKey {
  readonly kekId: string;
  readonly wrapped: Buffer;
}

/** Owner of the keys that belong to the installation rather than to a user. */
export const systemOwner = 'system';

/** Wraps a 32-byte key under the ring's primary KEK. */
export function wrapKey(
  ring: KeyRing,
  installId: string,
  key: KeyObject,
  binding: KeyBinding,
  randomBytes: RandomBytes,
): WrappedKey {
  const iv = randomBytes(ivBytes);
  const bytes = key.export();
  if (bytes.length !== keyBytes) throw new AppError('INTERNAL', `only ${keyBytes}-byte keys are wrapped`);
  const cipher = createCipheriv('aes-256-gcm', deriveWrapKey(ring.primary, installId), iv, { authTagLength });
  cipher.setAAD(encodeAad(ring.primary.id, installId, binding));
  const ciphertext = Buffer.concat([cipher.update(bytes), cipher.final()]);
  bytes.fill(0);
  return { kekId: ring.primary.id, wrapped: Buffer.concat([magic, iv, ciphertext, cipher.getAuthTag()]) };
}

/**
 * Opens a wrapped key. Throws `SEALED` when the ring lacks its KEK, has it disabled, or does not open a system key (a
 * wrong ring); `CREDENTIAL_UNREADABLE` when one DEK's row was damaged or swapped.
 */
export function unwrapKey(
  ring: KeyRing,
  installId: string,
  { kekId, wrapped }: WrappedKey,
  binding: KeyBinding,
): KeyObject {
  const kek = ring.keks.get(kekId);
  if (kek === undefined) throw new AppError('SEALED', 'the key ring lacks the KEK of a wrapped key');
  if (kek.state === 'disabled') throw new AppError('SEALED', `KEK ${kek.id} is disabled`);
  if (wrapped.length !== wrappedBytes || !wrapped.subarray(0, magic.length).equals(magic)) {
    throw unreadable(binding, 'its form is unknown');
  }
  const iv = wrapped.subarray(magic.length, magic.length + ivBytes);
  const ciphertext = wrapped.subarray(magic.length + ivBytes, wrappedBytes - authTagLength);
  const wrapKeyBytes = deriveWrapKey(kek, installId);
  const decipher = createDecipheriv('aes-256-gcm', wrapKeyBytes, iv, { authTagLength });
  decipher.setAAD(encodeAad(kek.id, installId, binding));
  decipher.setAuthTag(wrapped.subarray(wrappedBytes - authTagLength));
  try {
    const bytes = Buffer.concat([decipher.update(ciphertext), decipher.final()]);
    const key = createSecretKey(bytes);
    bytes.fill(0);
    return key;
  } catch (cause) {
    throw unreadable(binding, 'it does not authenticate', cause);
  }
}

const magic = Buffer.from('PTK1', 'latin1');
const ivBytes = 12;
// Pinned: Node otherwise accepts GCM tags of 4, 8 and 12 bytes.
const authTagLength = 16;
const wrappedBytes = magic.length + ivBytes + keyBytes + authTagLength;

function deriveWrapKey(kek: Kek, installId: string): Buffer {
  return Buffer.from(hkdfSync('sha256', kek.key, installId, `wrap/${kek.id}`, keyBytes));
}

function encodeAad(kekId: string, installId: string, { purpose, ownerId, keyId }: KeyBinding): Buffer {
  return encodeByteList([magic, kekId, installId, purpose, ownerId, keyId]);
}

function unreadable({ purpose, keyId }: KeyBinding, fault: string, cause?: unknown): AppError {
  const code = purpose === 'dek' ? 'CREDENTIAL_UNREADABLE' : 'SEALED';
  return new AppError(code, `wrapped key ${purpose} ${keyId}: ${fault}`, { cause });
}
