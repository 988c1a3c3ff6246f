/**
 * Data-encryption keys (DEKs): one for each user, and one for the installation (`systemOwner`), under which records are
 * sealed. Deleting the row of a wrapped DEK shreds everything sealed under it.
 */
import { createSecretKey, type KeyObject } from 'node:crypto';
import { AppError } from '../errors/appError.js';
import type { KeyRing, RandomBytes } from './keyRing.js';
import { unwrapKey, wrapKey, type WrappedKey } from './keyWrapping.js';
import { keyBytes } from './weakKey.js';

export interface Dek {
  /** A uuid in lower case: the key's row, and the 16 bytes by which sealed records name it. */
  readonly id: string;
  readonly key: KeyObject;
}

export function createDek(id: string, randomBytes: RandomBytes): Dek {
  return { id, key: createSecretKey(randomBytes(keyBytes)) };
}

/** Wraps a DEK for its owner, a user's uuid or `systemOwner`. */
export function wrapDek(
  ring: KeyRing,
  installId: string,
  { id, key }: Dek,
  ownerId: string,
  randomBytes: RandomBytes,
): WrappedKey {
  return wrapKey(ring, installId, key, { purpose: 'dek', ownerId, keyId: id }, randomBytes);
}

/** Opens a DEK's row; errors as `unwrapKey`. */
export function unwrapDek(
  ring: KeyRing,
  installId: string,
  row: WrappedKey & { readonly id: string; readonly ownerId: string },
): Dek {
  return {
    id: row.id,
    key: unwrapKey(ring, installId, row, { purpose: 'dek', ownerId: row.ownerId, keyId: row.id }),
  };
}

export const dekIdBytes = 16;

/** The 16 bytes of a DEK's uuid (RFC 9562). */
export function toDekIdBytes(id: string): Buffer {
  if (!uuidPattern.test(id)) throw new AppError('INTERNAL', 'a DEK id is a uuid in lower case');
  return Buffer.from(id.replaceAll('-', ''), 'hex');
}

export function toDekId(bytes: Buffer): string {
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
