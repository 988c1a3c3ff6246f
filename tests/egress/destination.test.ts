import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { classifyAddress } from '../../backend/src/addresses/addressRules.js';
import { findUrlProblem } from '../../backend/src/addresses/urlProblem.js';
import { parseDestination } from '../../backend/src/egress/destination.js';
import { AppError } from '../../backend/src/errors/appError.js';

const publicOnly = { allowHosts: null, allowPrivate: false };
const withPrivate = { allowHosts: null, allowPrivate: true };

describe('URLs when they are saved', () => {
  it.each(['https://127.0.0.1/', 'https://localhost/', 'https://localhost./', 'https://a.localhost/'])(
    'E01 refuses this machine by name and address: %s',
    (url) => expect(findUrlProblem(url, publicOnly)).not.toBeNull(),
  );

  it.each(['https://[::1]/', 'https://0.0.0.0/', 'https://[::]/', 'https://127.1.2.3:8443/'])(
    'E01 refuses loopback and unspecified addresses: %s',
    (url) => expect(findUrlProblem(url, publicOnly)).not.toBeNull(),
  );

  it('E01 lets an admin allow private addresses, but not link-local ones', () => {
    expect(findUrlProblem('http://127.0.0.1:3000/api', withPrivate)).toBeNull();
    expect(findUrlProblem('http://localhost:3000', withPrivate)).toBeNull();
    expect(findUrlProblem('http://10.1.2.3/', withPrivate)).toBeNull();
    expect(findUrlProblem('http://169.254.169.254/latest/meta-data/', withPrivate)).not.toBeNull();
    expect(findUrlProblem('http://0.0.0.0/', withPrivate)).not.toBeNull();
  });

  it.each([
    ['metadata', '169.254.169.254'],
    ['RFC 1918', '10.0.0.1'],
    ['RFC 1918', '172.16.0.1'],
    ['RFC 1918', '192.168.1.1'],
    ['CGNAT', '100.64.0.1'],
    ['unique local', '[fc00::1]'],
    ['unique local', '[fd12:3456::1]'],
    ['link-local', '[fe80::1]'],
    ['site-local', '[fec0::1]'],
    ['multicast', '224.0.0.1'],
    ['multicast', '[ff02::1]'],
    ['benchmarking', '198.18.0.1'],
    ['benchmarking', '198.19.255.255'],
    ['6to4', '[2002:7f00:1::]'],
    ['NAT64', '[64:ff9b::7f00:1]'],
    ['NAT64', '[64:ff9b:1::7f00:1]'],
    ['Teredo', '[2001::7f00:1]'],
    ['v4-compatible', '[::7f00:1]'],
    ['broadcast', '255.255.255.255'],
  ])('E02 refuses %s addresses: %s', (_range, host) =>
    expect(findUrlProblem(`https://${host}/`, publicOnly)).not.toBeNull(),
  );

  it.each([
    '2130706433',
    '0x7f000001',
    '0x7f.1',
    '0177.0.0.1',
    '127.1',
    '8.8.2056',
    '①②⑦.⓪.⓪.①',
    'ｅxample.com',
    'ex%61mple.com',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[0:0:0:0:0:0:0:1]',
    'example.com.',
  ])('E03 refuses other spellings of a host, private addresses allowed or not: %s', (host) => {
    expect(findUrlProblem(`https://${host}/`, publicOnly)).not.toBeNull();
    expect(findUrlProblem(`https://${host}/`, withPrivate)).not.toBeNull();
  });

  it.each([
    'file:///etc/passwd',
    'gopher://example.com/',
    'ws://example.com/',
    'ftp://example.com/',
    'javascript:alert(1)',
    'https:/example.com',
    'https:\\\\example.com\\',
    '//example.com',
    'https://user:canary-7d1@example.com/',
    'https://canary-7d1@example.com/',
    'https://example.com/#canary-7d1',
    'https://example.com/\ncanary-7d1',
    'https://example.com:22/',
    'https://example.com:6667/',
    'http://example.com/',
    'canary-7d1',
    '',
  ])('E06 refuses the scheme, user information, fragment or port without quoting it: %j', (url) => {
    const problem = findUrlProblem(url, publicOnly);
    expect(problem).not.toBeNull();
    expect(problem).not.toContain('canary-7d1');
    const error = refusalOf(url);
    expect(error.code).toBe('EGRESS_DENIED');
    expect(JSON.stringify([error.message, error.options])).not.toContain('canary');
  });

  it('accepts plain public URLs and keeps their parts', () => {
    expect(parseDestination('https://api.example.com/v1?a=b', publicOnly)).toEqual({
      origin: 'https://api.example.com',
      pathname: '/v1',
      search: '?a=b',
    });
    expect(findUrlProblem('https://xn--bcher-kva.example.com:8443/', publicOnly)).toBeNull();
    expect(findUrlProblem('https://93.184.216.34/', publicOnly)).toBeNull();
    expect(findUrlProblem('https://[2606:4700::1111]/', publicOnly)).toBeNull();
  });

  it('holds a service to its hosts', () => {
    const rules = { allowHosts: ['api.example.com', '*.example.org'], allowPrivate: false };
    expect(findUrlProblem('https://api.example.com/', rules)).toBeNull();
    expect(findUrlProblem('https://eu.api.example.org/', rules)).toBeNull();
    expect(findUrlProblem('https://example.org/', rules)).not.toBeNull();
    expect(findUrlProblem('https://evilexample.org/', rules)).not.toBeNull();
    expect(findUrlProblem('https://api.example.com.evil.net/', rules)).not.toBeNull();
  });
});

describe('addresses', () => {
  it('E02 never calls an address public that carries a private IPv4 address', () => {
    const octet = fc.integer({ min: 0, max: 255 });
    fc.assert(
      fc.property(fc.constantFrom(127, 10), octet, octet, octet, (a, b, c, d) => {
        const high = ((a << 8) | b).toString(16);
        const low = ((c << 8) | d).toString(16);
        for (const text of [
          `${a}.${b}.${c}.${d}`,
          `::ffff:${high}:${low}`,
          `::${high}:${low}`,
          `2002:${high}:${low}::1`,
          `64:ff9b::${high}:${low}`,
          `::ffff:0:${high}:${low}`,
        ]) {
          expect(classifyAddress(text)).not.toBe('public');
        }
      }),
    );
  });

  it('E03 holds what is no address to be forbidden', () => {
    for (const text of [
      '',
      'localhost',
      '127.1',
      '0x7f.0.0.1',
      '1.2.3.4.5',
      'fe80::1%eth0',
      '2606:4700::1%lo',
    ]) {
      expect(classifyAddress(text)).toBe('forbidden');
    }
  });
});

function refusalOf(url: string): AppError {
  try {
    parseDestination(url, publicOnly);
  } catch (error) {
    if (error instanceof AppError) return error;
  }
  throw new Error('it was accepted');
}
