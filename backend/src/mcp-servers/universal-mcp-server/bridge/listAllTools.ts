/** Asks an upstream for all of its tools, where the policy has to know them before one is called. */
import { toEnvelope } from '../protocol/envelope.js';
import type { JsonObject } from '../protocol/jsonRpc.js';
import type { UpstreamConnection } from '../upstream/upstream.js';
import { toolsOf } from './shownLists.js';

const pagesMax = 50;
const bridgeClient = { clientInfo: { name: 'portolan', version: '0.1.0' }, capabilities: {} };
/** Hears nothing of what belongs to a request of our own. */
export const deaf = {
  onNotification() {},
  onServerRequest: () => Promise.reject(new Error('nobody is there to answer')),
};

/** Null when the upstream refuses. @throws what the connection throws */
export async function listAllTools(
  connection: Pick<UpstreamConnection, 'era' | 'request'>,
  signal: AbortSignal,
): Promise<readonly JsonObject[] | null> {
  const found: JsonObject[] = [];
  let cursor: unknown;
  for (let page = 0; page < pagesMax; page += 1) {
    const params = {
      ...(cursor === undefined ? {} : { cursor }),
      ...(connection.era === 'modern' ? { _meta: toEnvelope(bridgeClient) } : {}),
    };
    const request = { jsonrpc: '2.0', id: 'policy', method: 'tools/list', params } as const;
    const response = await connection.request(request, deaf, signal);
    if ('error' in response) return null;
    found.push(...toolsOf(response.result));
    cursor = response.result['nextCursor'];
    if (cursor === undefined) break;
  }
  return found;
}
