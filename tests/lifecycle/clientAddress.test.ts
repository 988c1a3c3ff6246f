/** Whose address counts: the one that the front signed, the one that a trusted proxy names, else the socket's. */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import {
  clientAddressHeader,
  clientAddressReader,
  readSignedAddress,
  signClientAddress,
} from '../../backend/src/lifecycle/clientAddress.js';

const frontKey = randomBytes(32);
const now = Date.UTC(2026, 0, 31, 12);
const from = (remoteAddress: string, headers: Record<string, string> = {}) =>
  ({ headers, socket: { remoteAddress } }) as never;

describe('the address of a client', () => {
  it('is the signed one, whole and fresh', () => {
    const header = signClientAddress(frontKey, '203.0.113.7', now);
    expect(readSignedAddress(frontKey, header, now)).toBe('203.0.113.7');
    expect(readSignedAddress(frontKey, header, now + 59_000)).toBe('203.0.113.7');
    expect(readSignedAddress(frontKey, header, now + 62_000)).toBeNull();
    expect(readSignedAddress(randomBytes(32), header, now)).toBeNull();
    expect(readSignedAddress(frontKey, header.replace('203.0.113.7', '203.0.113.8'), now)).toBeNull();
    for (let at = 0; at < header.length; at += 1) {
      const flipped =
        header.slice(0, at) + String.fromCharCode(header.charCodeAt(at) ^ 1) + header.slice(at + 1);
      expect(readSignedAddress(frontKey, flipped, now)).toBeNull();
    }
  });

  it('is not what a stranger says', () => {
    const read = clientAddressReader({ frontKey, trustProxy: [], now: () => now });
    const forged = signClientAddress(randomBytes(32), '203.0.113.7', now);
    expect(read(from('127.0.0.1', { [clientAddressHeader]: forged }))).toBe('127.0.0.1');
    expect(read(from('::ffff:127.0.0.1', { 'x-forwarded-for': '203.0.113.7' }))).toBe('127.0.0.1');
    expect(
      read(from('127.0.0.1', { [clientAddressHeader]: signClientAddress(frontKey, '2001:db8::1', now) })),
    ).toBe('2001:db8::1');
    const keyless = clientAddressReader({ frontKey: null, trustProxy: [], now: () => now });
    expect(
      keyless(from('127.0.0.1', { [clientAddressHeader]: signClientAddress(frontKey, '203.0.113.7', now) })),
    ).toBe('127.0.0.1');
  });

  it('is the nearest one that is no trusted proxy, where TRUST_PROXY names the sender', () => {
    const read = clientAddressReader({ frontKey, trustProxy: ['10.0.0.0/8', '192.0.2.1'], now: () => now });
    const by = (remote: string, forwarded: string) => read(from(remote, { 'x-forwarded-for': forwarded }));
    expect(by('10.1.2.3', '203.0.113.7')).toBe('203.0.113.7');
    expect(by('192.0.2.1', '198.51.100.1, 203.0.113.7, 10.9.9.9')).toBe('203.0.113.7');
    expect(by('192.0.2.2', '203.0.113.7')).toBe('192.0.2.2');
    expect(by('10.1.2.3', 'unknown')).toBe('10.1.2.3');
    expect(by('10.1.2.3', '203.0.113.7, nonsense')).toBe('10.1.2.3');
    expect(by('10.1.2.3', '10.4.5.6')).toBe('10.1.2.3');
  });
});
