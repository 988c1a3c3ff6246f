/**
 * Whose address a request came from. The front states it in a header that it signs with the front key, since everything
 * that reaches the inner listeners comes from the loopback. A forwarded header from anybody else is ignored, unless
 * `TRUST_PROXY` names the address that it came from (12.1).
 *
 * The header is `<address> <second> <mac>`: the mac is HMAC-SHA256 under the front key, the second is Unix time. A
 * statement is believed for a minute, so that one that leaked into a log is soon worth nothing.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { addressMatcher } from '../addresses/addressBlocks.js';

export const clientAddressHeader = 'x-portolan-client';

const validSeconds = 60;

/** The header's value for a client of that address. */
export function signClientAddress(frontKey: Buffer, address: string, nowMs: number): string {
  const statement = `${address} ${Math.floor(nowMs / 1000)}`;
  return `${statement} ${mac(frontKey, statement)}`;
}

/** Signs as `signClientAddress` does, once a second for each address. */
export function clientAddressSigner(frontKey: Buffer): (address: string, nowMs: number) => string {
  let signedIn = Number.NaN;
  const signed = new Map<string, string>();
  return (address, nowMs) => {
    const second = Math.floor(nowMs / 1000);
    if (second !== signedIn) signed.clear();
    signedIn = second;
    const statement = signed.get(address) ?? signClientAddress(frontKey, address, nowMs);
    signed.set(address, statement);
    return statement;
  };
}

/** The address that a signed header states; null when it is forged, stale or malformed. */
export function readSignedAddress(frontKey: Buffer, header: string, nowMs: number): string | null {
  const match = /^([0-9A-Fa-f.:]{2,45}) (\d{1,12}) ([\w-]{43})$/.exec(header);
  if (match === null) return null;
  const [, address, second, given] = match as unknown as [string, string, string, string];
  const expected = Buffer.from(mac(frontKey, `${address} ${second}`));
  if (!timingSafeEqual(expected, Buffer.from(given))) return null;
  const ageSeconds = Math.floor(nowMs / 1000) - Number(second);
  return isIP(address) !== 0 && Math.abs(ageSeconds) <= validSeconds ? address : null;
}

export interface ClientAddressOptions {
  /** Null where no front signs: the key is not there yet. */
  readonly frontKey: Buffer | null;
  readonly trustProxy: readonly string[];
  readonly now?: () => number;
}

/** Tells the client's address of a request: the signed one, the one a trusted proxy forwards, else the socket's. */
export function clientAddressReader(
  options: ClientAddressOptions,
): (request: Pick<IncomingMessage, 'headers' | 'socket'>) => string | null {
  const { frontKey, trustProxy, now = Date.now } = options;
  const isTrusted = addressMatcher(trustProxy);
  // The loopback's few texts come with every request, and reading one costs more than the rest of this function.
  let last: {
    readonly text: string | undefined;
    readonly address: string | null;
    readonly isProxy: boolean;
  } | null = null;
  const readSocket = (text: string | undefined) => {
    if (last?.text === text && last !== null) return last;
    const address = plainAddress(text);
    last = { text, address, isProxy: address !== null && isTrusted(address) };
    return last;
  };
  return (request) => {
    const signed = request.headers[clientAddressHeader];
    if (frontKey !== null && typeof signed === 'string') {
      const address = readSignedAddress(frontKey, signed, now());
      if (address !== null) return address;
    }
    const { address, isProxy } = readSocket(request.socket.remoteAddress);
    return isProxy ? (forwardedAddress(request.headers['x-forwarded-for'], isTrusted) ?? address) : address;
  };
}

/** The nearest address of `X-Forwarded-For`, from the right, that is not a trusted proxy's own. */
function forwardedAddress(
  header: string | readonly string[] | undefined,
  isTrusted: (address: string) => boolean,
): string | null {
  const hops = (typeof header === 'string' ? header : (header ?? []).join(',')).split(',');
  for (const hop of hops.toReversed()) {
    const address = plainAddress(hop.trim());
    if (address === null) return null;
    if (!isTrusted(address)) return address;
  }
  return null;
}

/** An address in its usual text; IPv4 that came mapped into IPv6 is IPv4. */
export function plainAddress(text: string | undefined): string | null {
  if (text === undefined || isIP(text) === 0) return null;
  return ipaddr.process(text).toString();
}

function mac(frontKey: Buffer, statement: string): string {
  return createHmac('sha256', frontKey).update(statement).digest('base64url');
}
