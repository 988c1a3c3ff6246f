import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { fingerprint, newKeyRingFile, parseKeyRing, ringHoldsKey } from '../../backend/src/vault/keyRing.js';
import { findKeyWeakness } from '../../backend/src/vault/weakKey.js';
import { bytesOf, caught, codeOf } from './given.js';

interface Entry {
  id: string;
  key: string;
  state: string;
}

const entry = (id: string, state: string, key = bytesOf(id)): Entry => ({
  id,
  key: key.toString('base64'),
  state,
});
const ringText = (...entries: unknown[]) => JSON.stringify(entries);

describe('the key ring', () => {
  it('I12 is made with one good primary key, another each time', () => {
    const [one, other] = [newKeyRingFile(randomBytes), newKeyRingFile(randomBytes)];
    expect(parseKeyRing(one).primary.state).toBe('primary');
    expect(fingerprint(parseKeyRing(one))).not.toBe(fingerprint(parseKeyRing(other)));
  });

  it('I12 reads keys in all three states', () => {
    const text = ringText(entry('old', 'disabled'), entry('now', 'primary'), entry('next', 'decrypt'));
    const ring = parseKeyRing(text);
    expect(ring.primary.id).toBe('now');
    expect([...ring.keks.keys()]).toEqual(['old', 'now', 'next']);
    expect(ring.keks.get('now')?.key.export().equals(bytesOf('now'))).toBe(true);
  });

  it('I12 has one fingerprint whatever the order, and another for any change', () => {
    const base = fingerprint(parseKeyRing(ringText(entry('a', 'primary'), entry('b', 'decrypt'))));
    expect(base).toMatch(/^[0-9a-f]{32}$/);
    expect(fingerprint(parseKeyRing(ringText(entry('b', 'decrypt'), entry('a', 'primary'))))).toBe(base);
    const changed = [
      ringText(entry('a', 'decrypt'), entry('b', 'primary')),
      ringText(entry('a', 'primary')),
      ringText(entry('a', 'primary', bytesOf('c')), entry('b', 'decrypt')),
      ringText(entry('a', 'primary'), entry('c', 'decrypt', bytesOf('b'))),
    ].map((text) => fingerprint(parseKeyRing(text)));
    expect(new Set([base, ...changed]).size).toBe(5);
  });

  it.each([
    ['not JSON', 'key: abc'],
    ['not a list', '{"id":"a"}'],
    ['empty', '[]'],
    ['too large', `[${' '.repeat(70_000)}]`],
    ['an entry that is no object', '[null]'],
    ['no primary', ringText(entry('a', 'decrypt'))],
    ['two primaries', ringText(entry('a', 'primary'), entry('b', 'primary'))],
    ['the same id twice', ringText(entry('a', 'primary'), entry('a', 'decrypt', bytesOf('b')))],
    ['the same key twice', ringText(entry('a', 'primary'), entry('b', 'decrypt', bytesOf('a')))],
    ['an unknown state', ringText(entry('a', 'active'))],
    ['an unknown member', ringText({ ...entry('a', 'primary'), note: 'x' })],
    ['no id', ringText({ ...entry('a', 'primary'), id: undefined })],
    ['an id with a path', ringText(entry('../a', 'primary'))],
    ['a key that is no text', ringText({ ...entry('a', 'primary'), key: 7 })],
    ['base64url', ringText({ ...entry('a', 'primary'), key: Buffer.alloc(32, 0xfb).toString('base64url') })],
    ['base64 with a newline', ringText({ ...entry('a', 'primary'), key: `${entry('a', '').key}\n` })],
  ])('refuses a ring that is %s', (_fault, text) => {
    expect(codeOf(() => parseKeyRing(text))).toBe('CONFIG_INVALID');
  });

  it.each([
    ['short', bytesOf('short').subarray(0, 16)],
    ['long', Buffer.concat([bytesOf('a'), bytesOf('b')])],
    ['empty', Buffer.alloc(0)],
    ['zero', Buffer.alloc(32)],
    ['constant', Buffer.alloc(32, 0xa5)],
    ['a repeated half', Buffer.concat([bytesOf('x').subarray(0, 16), bytesOf('x').subarray(0, 16)])],
    ['a repeated pattern of 5', Buffer.alloc(32, bytesOf('y').subarray(0, 5))],
    ['counted up', Buffer.from(Array.from({ length: 32 }, (_, at) => at))],
    ['counted down by 7', Buffer.from(Array.from({ length: 32 }, (_, at) => (200 - at * 7) & 0xff))],
    ['a passphrase', Buffer.from('correct horse battery staple 123')],
    ['hex digits', Buffer.from(bytesOf('z').toString('hex').slice(0, 32))],
    ['mostly zero', Buffer.concat([Buffer.alloc(20), bytesOf('w').subarray(0, 12)])],
  ])('B08 refuses a key that is %s, and prints no part of it', (_kind, key) => {
    const text = ringText(entry('a', 'primary', key));
    expect(codeOf(() => parseKeyRing(text))).toBe('CONFIG_INVALID');
    const printed = inspect(
      caught(() => parseKeyRing(text)),
      { depth: 10 },
    );
    const forms = (['base64', 'hex', 'latin1'] as const).map((form) => key.toString(form));
    expect(forms.filter((form) => form !== '' && printed.includes(form))).toEqual([]);
  });

  it('B08 takes every random key', () => {
    for (let count = 0; count < 2_000; count += 1) expect(findKeyWeakness(randomBytes(32))).toBeNull();
  });

  it('B08 knows its own keys when they come as another secret', () => {
    const ring = parseKeyRing(ringText(entry('a', 'primary'), entry('b', 'disabled')));
    expect(['a', 'b', 'c'].map((label) => ringHoldsKey(ring, bytesOf(label)))).toEqual([true, true, false]);
    expect(ringHoldsKey(ring, Buffer.alloc(0))).toBe(false);
  });

  it('prints no key, neither as JSON nor by inspection', () => {
    const ring = parseKeyRing(newKeyRingFile((size) => bytesOf('canary').subarray(0, size)));
    const printed = JSON.stringify(ring.primary) + inspect(ring, { depth: 10, showHidden: true });
    for (const form of ['base64', 'hex'] as const)
      expect(printed).not.toContain(bytesOf('canary').toString(form));
  });
});
