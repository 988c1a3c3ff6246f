/**
 * Bytes that were computed once with another implementation (Python's `cryptography`) from the text of the format. A
 * change to any of them makes stored secrets unreadable, so it needs a new suite, never a new constant here.
 */
import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { argumentDigest } from '../../backend/src/vault/argumentDigest.js';
import { unwrapDek, wrapDek } from '../../backend/src/vault/dataKey.js';
import { createInstanceId, lookupDigest, parseInstanceId } from '../../backend/src/vault/instanceId.js';
import { parseKeyRing } from '../../backend/src/vault/keyRing.js';
import { open, seal } from '../../backend/src/vault/sealedRecord.js';
import { openState, sealState } from '../../backend/src/vault/sealedState.js';
import { aBinding, aDek, alice, bytesOf, installId, keyOf, scripted } from './given.js';

const ring = parseKeyRing(
  JSON.stringify([{ id: 'kek-a', key: bytesOf('kek').toString('base64'), state: 'primary' }]),
);
const iv = bytesOf('iv').subarray(0, 12);

describe('known vectors', () => {
  it('I12 wraps a DEK to the known bytes, and back', () => {
    const wrapped =
      '50544b310ab306823035661bb8dba21c7bf9c20225aebcad9e6630f538a9d5e8' +
      'aa66f2ec7a44f885b7046b6f654e7a856f0415e1f1d62aa959e9919672640fd5';
    expect(hex(wrapDek(ring, installId, aDek(), alice, scripted(iv)).wrapped)).toBe(wrapped);
    const row = { id: aDek().id, ownerId: alice, kekId: 'kek-a', wrapped: Buffer.from(wrapped, 'hex') };
    expect(unwrapDek(ring, installId, row).key.equals(keyOf('dek'))).toBe(true);
  });

  it('I12 seals a record to the known bytes, and back', () => {
    const plaintext = Buffer.from('{"fields":{"token":"example"}}');
    const record =
      '50545231015d9c1d3487c74e4e8f332c5a7d1e9b6063479ad69a090b258277ec8fba6f99419a2ffb248981510657c944' +
      'ccd1148e97ed4f9fe8b4dca9c1fb95faf500751356b049f82c79866be89598db5eba8b60ba0ab306823035661bb8dba2' +
      '1c00000040ba44501f8c08e6c50f4b494572ddfca828c5147eb0542992a54971ad731cf33a63f969f875ffd5c2b3247f' +
      '9564172189f4ec9aeb396b6f042fb70bed6e65fe1bae3ef7165a7792136769ad0caf112f2e';
    expect(hex(seal(aDek(), plaintext, aBinding(), scripted(bytesOf('salt'), iv)))).toBe(record);
    expect(open(aDek(), Buffer.from(record, 'hex'), aBinding()).equals(plaintext)).toBe(true);
  });

  it('I12 writes and looks up the known instance id', () => {
    const id = 'github_6EkrNRmxNbwI0OOSVikQsd9sIfN3SJvJa';
    expect(createInstanceId('github', scripted(bytesOf('secret').subarray(0, 20)))).toBe(id);
    expect(parseInstanceId(id)).toEqual({ prefix: 'github' });
    expect(hex(lookupDigest(keyOf('lookup'), id))).toBe(
      '8c4bde724950ab723a74060126a83ee205c8137cabb474cd6dd3acbf5cffd260',
    );
  });

  it('I12 seals state to the known text, and back', () => {
    const text =
      'AXg3e1JXV7SUQn-JAU-X15ko85ONFOtR4gqzBoIwNWYbuNuiHMfijMPINWlGiuNtA1t0RxmZ0rFITM3jZtB0-7cXnCJAueQ';
    const payload = Buffer.from('upstream-session-1');
    const bindings = ['instance-a', 'principal-b'];
    const randomness = scripted(bytesOf('nonce').subarray(0, 24), iv);
    expect(sealState(keyOf('state'), 'session', payload, bindings, randomness)).toBe(text);
    expect(openState(keyOf('state'), 'session', text, bindings)?.equals(payload)).toBe(true);
  });

  it('I12 digests arguments to the known text', () => {
    expect(argumentDigest(keyOf('audit'), Buffer.from('{"a":1}'))).toBe(
      'f2236555d04ed54cd4e789bb5ec4f6ff2e538b9b2a3ec8c4c0afad9f0ae5c76f',
    );
    expect(argumentDigest(keyOf('audit'), Buffer.from('{"a":1}'))).not.toBe(
      createHash('sha256').update('{"a":1}').digest('hex'),
    );
  });
});

function hex(bytes: Buffer): string {
  return bytes.toString('hex');
}
