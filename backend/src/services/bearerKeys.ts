/**
 * Keys that people put into programs, personal API keys and access keys of instances: `ptk_<27><6>`, 160 random bits with
 * a checksum in the layout of instance ids, so that the same scanners find one that leaked and a typo costs no query.
 */
import { createInstanceId, parseInstanceId } from '../vault/instanceId.js';
import type { RandomBytes } from '../vault/keyRing.js';

const prefix = 'ptk';
const hintCharacters = prefix.length + 1 + 4;

/** A new key, and its first characters for telling it from others. */
export function createBearerKey(randomBytes: RandomBytes): { readonly key: string; readonly hint: string } {
  const key = createInstanceId(prefix, randomBytes);
  return { key, hint: key.slice(0, hintCharacters) };
}

/** Whether a bearer credential has the form of such a key, checksum included. */
export function isBearerKey(bearer: string): boolean {
  return parseInstanceId(bearer)?.prefix === prefix;
}
