import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { createInstanceId, lookupDigest, parseInstanceId } from '../../backend/src/vault/instanceId.js';
import { codeOf, keyOf } from './given.js';

const id = createInstanceId('github', randomBytes);

describe('an instance id', () => {
  it('P04 is a prefix, 27 and 6 base62 characters, and parses to its prefix', () => {
    const prefix = fc.stringMatching(/^[a-z][a-z0-9-]{0,31}$/);
    const secret = fc.uint8Array({ minLength: 20, maxLength: 20 });
    fc.assert(
      fc.property(prefix, secret, (name, bytes) => {
        const made = createInstanceId(name, () => Buffer.from(bytes));
        expect(made.slice(name.length)).toMatch(/^_[0-9A-Za-z]{33}$/);
        expect(parseInstanceId(made)).toEqual({ prefix: name });
      }),
    );
  });

  it('P04 keeps all 160 bits, from the lowest to the highest', () => {
    const lowest = createInstanceId('x', () => Buffer.alloc(20));
    const highest = createInstanceId('x', () => Buffer.alloc(20, 0xff));
    expect(lowest.slice(0, 29)).toBe(`x_${'0'.repeat(27)}`);
    expect([lowest, highest].map(parseInstanceId)).toEqual([{ prefix: 'x' }, { prefix: 'x' }]);
    expect(decodeSecret(highest)).toBe((1n << 160n) - 1n);
  });

  it('P04 is another one each time', () => {
    const made = new Set(Array.from({ length: 5_000 }, () => createInstanceId('x', randomBytes)));
    expect(made.size).toBe(5_000);
  });

  it('A06 with any one character changed is refused by its checksum alone', () => {
    const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-';
    for (let at = 0; at < id.length; at += 1) {
      for (const character of alphabet) {
        if (character === id[at]) continue;
        expect(parseInstanceId(id.slice(0, at) + character + id.slice(at + 1))).toBeNull();
      }
    }
  });

  it('A07 is read byte-exact: no case, space, escape, dot or width is forgiven', () => {
    const wide = id.replace(/./, (first) => String.fromCharCode(first.charCodeAt(0) + 0xfee0));
    const variants = [
      id.toUpperCase(),
      id.toLowerCase(),
      `${id}.`,
      ` ${id}`,
      `${id} `,
      `${id}\n`,
      `${id}\0`,
      `${id}%00`,
      id.replace('_', '%5f'),
      id.replace('_', '__'),
      id.slice(0, -1),
      `${id}0`,
      wide,
      `${id}\u0301`,
      id.slice('github_'.length),
      '',
    ].filter((variant) => variant !== id);
    expect(variants.filter((variant) => parseInstanceId(variant) !== null)).toEqual([]);
  });

  it('A07 has one spelling: 27 characters that say more than 160 bits are refused', () => {
    const beyond = `x_${'z'.repeat(27)}`;
    // The checksum of this text is right; `createInstanceId` can never write it.
    expect(parseInstanceId(beyond + base62Crc(beyond))).toBeNull();
  });

  it('refuses whatever was not made here', () => {
    fc.assert(fc.property(fc.string({ maxLength: 80 }), (text) => expect(parseInstanceId(text)).toBeNull()));
  });

  it('refuses to make one with a prefix that does not parse', () => {
    for (const prefix of ['', 'Git', 'a_b', '1a', 'a/b', 'a'.repeat(33)]) {
      expect(codeOf(() => createInstanceId(prefix, randomBytes))).toBe('INTERNAL');
    }
  });

  it('P04 is looked up by an HMAC that needs the key', () => {
    const digest = lookupDigest(keyOf('one'), id);
    expect(digest).toHaveLength(32);
    expect(digest.equals(lookupDigest(keyOf('one'), id))).toBe(true);
    expect(digest.equals(lookupDigest(keyOf('other'), id))).toBe(false);
  });
});

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

function decodeSecret(made: string): bigint {
  let sum = 0n;
  for (const digit of made.slice(-33, -6)) sum = sum * 62n + BigInt(digits.indexOf(digit));
  return sum;
}

/** CRC-32 of ISO-HDLC bit by bit, so that the table or library under test has a second opinion. */
function base62Crc(text: string): string {
  let register = 0xffffffff;
  for (const byte of Buffer.from(text)) {
    register ^= byte;
    for (let bit = 0; bit < 8; bit += 1) register = (register >>> 1) ^ (register & 1 ? 0xedb88320 : 0);
  }
  let rest = (register ^ 0xffffffff) >>> 0;
  let written = '';
  for (let place = 0; place < 6; place += 1, rest = Math.floor(rest / 62))
    written = digits[rest % 62] + written;
  return written;
}

it('P04 checks by the CRC-32 that everybody means', () => {
  expect(id.slice(-6)).toBe(base62Crc(id.slice(0, -6)));
});
