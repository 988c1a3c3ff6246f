/**
 * Where a remote MCP server stands and what it is sent with every message, rendered for one opened credential. The result
 * lives as long as the values that it was made from: those are kept ≤5 s since their last use and void with every change
 * of the instance (12.17), and whoever opens them anew gets a new target.
 */
import type { RemoteDefinition } from '../../../../catalog/mcpServerDefinitions.js';
import { isHeaderSafe, renderValue } from '../../../../catalog/template.js';
import type { Destination } from '../../../../egress/destination.js';
import { identityCoding } from '../../../../egress/egressStream.js';
import { AppError } from '../../../../errors/appError.js';
import type { CredentialValues } from '../../../../services/credentialValues.js';

export interface RemoteTarget {
  /** As rendered; it may hold a secret in its query, so that it is shown to nobody. */
  readonly url: string;
  readonly destination: Destination;
  /** Path and query as they go on the wire. */
  readonly path: string;
  /** Name, value, …: what the service's file asks for; the protocol's own headers are put behind these. */
  readonly headers: readonly string[];
}

/** @throws AppError EGRESS_DENIED, CREDENTIAL_MISSING, INVALID_REQUEST (a stored value that no header can carry) */
export type ToRemoteTarget = (values: CredentialValues) => RemoteTarget;

/** Headers that say how a message is written; the protocol settles them, whatever a file says. */
const protocolsOwn: ReadonlySet<string> = new Set(['accept', 'accept-encoding', 'content-type']);

export const userAgent = 'Portolan';

export function createRemoteTargets(
  remote: Pick<RemoteDefinition, 'url' | 'headers' | 'auth'>,
  parse: (url: string) => Destination,
): ToRemoteTarget {
  const templates = Object.entries(remote.headers).filter(([name]) => !protocolsOwn.has(name.toLowerCase()));
  const names = new Set(templates.map(([name]) => name.toLowerCase()));
  const made = new WeakMap<CredentialValues, RemoteTarget>();

  const render = (values: CredentialValues): RemoteTarget => {
    const url = renderValue(remote.url, values, 'url') ?? '';
    const destination = parse(url);
    const headers: string[] = [...identityCoding];
    if (!names.has('user-agent')) headers.push('user-agent', userAgent);
    for (const [name, template] of templates) {
      const value = renderValue(template, values, 'header');
      if (value !== null) headers.push(name, value);
    }
    if (remote.auth === 'mcp-oauth' && !names.has('authorization')) {
      headers.push('authorization', toBearer(values));
    }
    return { url, destination, path: destination.pathname + destination.search, headers };
  };

  return (values) => {
    const known = made.get(values);
    if (known !== undefined) return known;
    const fresh = render(values);
    made.set(values, fresh);
    return fresh;
  };
}

/** RFC 6750 §2.1 */
function toBearer({ token }: CredentialValues): string {
  if (token === null || token === '') {
    throw new AppError('CREDENTIAL_MISSING', 'the remote server asks for a bearer token and there is none');
  }
  if (!isHeaderSafe(token)) {
    throw new AppError('INVALID_REQUEST', 'a bearer token does not fit a header', {
      publicDetail:
        'The stored credential contains characters that no HTTP header can carry. Enter it again.',
    });
  }
  return `Bearer ${token}`;
}
