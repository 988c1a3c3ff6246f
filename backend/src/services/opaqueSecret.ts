/** Secrets that we give out once and know again by their SHA-256 digest: 256 random bits need no slow hash. */
import { createHash } from 'node:crypto';
import type { RandomBytes } from '../vault/keyRing.js';

const secretBytes = 32;

/** 43 characters of base64url. */
export function createOpaqueSecret(randomBytes: RandomBytes): string {
  return randomBytes(secretBytes).toString('base64url');
}

export function digestOf(secret: string): Buffer {
  return createHash('sha256').update(secret, 'utf8').digest();
}
