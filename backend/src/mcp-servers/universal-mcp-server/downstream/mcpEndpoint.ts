/**
 * Streamable HTTP of both eras at one path: the method and the body decide whose rules hold (MCP 2025-11-25 and
 * 2026-07-28, "Streamable HTTP"). It comes after the guard and after the instance was found.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { AppError } from '../../../errors/appError.js';
import type { SealedInstance } from '../../../services/instanceResolver.js';
import type { BridgeContext, RequestOrigin } from '../bridge/bridgeContext.js';
import { toFailureReply } from '../bridge/failureReply.js';
import type { LegacyBridge, LegacyRequest } from '../bridge/legacyBridge.js';
import type { ModernBridge } from '../bridge/modernBridge.js';
import type { JsonRpcId } from '../protocol/jsonRpc.js';
import { eraOf } from '../protocol/revisions.js';
import { answerBatch } from './batch.js';
import { classifyMessage, idOf, refuseUnknownRevision } from './classifyMessage.js';
import { createHttpReply, openEventStream, sendJson } from './httpReply.js';
import { readJsonBody } from './readJsonBody.js';

export interface McpEndpointOptions {
  readonly ctx: Pick<BridgeContext, 'definition' | 'log'>;
  readonly legacy: LegacyBridge;
  readonly modern: ModernBridge;
  readonly onStream: (response: ServerResponse) => void;
}

export type AnswerMcp = (
  from: { readonly instance: SealedInstance; readonly origin: RequestOrigin },
  request: IncomingMessage,
  response: ServerResponse,
) => Promise<void>;

export function createMcpEndpoint({ ctx, legacy, modern, onStream }: McpEndpointOptions): AnswerMcp {
  const batches = { ctx, legacy, onStream };
  const post = async (
    from: LegacyRequest,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> => {
    let id: JsonRpcId | null = null;
    try {
      refuseUnacceptable(request, ['application/json', 'text/event-stream']);
      const body = await readJsonBody(request, ctx.definition.limits.maxRequestBytes);
      if (Array.isArray(body)) return await answerBatch(batches, from, body, request, response);
      id = idOf(body);
      const classified = classifyMessage(body, {
        protocolVersion: headerOf(request, 'mcp-protocol-version'),
        method: headerOf(request, 'mcp-method'),
        name: headerOf(request, 'mcp-name'),
      });
      switch (classified.kind) {
        case 'legacyRequest':
          return await legacy.request(from, classified.message, createHttpReply({ response, onStream }));
        case 'modernRequest':
          return await modern.request(from, classified.message, createHttpReply({ response, onStream }));
        case 'legacyNotification':
          legacy.notification(from, classified.message);
          return accept(response);
        case 'legacyResponse':
          legacy.response(from, classified.message);
          return accept(response);
        case 'modernNotification':
          return accept(response);
      }
    } catch (error) {
      const failure = toFailureReply(error, id, ctx.log);
      // What is left of a body that was refused is not waited for.
      if (!request.complete) response.setHeader('connection', 'close');
      sendJson(response, failure.response, failure.form);
    }
  };

  return async (origin, request, response) => {
    const from: LegacyRequest = { ...origin, sessionId: headerOf(request, 'mcp-session-id') };
    if (request.method === 'POST') return await post(from, request, response);
    try {
      const version = headerOf(request, 'mcp-protocol-version');
      const isLegacy = version === undefined || eraOf(version) !== 'modern';
      if (!isLegacy || (request.method !== 'GET' && request.method !== 'DELETE')) {
        response.setHeader('allow', isLegacy ? 'POST, GET, DELETE' : 'POST');
        throw new AppError('METHOD_NOT_ALLOWED', 'a method that the endpoint does not have');
      }
      refuseUnknownRevision({ protocolVersion: version });
      if (request.method === 'DELETE') {
        legacy.endSession(from);
        response.writeHead(200, { 'content-length': '0' }).end();
        return;
      }
      refuseUnacceptable(request, ['text/event-stream']);
      legacy.openStream(from, () => openEventStream({ response, onStream }));
    } catch (error) {
      const failure = toFailureReply(error, null, ctx.log);
      sendJson(response, failure.response, failure.form);
    }
  };
}

function accept(response: ServerResponse): void {
  response.writeHead(202, { 'content-length': '0' }).end();
}

function headerOf({ headers }: IncomingMessage, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : undefined;
}

/** A client has to take every form that the answer may have; one that says nothing takes all. */
function refuseUnacceptable(
  { headers: { accept: accepted } }: IncomingMessage,
  types: readonly string[],
): void {
  if (accepted === undefined || accepted.includes('*/*')) return;
  const isTaken = (type: string): boolean =>
    accepted.includes(type) || accepted.includes(`${type.split('/')[0]}/*`);
  if (types.every(isTaken)) return;
  throw new AppError('NOT_ACCEPTABLE', 'the Accept header leaves out what may come', {
    publicDetail: `Accept has to list ${types.join(' and ')}.`,
  });
}
