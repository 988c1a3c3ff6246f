/**
 * Headers between two hops. What belongs to one connection stays there (RFC 9110 §7.6.1), and whatever says who the
 * client is comes from the front alone.
 */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { clientAddressHeader } from '../lifecycle/clientAddress.js';

const connectionHeaders = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];

const notInwards = new Set([
  ...connectionHeaders,
  'expect',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-real-ip',
  clientAddressHeader,
]);
const notOutwards = new Set(connectionHeaders);

/** The headers of the inner request, with the client's address as the front states it. */
export function toInnerHeaders(
  headers: IncomingHttpHeaders,
  statedAddress: string,
): Record<string, string | string[]> {
  const inner = withoutSome(headers, notInwards) as Record<string, string | string[]>;
  inner[clientAddressHeader] = statedAddress;
  return inner;
}

/** The headers of the answer to the client. */
export function toOuterHeaders(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  return withoutSome(headers, notOutwards);
}

function withoutSome(headers: IncomingHttpHeaders, without: ReadonlySet<string>): OutgoingHttpHeaders {
  const named = namedByConnection(headers.connection);
  const kept: OutgoingHttpHeaders = {};
  for (const name in headers) {
    const value = headers[name];
    if (value !== undefined && !without.has(name) && !named?.includes(name)) kept[name] = value;
  }
  return kept;
}

/** The headers that `Connection` names besides itself; undefined for what nearly every request says. */
function namedByConnection(value: string | undefined): readonly string[] | undefined {
  if (value === undefined || value === 'keep-alive' || value === 'close') return undefined;
  return value.toLowerCase().split(/\s*,\s*/);
}
