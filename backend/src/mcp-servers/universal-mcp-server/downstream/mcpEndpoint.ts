/**
 * Streamable HTTP of both eras at one path: the method and the body decide whose rules hold (MCP 2025-11-25 and
 * 2026-07-28, "Streamable HTTP"). It comes after the guard and after the instance was found.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { AppError } from '../../../errors/appError.js';
import type { SealedInstance } from '../../../services/instanceResolver.js';
import type { BridgeContext, RequestOrigin } from '../bridge/bridgeContext.js';
import { toFailureReply } from '../bridge/failureReply.js';
import type { LegacyBridge } from '../bridge/legacyBridge.js';
import type { ModernBridge } from '../bridge/modernBridge.js';
import type { PassedRequest } from '../bridge/passthrough/passContext.js';
import type { Passthrough } from '../bridge/passthrough/passthrough.js';
import type { JsonRpcId } from '../protocol/jsonRpc.js';
import { eraOf, type Era } from '../protocol/revisions.js';
import { answerBatch } from './batch.js';
import { HttpByteReply } from './byteReply.js';
import { classifyMessage, idOf, refuseUnknownRevision, type ClassifiedMessage } from './classifyMessage.js';
import { createHttpReply, openEventStream, sendJson } from './httpReply.js';
import { receiveJsonBody } from './readJsonBody.js';
import type { StreamPlaces } from './streamPlaces.js';

export interface McpEndpointOptions {
  readonly ctx: Pick<BridgeContext, 'definition' | 'log'>;
  readonly legacy: LegacyBridge;
  readonly modern: ModernBridge;
  /** Null where nothing can pass as it is. */
  readonly passthrough: Passthrough | null;
  readonly onStream: (response: ServerResponse) => void;
  readonly places: StreamPlaces;
}

export type AnswerMcp = (
  from: { readonly instance: SealedInstance; readonly origin: RequestOrigin },
  request: IncomingMessage,
  response: ServerResponse,
) => void | Promise<void>;

export function createMcpEndpoint({
  ctx,
  legacy,
  modern,
  passthrough,
  onStream,
  places,
}: McpEndpointOptions): AnswerMcp {
  const { maxRequestBytes } = ctx.definition.limits;

  const fail = (
    request: IncomingMessage,
    response: ServerResponse,
    id: JsonRpcId | null,
    error: unknown,
  ): void => {
    const failure = toFailureReply(error, id, ctx.log);
    // What is left of a body that was refused is not waited for.
    if (!request.complete) response.setHeader('connection', 'close');
    sendJson(response, failure.response, failure.form);
  };

  const post = (from: PassedRequest, request: IncomingMessage, response: ServerResponse): void => {
    const refusal = findUnacceptable(request, postForms);
    if (refusal !== null) return fail(request, response, null, refusal);
    receiveJsonBody(
      request,
      maxRequestBytes,
      (error) => fail(request, response, null, error),
      ({ bytes, value }) => {
        if (Array.isArray(value)) {
          takeBatch(from, value, response).catch((error: unknown) => fail(request, response, null, error));
          return;
        }
        try {
          const classified = classifyMessage(value, {
            protocolVersion: from.revision,
            method: headerOf(request, 'mcp-method'),
            name: headerOf(request, 'mcp-name'),
          });
          // The one request whose answer has no end of its own.
          if (classified.kind === 'modernRequest' && classified.message.method === 'subscriptions/listen')
            places.take(from.instance, response);
          take(from, classified, bytes, request, response);
        } catch (error) {
          fail(request, response, idOf(value), error);
        }
      },
    );
  };

  const takeBatch = async (
    from: PassedRequest,
    messages: readonly unknown[],
    response: ServerResponse,
  ): Promise<void> => {
    const isOfPassed = from.sessionId !== undefined && (await isPassed(from));
    const options = { ctx, legacy, passthrough: isOfPassed ? passthrough : null, onStream };
    await answerBatch(options, from, messages, response);
  };

  /** Passes a message on as it is where client and upstream speak alike; else it is translated. */
  const take = (
    from: PassedRequest,
    classified: ClassifiedMessage,
    bytes: Buffer,
    request: IncomingMessage,
    response: ServerResponse,
  ): void => {
    if (passthrough === null) return translate(from, classified, response);
    const era: Era = classified.kind.startsWith('modern') ? 'modern' : 'legacy';
    const pass = (isTaken: boolean): void => {
      if (!isTaken || classified.kind === 'modernNotification') return translate(from, classified, response);
      const reply = new HttpByteReply(response, onStream);
      if (classified.kind === 'legacyRequest' || classified.kind === 'modernRequest')
        passthrough.request(from, era, classified.message, bytes, reply);
      else passthrough.notice(from, classified.message, bytes, reply);
    };
    const isTaken = passthrough.takes(from.instance, era);
    if (isTaken !== null) return pass(isTaken);
    passthrough
      .findOut(from.instance, era, from.origin)
      .then(pass)
      .catch((error: unknown) => fail(request, response, null, error));
  };

  const translate = (from: PassedRequest, classified: ClassifiedMessage, response: ServerResponse): void => {
    switch (classified.kind) {
      case 'legacyRequest':
        return void legacy.request(from, classified.message, createHttpReply({ response, onStream }));
      case 'modernRequest':
        return void modern.request(from, classified.message, createHttpReply({ response, onStream }));
      case 'legacyNotification':
        legacy.notification(from, classified.message);
        return accept(response);
      case 'legacyResponse':
        legacy.response(from, classified.message);
        return accept(response);
      case 'modernNotification':
        return accept(response);
    }
  };

  const isPassed = async ({ instance, origin }: PassedRequest): Promise<boolean> =>
    passthrough !== null &&
    (passthrough.takes(instance, 'legacy') ?? (await passthrough.findOut(instance, 'legacy', origin)));

  const openStreamOrEnd = async (
    from: PassedRequest,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> => {
    const isLegacy = from.revision === undefined || eraOf(from.revision) !== 'modern';
    if (!isLegacy || (request.method !== 'GET' && request.method !== 'DELETE')) {
      response.setHeader('allow', isLegacy ? 'POST, GET, DELETE' : 'POST');
      throw new AppError('METHOD_NOT_ALLOWED', 'a method that the endpoint does not have');
    }
    refuseUnknownRevision({ protocolVersion: from.revision });
    if (request.method === 'DELETE') {
      if (passthrough !== null && (await isPassed(from))) await passthrough.endSession(from);
      else legacy.endSession(from);
      response.writeHead(200, { 'content-length': '0' }).end();
      return;
    }
    const refusal = findUnacceptable(request, ['text/event-stream']);
    if (refusal !== null) throw refusal;
    places.take(from.instance, response);
    if (passthrough !== null && (await isPassed(from)))
      passthrough.openStream(from, new HttpByteReply(response, onStream));
    else {
      const resumption = { lastEventId: from.lastEventId ?? null };
      legacy.openStream(from, () => openEventStream({ response, onStream }), resumption);
    }
  };

  return ({ instance, origin }, request, response) => {
    const from: PassedRequest = {
      instance,
      origin,
      sessionId: headerOf(request, 'mcp-session-id'),
      revision: headerOf(request, 'mcp-protocol-version'),
      lastEventId: headerOf(request, 'last-event-id'),
      headers: request.rawHeaders,
    };
    if (request.method === 'POST') return post(from, request, response);
    return openStreamOrEnd(from, request, response).catch((error: unknown) => {
      const failure = toFailureReply(error, null, ctx.log);
      sendJson(response, failure.response, failure.form);
    });
  };
}

function accept(response: ServerResponse): void {
  response.writeHead(202, { 'content-length': '0' }).end();
}

function headerOf({ headers }: IncomingMessage, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : undefined;
}

const postForms = ['application/json', 'text/event-stream'];

/** A client has to take every form that the answer may have; one that says nothing takes all. */
function findUnacceptable(
  { headers: { accept: accepted } }: IncomingMessage,
  types: readonly string[],
): AppError | null {
  if (accepted === undefined || accepted.includes('*/*')) return null;
  const isTaken = (type: string): boolean =>
    accepted.includes(type) || accepted.includes(`${type.split('/')[0]}/*`);
  if (types.every(isTaken)) return null;
  return new AppError('NOT_ACCEPTABLE', 'the Accept header leaves out what may come', {
    publicDetail: `Accept has to list ${types.join(' and ')}.`,
  });
}
