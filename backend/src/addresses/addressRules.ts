/**
 * Which IP addresses a service may be reached at. The ranges are those of the IANA special-purpose registries
 * (RFC 6890 and what updates it), by ipaddr.js.
 */
import ipaddr from 'ipaddr.js';

/**
 * `public`: anybody's. `private`: this machine or its network, for services whose admin allowed it. `forbidden`: never,
 * whatever a config says (link-local with its metadata services, multicast, and every form that hides another address).
 */
export type AddressClass = 'public' | 'private' | 'forbidden';

const privateRanges: ReadonlySet<string> = new Set(['loopback', 'private', 'carrierGradeNat', 'uniqueLocal']);

/** The one block of IPv6 that is global unicast (RFC 4291 §2.4); `::a.b.c.d` and its like lie outside. */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3');

/** @param address in its usual form; what is no IP address at all is `forbidden`. */
export function classifyAddress(address: string): AddressClass {
  if (ipaddr.IPv4.isValidFourPartDecimal(address)) return classOfRange(ipaddr.IPv4.parse(address).range());
  if (!ipaddr.IPv6.isValid(address) || address.includes('%')) return 'forbidden';
  const parsed = ipaddr.IPv6.parse(address);
  const range = parsed.range();
  if (range === 'unicast' && !parsed.match(globalUnicast)) return 'forbidden';
  return classOfRange(range);
}

export function isAddressAllowed(address: string, allowPrivate: boolean): boolean {
  const found = classifyAddress(address);
  return found === 'public' || (found === 'private' && allowPrivate);
}

function classOfRange(range: string): AddressClass {
  if (range === 'unicast') return 'public';
  return privateRanges.has(range) ? 'private' : 'forbidden';
}
