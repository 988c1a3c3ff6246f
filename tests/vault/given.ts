/** Builders for the vault's tests: keys that are the same in each run, and a place for a record. */
import { createHash, createSecretKey, type KeyObject } from 'node:crypto';
import { AppError } from '../../backend/src/errors/appError.js';
import type { Dek } from '../../backend/src/vault/dataKey.js';
import type { RandomBytes } from '../../backend/src/vault/keyRing.js';
import type { RecordBinding } from '../../backend/src/vault/sealedRecord.js';

export const installId = '4f6f0a3e-6f0b-4a53-9d39-0f6a2f6f7a11';
export const alice = '0b1f5a52-3c1d-4a86-8a55-3f2f1f6f0c01';
export const bob = 'c2f6b0de-9a56-4f0e-8b8c-6c7b9e0f1d02';

/** 32 bytes that belong to a label. */
export function bytesOf(label: string): Buffer {
  return createHash('sha256').update(label).digest();
}

export function keyOf(label: string): KeyObject {
  return createSecretKey(bytesOf(label));
}

export function aDek(overrides: Partial<Dek> = {}): Dek {
  return { id: '5d9c1d34-87c7-4e4e-8f33-2c5a7d1e9b60', key: keyOf('dek'), ...overrides };
}

export function aBinding(overrides: Partial<RecordBinding> = {}): RecordBinding {
  return {
    installId,
    table: 'instances',
    column: 'sealed_credential',
    userId: alice,
    rowId: 'a7d8f0f2-1a6b-4c0b-9a94-6a52a7f3b0d2',
    revision: 7,
    schemaVersion: 1,
    ...overrides,
  };
}

/** Randomness written down beforehand; it fails when asked for another size or once too often. */
export function scripted(...values: Buffer[]): RandomBytes {
  return (size) => {
    const value = values.shift();
    if (value?.length !== size) throw new Error(`unexpected demand for ${size} random bytes`);
    return value;
  };
}

/** The `AppError` that the action throws; any other outcome fails the test. */
export function caught(action: () => unknown): AppError {
  try {
    action();
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

export function codeOf(action: () => unknown): string {
  return caught(action).code;
}

/** Every copy of some bytes that differs from them in exactly one bit. */
export function* everyBitFlip(bytes: Buffer): Generator<Buffer> {
  for (let bit = 0; bit < bytes.length * 8; bit += 1) {
    const copy = Buffer.from(bytes);
    copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    yield copy;
  }
}
