/**
 * `tools/list` of a passed client where the tools are pinned: asked of the upstream in the client's place and as it asked,
 * and answered with what may be shown. No byte of the list passes unexamined.
 */
import type { JsonRpcRequest, JsonRpcResponse } from '../../protocol/jsonRpc.js';
import type { Era } from '../../protocol/revisions.js';
import type { UpstreamConnection } from '../../upstream/upstream.js';
import type { PinnedInstance, ToolPins } from '../toolPins.js';
import { askUpstream } from './askUpstream.js';
import { isSessionLost } from './lostSession.js';
import type { PassContext, PassedRequest } from './passContext.js';
import { unusable } from './passedFailure.js';
import type { PassedSession } from './passedSession.js';

export interface AskingSession {
  readonly era: Era;
  readonly session: PassedSession | null;
}

/** A connection for requests of our own in a client's session, whose lists are examined where tools are pinned. */
export function toAskedConnection(
  pass: PassContext,
  from: PassedRequest,
  { era, session }: AskingSession,
  headers: readonly string[],
): Pick<UpstreamConnection, 'era' | 'request'> {
  const { pins } = pass.ctx;
  return {
    era,
    async request(request, _listener, signal) {
      const response = await ask(pass, from, { era, session }, headers, request, signal);
      return pins === null ? response : await examine(pins, from.instance, request, response);
    },
  };
}

async function examine(
  pins: ToolPins,
  instance: PinnedInstance,
  request: JsonRpcRequest,
  response: JsonRpcResponse,
): Promise<JsonRpcResponse> {
  if ('error' in response) return { jsonrpc: '2.0', id: request.id, error: response.error };
  const { result } = response;
  if (request.method !== 'tools/list') return { jsonrpc: '2.0', id: request.id, result };
  const examined = await pins.examine(instance, request.params?.['cursor'], result);
  return { jsonrpc: '2.0', id: request.id, result: examined };
}

/** Renews the session where the upstream lost it, once: what it did not know it did not do. */
async function ask(
  { raw, sessions }: PassContext,
  { instance, origin }: PassedRequest,
  { session }: AskingSession,
  headers: readonly string[],
  request: JsonRpcRequest,
  signal: AbortSignal,
): Promise<JsonRpcResponse> {
  for (let isRetry = false; ; isRetry = true) {
    if (session !== null && session.upstream === null) await sessions.renew(session, origin);
    const sessionId = session?.upstream?.id ?? null;
    const { response, status } = await askUpstream({ raw, instance, sessionId, headers }, request, signal);
    const isLost = isSessionLost(status, Buffer.from(JSON.stringify(response)));
    if (!isLost || isRetry || session === null || sessionId === null) {
      if (response !== null) return response;
      throw unusable(status);
    }
    session.lose(sessionId);
  }
}
