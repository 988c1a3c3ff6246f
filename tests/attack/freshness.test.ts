/** No key and IV twice (07 G10), in as many records as the case asks for. */
import { randomBytes } from 'node:crypto';
import { expect, it } from '@jest/globals';
import { seal } from '../../backend/src/vault/sealedRecord.js';
import { aBinding, aDek } from '../vault/given.js';

const records = 1_000_000;
const saltAt = 4 + 1 + 16;
const ivAt = saltAt + 32 + 32;

it('G10 repeats no (key, IV) in 10^6 sealed records of one DEK', () => {
  // The key follows from DEK and salt. If the first 64 bits of all salts differ, and so do those of all IVs, no pair is
  // there twice; by chance two of them agree once in 10^7 runs.
  const [salts, ivs] = [new BigUint64Array(records), new BigUint64Array(records)];
  const [dek, place, plaintext] = [aDek(), aBinding(), Buffer.from('same')];
  for (let at = 0; at < records; at += 1) {
    const record = seal(dek, plaintext, place, randomBytes);
    salts[at] = record.readBigUInt64BE(saltAt);
    ivs[at] = record.readBigUInt64BE(ivAt);
  }
  expect([countRepeated(salts), countRepeated(ivs)]).toEqual([0, 0]);
}, 300_000);

function countRepeated(values: BigUint64Array): number {
  const sorted = values.toSorted();
  return sorted.reduce((count, value, at) => count + (at > 0 && sorted[at - 1] === value ? 1 : 0), 0);
}
