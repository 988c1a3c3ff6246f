/**
 * The probe of MCP upstreams without a declared one: a credential with which the server starts, initializes and lists its
 * tools is taken as good (12.10).
 */
import { toAppError } from '../../../errors/appError.js';
import { toEnvelope } from '../protocol/envelope.js';
import type { ProbeOutcome, RequestListener, UpstreamConnection } from './upstream.js';

export async function probeByListing(
  connect: () => Promise<UpstreamConnection>,
  signal: AbortSignal,
): Promise<ProbeOutcome> {
  let connection: UpstreamConnection | null = null;
  try {
    connection = await connect();
    if (connection.server.capabilities['tools'] === undefined) return { outcome: 'accepted' };
    const params = connection.era === 'modern' ? { _meta: toEnvelope(prober) } : {};
    const request = { jsonrpc: '2.0', id: 'probe', method: 'tools/list', params } as const;
    const response = await connection.request(request, askedNothing, signal);
    if (!('error' in response)) return { outcome: 'accepted' };
    return {
      outcome: 'rejected',
      reason: 'The server started but would not list its tools with this credential.',
    };
  } catch (error) {
    const { code, form, options } = toAppError(error);
    const reason = options.publicDetail ?? form.title;
    if (refusals.has(code)) return { outcome: 'rejected', reason };
    return { outcome: 'unreachable', reason };
  } finally {
    connection?.release();
  }
}

/** What says that it is the credential that will not do, rather than the server or the way to it. */
const refusals: ReadonlySet<string> = new Set([
  'EXPIRED_CREDENTIALS',
  'CREDENTIAL_MISSING',
  'CREDENTIAL_REJECTED',
  'INVALID_REQUEST',
]);

const prober = { clientInfo: { name: 'portolan', version: '0.1.0' }, capabilities: {} };

const askedNothing: RequestListener = {
  onNotification() {},
  onServerRequest: (request) =>
    Promise.resolve({
      jsonrpc: '2.0',
      id: request.id,
      error: { code: -32601, message: 'nobody is there to answer during a probe' },
    }),
};
