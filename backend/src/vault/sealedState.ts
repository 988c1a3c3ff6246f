/**
 * Sealed state: what a client carries for us (a session id, request state) so that we need keep nothing. Only this
 * installation can make it, and it opens only for the purpose and the bindings that it was made with.
 *
 * Each value has a key of its own, HKDF-Expand(k_state, "state/1" + purpose + nonce) (RFC 5869 §3.3: k_state is already
 * uniform, so Extract is left out), so that any number of values may be sealed under one k_state.
 *
 *     base64url( version (1) · nonce (24) · IV (12) · ciphertext · tag (16) )
 */
import { createCipheriv, createDecipheriv, createHmac, type KeyObject } from 'node:crypto';
import { encodeByteList } from './byteList.js';
import type { RandomBytes } from './keyRing.js';

/** Seals a payload; visible ASCII without padding, so that it fits a header. It hides the content, not the length. */
export function sealState(
  kState: KeyObject,
  purpose: string,
  payload: Uint8Array,
  bindings: readonly string[],
  randomBytes: RandomBytes,
): string {
  const nonce = randomBytes(nonceBytes);
  const iv = randomBytes(ivBytes);
  const header = Buffer.concat([version1, nonce, iv]);
  const cipher = createCipheriv('aes-256-gcm', deriveKey(kState, purpose, nonce), iv, { authTagLength });
  cipher.setAAD(encodeByteList([header, purpose, ...bindings]));
  return Buffer.concat([header, cipher.update(payload), cipher.final(), cipher.getAuthTag()]).toString(
    'base64url',
  );
}

/** Gives the payload back, or null for anything that was not sealed here for this purpose and these bindings. */
export function openState(
  kState: KeyObject,
  purpose: string,
  text: string,
  bindings: readonly string[],
): Buffer | null {
  if (text.length > stateCharactersMax) return null;
  const sealed = Buffer.from(text, 'base64url');
  if (sealed.length < headerBytes + authTagLength || sealed[0] !== version1[0]) return null;
  // Node skips characters that are not base64url; only the one spelling that we made is ours.
  if (sealed.toString('base64url') !== text) return null;
  const header = sealed.subarray(0, headerBytes);
  const key = deriveKey(kState, purpose, header.subarray(1, 1 + nonceBytes));
  const decipher = createDecipheriv('aes-256-gcm', key, header.subarray(1 + nonceBytes), { authTagLength });
  decipher.setAAD(encodeByteList([header, purpose, ...bindings]));
  decipher.setAuthTag(sealed.subarray(sealed.length - authTagLength));
  const payload = decipher.update(sealed.subarray(headerBytes, sealed.length - authTagLength));
  try {
    decipher.final();
  } catch {
    return null;
  }
  return payload;
}

/** Longer text is not looked at; a session id or request state stays far below. */
export const stateCharactersMax = 65_536;

const version1 = Buffer.from([1]);
const nonceBytes = 24;
const ivBytes = 12;
const headerBytes = version1.length + nonceBytes + ivBytes;
// Pinned: Node otherwise accepts GCM tags of 4, 8 and 12 bytes.
const authTagLength = 16;

/** One block of HKDF-Expand (RFC 5869 §2.3). */
function deriveKey(kState: KeyObject, purpose: string, nonce: Uint8Array): Buffer {
  return createHmac('sha256', kState)
    .update(encodeByteList(['state/1', purpose, nonce]))
    .update(Buffer.from([1]))
    .digest();
}
