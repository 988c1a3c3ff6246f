/** The guarded egress in the form that the MCP SDK's OAuth functions call: they see no other way out. */
import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { OAuthEgress, OAuthRequest } from './oauthEgress.js';

const passedHeaders = ['content-type', 'www-authenticate', 'location'] as const;
const withoutBody: ReadonlySet<number> = new Set([204, 205, 304]);

/** The fetch throws what `OAuthEgress.send` throws; redirects are answers like others. */
export function toFetch(egress: OAuthEgress): FetchLike {
  return async (url, init = {}) => {
    const { body, method = 'GET' } = init;
    if (body !== undefined && body !== null && typeof body !== 'string') {
      throw new Error('the guarded egress takes text');
    }
    const request: OAuthRequest = {
      method: toMethod(method),
      url: String(url),
      headers: Object.fromEntries(new Headers(init.headers)),
      ...(typeof body === 'string' ? { body } : {}),
    };
    const answer = await egress.send(request, init.signal ?? undefined);
    const headers = new Headers();
    for (const name of passedHeaders) {
      const value = answer.headers[name];
      if (typeof value === 'string') headers.set(name, value);
    }
    const { status } = answer;
    return new Response(withoutBody.has(status) ? null : new Uint8Array(answer.body), { status, headers });
  };
}

function toMethod(method: string): OAuthRequest['method'] {
  if (method === 'GET' || method === 'POST' || method === 'DELETE') return method;
  throw new Error('the guarded egress takes GET, POST and DELETE');
}
