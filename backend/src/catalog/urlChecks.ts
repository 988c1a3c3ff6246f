/**
 * What a URL of a config must keep (E01–E03, E06): everything that the egress client asks of it when it connects, so that
 * the admin hears of a bad one when the file is read, with its place, rather than when the service starts.
 */
import { findUrlProblem } from '../addresses/urlProblem.js';

export type UrlVerdict = { readonly url: URL } | { readonly message: string };

/** A URL that the file fixes is allowed by itself, so `egress.allowHosts` is not asked. The message never quotes it. */
export function checkUrl(text: string, { allowPrivate }: { readonly allowPrivate: boolean }): UrlVerdict {
  const always = findUrlProblem(text, { allowHosts: null, allowPrivate: true });
  if (always !== null) return { message: always };
  const here = findUrlProblem(text, { allowHosts: null, allowPrivate });
  if (here !== null) return { message: `${here}; set egress.allowPrivate if that is meant` };
  return { url: new URL(text) };
}
