/**
 * G10 asks for 10^6 encrypts without a repeated (key, IV); `attack/freshness.test.ts` makes them. Here, quickly, 10^5 records
 * and 10^4 of each other kind are looked at, and the widths that the promise rests on.
 */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { parseKeyRing, newKeyRingFile } from '../../backend/src/vault/keyRing.js';
import { wrapDek } from '../../backend/src/vault/dataKey.js';
import { seal } from '../../backend/src/vault/sealedRecord.js';
import { sealState } from '../../backend/src/vault/sealedState.js';
import { aBinding, aDek, alice, installId, keyOf } from './given.js';

const saltAt = 4 + 1 + 16;
const ivAt = saltAt + 32 + 32;

describe('fresh keys and IVs', () => {
  it('G10 asks for new randomness in full width each time it encrypts', () => {
    const asked: number[] = [];
    const counting = (size: number) => {
      asked.push(size);
      return randomBytes(size);
    };
    const ring = parseKeyRing(newKeyRingFile(randomBytes));
    seal(aDek(), Buffer.alloc(1), aBinding(), counting);
    sealState(keyOf('state'), 'session', Buffer.alloc(1), [], counting);
    wrapDek(ring, installId, aDek(), alice, counting);
    expect(asked).toEqual([32, 12, 24, 12, 12]);
  });

  it('G10 repeats no (key, IV) in 10^5 sealed records of one DEK', () => {
    const pairs = new Set<string>();
    const plaintext = Buffer.from('same');
    for (let count = 0; count < 100_000; count += 1) {
      const record = seal(aDek(), plaintext, aBinding(), randomBytes);
      // The key follows from DEK and salt; salt and IV together name the pair.
      pairs.add(record.toString('latin1', saltAt, saltAt + 32) + record.toString('latin1', ivAt, ivAt + 12));
    }
    expect(pairs.size).toBe(100_000);
  }, 60_000);

  it('G10 repeats no (key, IV) in 10^4 sealed states and 10^4 wrapped keys', () => {
    const ring = parseKeyRing(newKeyRingFile(randomBytes));
    const kState = keyOf('state');
    const states = new Set<string>();
    const wraps = new Set<string>();
    for (let count = 0; count < 10_000; count += 1) {
      const state = sealState(kState, 'session', Buffer.from('same'), [], randomBytes);
      states.add(Buffer.from(state, 'base64url').toString('latin1', 1, 37));
      wraps.add(wrapDek(ring, installId, aDek(), alice, randomBytes).wrapped.toString('latin1', 4, 16));
    }
    expect([states.size, wraps.size]).toEqual([10_000, 10_000]);
  }, 60_000);
});
