/**
 * What a fixed URL of a config must keep (E06, and E01–E03 for literal addresses): http or https, no user name or
 * password, and no private address unless the service's `egress` allows it. The egress client checks again when it
 * connects; this is so that the admin hears of it when the file is read.
 */
import ipaddr from 'ipaddr.js';

export type UrlVerdict = { readonly url: URL } | { readonly message: string };

export function checkUrl(text: string, options: { readonly allowPrivate: boolean }): UrlVerdict {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null) return { message: 'is not a valid absolute URL' };
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    return { message: 'must be an http or https URL' };
  if (url.username !== '' || url.password !== '') {
    return { message: 'must not carry a user name or password; use a header with a credential instead' };
  }
  if (url.hash !== '') return { message: 'must not have a fragment' };
  if (!options.allowPrivate && isPrivateHost(url.hostname)) {
    return { message: 'leads to a loopback or private address; set egress.allowPrivate if that is meant' };
  }
  return { url };
}

/** Only for names and literals that say so by themselves; what a name resolves to is known when connecting. */
export function isPrivateHost(hostname: string): boolean {
  const host = hostname
    .toLowerCase()
    .replace(/\.$/, '')
    .replace(/^\[|\]$/g, '');
  if (host === 'localhost' || host.endsWith('.localhost') || host.endsWith('.internal')) return true;
  return ipaddr.isValid(host) && ipaddr.process(host).range() !== 'unicast';
}
