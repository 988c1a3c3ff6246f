import { describe, expect, it } from '@jest/globals';
import { addressMatcher, toAddressBlock } from '../../backend/src/addresses/addressBlocks.js';

describe('blocks of addresses', () => {
  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['192.0.2.7/32', '192.0.2.7'],
    ['10.1.2.3/8', '10.0.0.0/8'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['::ffff:10.1.2.3', '10.1.2.3'],
    ['::ffff:10.1.2.3/104', '10.0.0.0/8'],
    ['2001:DB8::1/32', '2001:db8::/32'],
    ['::/0', '::/0'],
  ])('have one spelling: %s is %s', (text, block) => {
    expect(toAddressBlock(text)).toBe(block);
  });

  it.each([
    '',
    'localhost',
    '10.0.0.0/33',
    '::/129',
    '10.0.0',
    '010.0.0.1',
    '0x0a.0.0.1',
    '167772161',
    '10.0.0.0/',
    '10.0.0.0/-1',
    'fe80::1%eth0',
    ' 10.0.0.1',
    '10.0.0.1/8/8',
  ])('refuse %p', (text) => {
    expect(toAddressBlock(text)).toBeNull();
    expect(() => addressMatcher([text])).toThrow(RangeError);
  });

  it('hold an address in either form of IPv4, and none of the other family', () => {
    const isIn = addressMatcher(['10.0.0.0/8', '2001:db8::/32', '::ffff:192.0.2.0/120']);
    for (const address of ['10.255.0.1', '::ffff:10.0.0.1', '2001:db8:1::', '192.0.2.9'])
      expect([address, isIn(address)]).toEqual([address, true]);
    for (const address of ['11.0.0.1', '::ffff:11.0.0.1', '2001:db9::', '::', '192.0.3.1', '::a00:1'])
      expect([address, isIn(address)]).toEqual([address, false]);
    expect(addressMatcher(['::/0'])('10.0.0.1')).toBe(false);
    expect(addressMatcher(['0.0.0.0/0'])('::1')).toBe(false);
  });
});
