/** The ring of JWT keys: what is unfit is refused with the reason and without the value. */
import { randomBytes, randomUUID } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import {
  newJwtKeysFiles,
  parseSigningKeys,
  parseVerificationKeys,
  refuseSharedKeys,
} from '../../backend/src/services/jwtKeys.js';
import { createAccessTokens } from '../../backend/src/services/accessTokens.js';
import { newKeyRingFile, parseKeyRing } from '../../backend/src/vault/keyRing.js';

interface KeyFile {
  keys: Record<string, unknown>[];
}
const files = newJwtKeysFiles(randomUUID);
const parsed = (text: string): KeyFile => JSON.parse(text) as KeyFile;
const changed = (change: (file: KeyFile) => void, text = files.privateText): string => {
  const file = parsed(text);
  change(file);
  return JSON.stringify(file);
};

describe('JWT keys', () => {
  it('come in two files, of which the public one holds no private half', () => {
    const signing = parseSigningKeys(files.privateText);
    const verification = parseVerificationKeys(files.publicText);
    expect([...verification.keys()]).toEqual([signing.kid]);
    expect(verification.get(signing.kid)!.type).toBe('public');
    expect(signing.verification.get(signing.kid)!.equals(verification.get(signing.kid)!)).toBe(true);
    expect(files.publicText).not.toContain('"d"');
    expect(files.publicText).not.toContain(String(parsed(files.privateText).keys[0]!['d']));
    expect(() => parseVerificationKeys(files.privateText)).toThrow('wrong members');
  });

  it('verify what an older key of the ring signed, after another began to sign', () => {
    const second = parsed(newJwtKeysFiles(randomUUID).privateText).keys[0]!;
    const older = createAccessTokens({
      now: Date.now,
      keys: parseSigningKeys(files.privateText),
      issuer: 'https://x.example',
      newId: randomUUID,
    });
    const claims = { userId: randomUUID(), sessionId: randomUUID() };
    const rotated = changed((file) => {
      file.keys[0]!['state'] = 'verifying';
      file.keys.push(second);
    });
    const keys = parseSigningKeys(rotated);
    expect(keys.kid).toBe(second['kid']);
    const now = createAccessTokens({ keys, now: Date.now, issuer: 'https://x.example', newId: randomUUID });
    expect(now.verify(older.sign(claims))).toEqual(claims);
    expect(() => older.verify(now.sign(claims))).toThrow('access token');
  });

  it('B08 are refused when short, constant, mismatched, doubled or of another kind, without printing a value', () => {
    const d = String(parsed(files.privateText).keys[0]!['d']);
    const other = parsed(newJwtKeysFiles(randomUUID).privateText).keys[0]!;
    const unfit = [
      changed((file) => void (file.keys[0]!['d'] = d.slice(0, 20))),
      changed((file) => void (file.keys[0]!['d'] = Buffer.alloc(32, 7).toString('base64url'))),
      changed((file) => void (file.keys[0]!['d'] = Buffer.from('changeme'.repeat(4)).toString('base64url'))),
      changed((file) => void (file.keys[0]!['d'] = other['d'])),
      changed((file) => void (file.keys[0]!['x'] = other['x'])),
      changed((file) => void (file.keys[0]!['alg'] = 'HS256')),
      changed((file) => void (file.keys[0]!['crv'] = 'P-384')),
      changed((file) => void (file.keys[0]!['kid'] = '../x')),
      changed((file) => void (file.keys[0]!['state'] = 'verifying')),
      changed((file) => void file.keys.push(other)),
      changed((file) => void file.keys.push({ ...file.keys[0], state: 'verifying' })),
      changed((file) => void (file.keys = [])),
      '{"keys": ',
      '',
      'null',
    ];
    for (const text of unfit) {
      expect(() => parseSigningKeys(text)).toThrow(
        expect.objectContaining({
          code: 'CONFIG_INVALID',
          message: expect.stringContaining('jwt-keys.json'),
        }),
      );
      expect(() => parseSigningKeys(text)).not.toThrow(d.slice(0, 20));
    }
  });

  it('B08 may not be a key of the key ring as well', () => {
    const keys = parseSigningKeys(files.privateText);
    const ring = parsed(`{"keys": ${newKeyRingFile(randomBytes)}}`).keys;
    expect(() => refuseSharedKeys(keys, parseKeyRing(JSON.stringify(ring)))).not.toThrow();
    const d = Buffer.from(String(parsed(files.privateText).keys[0]!['d']), 'base64url').toString('base64');
    for (const state of ['decrypt', 'disabled']) {
      const shared = [...ring, { id: 'shared', key: d, state }];
      expect(() => refuseSharedKeys(keys, parseKeyRing(JSON.stringify(shared)))).toThrow('KEYRING_FILE');
    }
  });
});
