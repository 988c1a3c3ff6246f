/**
 * Blocks of IP addresses, as an admin or an owner writes them: a CIDR block or a single address. IPv4 mapped into IPv6
 * (RFC 4291 §2.5.5.2) is IPv4, in a block and in an address alike; by ipaddr.js.
 */
import ipaddr from 'ipaddr.js';

/**
 * Tells whether an address, in its usual text, lies in one of the blocks.
 * @throws RangeError when one of them is no block, so that nobody trusts a list that says less than it seems to.
 */
export function addressMatcher(blocks: readonly string[]): (address: string) => boolean {
  const ranges = blocks.map((block) => {
    const range = parseBlock(block);
    if (range === null) throw new RangeError('a block of addresses has an unknown form');
    return range;
  });
  return (address) => {
    const parsed = ipaddr.process(address);
    return ranges.some(([base, bits]) => parsed.kind() === base.kind() && parsed.match(base, bits));
  };
}

/** The block in one spelling, with the bits that it leaves open at 0; null when the text is no block. */
export function toAddressBlock(text: string): string | null {
  const range = parseBlock(text);
  if (range === null) return null;
  const [base, bits] = range;
  if (bits === hostBits(base)) return base.toString();
  const first =
    base.kind() === 'ipv4'
      ? ipaddr.IPv4.networkAddressFromCIDR(`${base.toString()}/${bits}`)
      : ipaddr.IPv6.networkAddressFromCIDR(`${base.toString()}/${bits}`);
  return `${first.toString()}/${bits}`;
}

type Block = readonly [ipaddr.IPv4 | ipaddr.IPv6, number];

function parseBlock(text: string): Block | null {
  const [, address = '', length] = /^([0-9A-Fa-f.:]{2,45})(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  // Octal, hexadecimal and short forms of IPv4 mean different addresses to different readers.
  const isIPv4 = ipaddr.IPv4.isValidFourPartDecimal(address);
  if (!isIPv4 && !ipaddr.IPv6.isValid(address)) return null;
  const written = isIPv4 ? ipaddr.IPv4.parse(address) : ipaddr.IPv6.parse(address);
  const bits = length === undefined ? hostBits(written) : Number(length);
  if (bits > hostBits(written)) return null;
  if (written instanceof ipaddr.IPv6 && written.isIPv4MappedAddress() && bits >= mappedBits) {
    return [written.toIPv4Address(), bits - mappedBits];
  }
  return [written, bits];
}

const mappedBits = 96;

function hostBits(address: ipaddr.IPv4 | ipaddr.IPv6): number {
  return address.kind() === 'ipv4' ? 32 : 128;
}
