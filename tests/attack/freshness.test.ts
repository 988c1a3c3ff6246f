/** No key and IV twice (07 G10), in as many records as the case asks for. */
import { randomBytes } from 'node:crypto';
import { expect, it } from '@jest/globals';
import { seal } from '../../backend/src/vault/sealedRecord.js';
import { aBinding, aDek } from '../vault/given.js';

const records = 1_000_000;
const [saltAt, saltBytes, ivBytes] = [4 + 1 + 16, 32, 12];
const ivAt = saltAt + saltBytes + 32;

it('G10 repeats no (key, IV) in 10^6 sealed records of one DEK', () => {
  // The key follows from DEK and salt, so salt and IV together name the pair; a set of the salts' and IVs' own would
  // hold even if one of the two repeated.
  const [pairs, salts, ivs] = [new Set<string>(), new Set<string>(), new Set<string>()];
  const [dek, place, plaintext] = [aDek(), aBinding(), Buffer.from('same')];
  for (let count = 0; count < records; count += 1) {
    const record = seal(dek, plaintext, place, randomBytes);
    const salt = record.toString('latin1', saltAt, saltAt + saltBytes);
    const iv = record.toString('latin1', ivAt, ivAt + ivBytes);
    pairs.add(salt + iv);
    salts.add(salt.slice(0, 12));
    ivs.add(iv);
  }
  expect([pairs.size, salts.size, ivs.size]).toEqual([records, records, records]);
}, 300_000);
