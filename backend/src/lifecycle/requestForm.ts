/**
 * What a request has to be before any program looks at it: one Host, a target that is a path, a method that somebody
 * serves. Everything else is refused in a few bytes without saying why, since two readers could take it for two things.
 */
import type { IncomingMessage } from 'node:http';

const served: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
export const servedMethods = [...served].join(', ');

/**
 * Gives the status to refuse the request with, or null when it may go on. A target in absolute form becomes its path, and
 * its authority stands for the Host header from then on, whatever that said (RFC 9112 §3.2.2): the guard sees the one that
 * counts.
 */
export function findMisshapen(request: IncomingMessage): 400 | 405 | null {
  if (!served.has(request.method ?? '')) return 405;
  if (namesSeveralHosts(request.rawHeaders)) return 400;
  const { url = '' } = request;
  if (url.charCodeAt(0) === slash) return null;
  const [, authority, rest = ''] = absoluteForm.exec(url) ?? [];
  if (authority === undefined) return 400;
  request.url = rest.startsWith('/') ? rest : `/${rest}`;
  request.headers.host = authority;
  return null;
}

const slash = 0x2f;
const absoluteForm = /^https?:\/\/([^/?#@]+)(.*)$/i;

/** Node keeps the first and drops the others; whoever stands before us may have kept the last (RFC 9112 §3.2). */
function namesSeveralHosts(rawHeaders: readonly string[]): boolean {
  let found = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    if (name.length === 4 && name.toLowerCase() === 'host') found += 1;
  }
  return found > 1;
}
