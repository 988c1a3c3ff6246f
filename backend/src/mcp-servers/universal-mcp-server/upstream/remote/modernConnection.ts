/**
 * A remote server of the modern era (MCP 2026-07-28, "Streamable HTTP"): no session, every request one POST whose headers
 * repeat what the body says; closing it is the cancellation. Arguments that a tool wants in headers are known from the
 * last list of tools; a call that the server refuses for its headers is sent once more with a fresh list.
 */
import { AppError } from '../../../../errors/appError.js';
import {
  isJsonObject,
  shapeOf,
  type JsonObject,
  type JsonRpcFailure,
  type JsonRpcRequest,
  type JsonRpcResponse,
} from '../../protocol/jsonRpc.js';
import type { BackgroundListener, RequestListener, ServerTerms, UpstreamConnection } from '../upstream.js';
import { exchangeMessages } from './messageExchange.js';
import { findParamHeaders, toModernHeaders, toParamHeaders, type ParamHeader } from './modernHeaders.js';
import { ownEnvelope } from './ownTerms.js';
import type { MessageOwner } from './rawCall.js';
import type { RawHead } from './rawUpstream.js';
import type { RemoteParts } from './remoteParts.js';
import { deafListener } from './sessionRouter.js';
import { toModernTerms } from './serverTerms.js';
import { toStatusError } from './statusErrors.js';
import { withDeadline } from './withDeadline.js';

/** What is known of a server for one instance: worth keeping between conversations, and nothing of it secret. */
export interface ModernKnowledge {
  readonly server: ServerTerms;
  /** By tool name; a tool that is absent wants none, or has not been listed. */
  readonly paramHeaders: Map<string, readonly ParamHeader[]>;
}

export interface ModernConnection extends UpstreamConnection {
  close(reason: AppError): void;
}

const headerMismatch = -32020;
const listPagesMax = 50;
const learnedToolsMax = 2_000;

/** @throws WrongEra; AppError of the exchange; the signal's reason. */
export async function discover(
  parts: RemoteParts,
  owner: MessageOwner,
  signal: AbortSignal,
): Promise<ModernKnowledge> {
  const request = {
    jsonrpc: '2.0',
    id: 0,
    method: 'server/discover',
    params: { _meta: ownEnvelope },
  } as const;
  const response = await withDeadline(parts.definition.limits.timeoutMs, signal, (bounded) =>
    ask(parts, owner, request, [], deafListener, bounded),
  );
  return { server: toModernTerms(response), paramHeaders: new Map() };
}

export function connectModern(
  parts: RemoteParts,
  owner: MessageOwner,
  { server, paramHeaders }: ModernKnowledge,
  onEnd: () => void,
): ModernConnection {
  const closing = new AbortController();
  const listeners = new Set<BackgroundListener>();

  const learn = ({ result }: { readonly result: JsonObject }): void => {
    const tools = Array.isArray(result['tools']) ? (result['tools'] as unknown[]) : [];
    for (const tool of tools.filter(isJsonObject)) {
      const name = String(tool['name']);
      const wanted = findParamHeaders(tool['inputSchema']);
      // Most tools want none; what a server invents anew with each list may not add up.
      if (wanted.length === 0) paramHeaders.delete(name);
      else if (paramHeaders.size < learnedToolsMax || paramHeaders.has(name)) paramHeaders.set(name, wanted);
    }
  };
  const relist = async (meta: unknown, signal: AbortSignal): Promise<void> => {
    paramHeaders.clear();
    let cursor: unknown;
    for (let page = 0; page < listPagesMax; page += 1) {
      const params = { _meta: meta, ...(cursor === undefined ? {} : { cursor }) };
      const list = { jsonrpc: '2.0', id: page, method: 'tools/list', params } as const;
      const response = await ask(parts, owner, list, [], deafListener, signal);
      if ('error' in response) return;
      learn(response);
      cursor = response.result['nextCursor'];
      if (cursor === undefined) return;
    }
  };
  const headersOf = ({ method, params }: JsonRpcRequest): string[] => {
    if (method !== 'tools/call') return [];
    const wanted = paramHeaders.get(String(params?.['name'])) ?? [];
    const given = params?.['arguments'];
    return wanted.length === 0 ? [] : toParamHeaders(wanted, isJsonObject(given) ? given : {});
  };
  const send = async (
    request: JsonRpcRequest,
    listener: RequestListener,
    signal: AbortSignal,
  ): Promise<JsonRpcResponse> => {
    const response = await ask(parts, owner, request, headersOf(request), listener, signal);
    if ('error' in response) {
      // The server looked at the headers alone, so the call has not run.
      if (request.method !== 'tools/call' || response.error.code !== headerMismatch) return response;
      await relist(request.params?.['_meta'], signal);
      return await ask(parts, owner, request, headersOf(request), listener, signal);
    }
    if (request.method === 'tools/list') learn(response);
    return response;
  };

  const end = (reason: AppError): void => {
    if (closing.signal.aborted) return;
    closing.abort(reason);
    for (const listener of Array.from(listeners)) listener.onClosed();
    listeners.clear();
    onEnd();
  };
  const connection: ModernConnection = {
    era: 'modern',
    server,
    get isLost() {
      return closing.signal.aborted;
    },
    async request(request, listener, signal) {
      if (closing.signal.aborted)
        throw new AppError('UPSTREAM_UNREACHABLE', 'not sent: the connection is closed');
      const own = new AbortController();
      const follow = (): void => own.abort(signal.aborted ? signal.reason : closing.signal.reason);
      if (signal.aborted) follow();
      signal.addEventListener('abort', follow);
      closing.signal.addEventListener('abort', follow);
      try {
        return await send(request, listener, own.signal);
      } finally {
        signal.removeEventListener('abort', follow);
        closing.signal.removeEventListener('abort', follow);
      }
    },
    // A client of this era says nothing outside of its requests.
    notify() {},
    listen(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    release() {
      listeners.clear();
      end(new AppError('UPSTREAM_FAILED', 'the conversation is over'));
    },
    close: end,
  };
  return connection;
}

/** One request, one answer; what else stands on it is told to the listener. */
function ask(
  parts: RemoteParts,
  owner: MessageOwner,
  request: JsonRpcRequest,
  paramHeaders: readonly string[],
  listener: RequestListener,
  signal: AbortSignal,
): Promise<JsonRpcResponse> {
  return new Promise((resolve, reject) => {
    let refusal: JsonRpcFailure | null = null;
    const onMessage = (message: unknown): void => {
      switch (shapeOf(message)) {
        case 'response': {
          const response = message as JsonRpcResponse;
          if (response.id === request.id) resolve(response);
          else if ('error' in response) refusal = response;
          return;
        }
        case 'notification':
          return listener.onNotification(message as Parameters<RequestListener['onNotification']>[0]);
        case 'request':
          // A server of this era asks by its result (`input_required`), never by a request.
          return;
        case 'invalid':
          throw new AppError('UPSTREAM_FAILED', 'the remote server sent JSON that is no message', {
            publicDetail: 'The service behind sent something that is no MCP message.',
          });
      }
    };
    const onOver = ({ status }: RawHead): void => {
      if (refusal !== null) return resolve({ ...refusal, id: request.id });
      if (status >= 300) return reject(toStatusError({ status, header: () => null }, owner.instance));
      reject(
        new AppError('UPSTREAM_FAILED', 'the remote server ended its answer without a response', {
          publicDetail: 'The service behind ended its answer before it was complete.',
        }),
      );
    };
    const isStream = request.method === 'subscriptions/listen';
    exchangeMessages(
      parts,
      owner,
      {
        lane: isStream ? 'stream' : 'call',
        method: 'POST',
        body: Buffer.from(JSON.stringify(request)),
        sessionId: null,
        headers: [...toModernHeaders(request), ...paramHeaders],
        // How long a tool may say nothing is the caller's to bound.
        quietTimeoutMs: 0,
      },
      { onMessage },
      signal,
    ).then(onOver, reject);
  });
}
