/**
 * Which URLs may be called, told from their text alone: when a service's file is read, when a form is saved, and again
 * when a request is made. No name is looked up; addresses behind names are checked as the connection is made
 * (`egress/guardedConnector.ts`).
 *
 * A URL is refused when its text is not what a parser makes of it: `0x7f.1`, `①②⑦.0.0.1` and `[::ffff:7f00:1]` are other
 * spellings of an address that would be refused under its own name (WHATWG URL, "host parsing").
 */
import { isIP } from 'node:net';
import { isAddressAllowed } from './addressRules.js';

export interface EgressRules {
  /** Host names in lower case; `*.` at the front stands for any number of labels. Null: any public host. */
  readonly allowHosts: readonly string[] | null;
  /** Loopback and private networks too, and plain `http`. Only an admin's file may say so. */
  readonly allowPrivate: boolean;
}

const localNames = /(?:^|\.)(?:localhost|local|internal|intranet|lan|home|corp|private|home\.arpa)$/;

/** Ports above 1023 that speak something else than HTTP (the Fetch standard's "bad port" list). */
const foreignPorts: ReadonlySet<number> = new Set([
  1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697,
  10080,
]);

/**
 * Says what is wrong with a URL, in words that never quote it, or null when it may be used.
 * It needs no network, so that a form can ask it before anything is saved.
 */
export function findUrlProblem(text: string, rules: EgressRules): string | null {
  const authority = /^[a-z][a-z0-9+.-]*:\/\/([^/?#\\]*)/i.exec(text)?.[1];
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (authority === undefined || /[\s\u0000-\u001f\u007f\\]/.test(text) || !URL.canParse(text)) {
    return 'is not an absolute URL';
  }
  const url = new URL(text);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && rules.allowPrivate)) {
    return rules.allowPrivate ? 'must be an http or https URL' : 'must be an https URL';
  }
  if (authority.includes('@')) return 'must not contain a user name or password';
  if (url.hash !== '') return 'must not have a fragment';
  if (!isPlainHost(authority, url)) {
    return 'must name its host in the plain form: a lower-case name, four decimal numbers, or a short IPv6 address';
  }
  return findHostProblem(url.hostname, rules) ?? findPortProblem(url.port);
}

export function isHostAllowed(hostname: string, allowHosts: readonly string[] | null): boolean {
  if (allowHosts === null) return true;
  return allowHosts.some((allowed) =>
    allowed.startsWith('*.') ? hostname.endsWith(allowed.slice(1)) : hostname === allowed,
  );
}

function isPlainHost(authority: string, url: URL): boolean {
  const host = authority.replace(/:\d*$/, '').toLowerCase();
  return host === url.hostname && !host.endsWith('.');
}

function findHostProblem(hostname: string, rules: EgressRules): string | null {
  const address = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  if (isIP(address) !== 0) {
    if (!isAddressAllowed(address, rules.allowPrivate)) return 'leads to an address that is not allowed';
  } else if (!rules.allowPrivate && (!hostname.includes('.') || localNames.test(hostname))) {
    return 'names a host of this machine or its network';
  }
  return isHostAllowed(hostname, rules.allowHosts)
    ? null
    : 'names a host that this service is not allowed to call';
}

function findPortProblem(port: string): string | null {
  if (port === '' || port === '80') return null;
  const number = Number(port);
  return number < 1024 || foreignPorts.has(number) ? 'has a port that does not speak HTTP' : null;
}
