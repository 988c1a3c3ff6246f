/**
 * Opens the sockets of the egress client. A host name is looked up once for each connection, every address it has is
 * checked, and the socket may go to exactly those: there is no second lookup that could answer otherwise (E05).
 */
import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { buildConnector } from 'undici';
import { AppError } from '../errors/appError.js';
import { isAddressAllowed } from '../addresses/addressRules.js';

/** Finds all addresses of a host name; the operating system's resolver by default. */
export type ResolveHost = (
  hostname: string,
  done: (error: Error | null, addresses: readonly LookupAddress[]) => void,
) => void;

export const systemResolver: ResolveHost = (hostname, done) =>
  dnsLookup(hostname, { all: true, verbatim: true }, (error, addresses) => done(error, addresses));

/**
 * @param connectTimeoutMs covers lookup, TCP and TLS.
 * @param ca PEM certificates that are trusted in place of the public ones.
 */
export function createGuardedConnector(options: {
  readonly allowPrivate: boolean;
  readonly connectTimeoutMs: number;
  readonly resolveHost: ResolveHost;
  readonly ca?: string;
}): buildConnector.connector {
  const { allowPrivate, connectTimeoutMs, resolveHost, ca } = options;
  const connect = buildConnector({
    timeout: connectTimeoutMs,
    allowH2: false,
    ...(ca === undefined ? {} : { ca }),
    lookup: createGuardedLookup(resolveHost, allowPrivate),
  });
  return (target, callback) => {
    // A literal address is never looked up, so that it has to be checked before the socket exists.
    const address = target.hostname.startsWith('[') ? target.hostname.slice(1, -1) : target.hostname;
    if (isIP(address) !== 0 && !isAddressAllowed(address, allowPrivate)) {
      process.nextTick(callback, addressDenied(), null);
      return;
    }
    connect(target, callback);
  };
}

/** The `lookup` that `net.connect` calls. One address out of bounds refuses the whole answer. */
export function createGuardedLookup(resolveHost: ResolveHost, allowPrivate: boolean): LookupFunction {
  return (hostname, options, callback) => {
    resolveHost(hostname, (error, addresses) => {
      const first = addresses?.[0];
      if (error !== null) return callback(error, '');
      if (first === undefined || !addresses.every((one) => isAddressAllowed(one.address, allowPrivate))) {
        return callback(addressDenied(), '');
      }
      if (options.all === true) return callback(null, [...addresses]);
      callback(null, first.address, first.family);
    });
  };
}

function addressDenied(): AppError {
  return new AppError('EGRESS_DENIED', 'a host resolves to an address that is not allowed', {
    publicDetail: 'The address of the service behind is not allowed.',
  });
}
