/**
 * JSON-RPC batches, which only revision 2025-03-26 has: a session that settled on it may post several messages at once.
 * They are served one after another, so a batch takes no more of an instance than one call does, and each of its requests
 * is limited and audited like any other. The answer is an array, or a stream once something comes before it is whole.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { AppError } from '../../../errors/appError.js';
import type { BridgeContext } from '../bridge/bridgeContext.js';
import { toFailureReply } from '../bridge/failureReply.js';
import type { LegacyBridge, LegacyRequest } from '../bridge/legacyBridge.js';
import type { Reply } from '../bridge/reply.js';
import type { JsonRpcRequest, JsonRpcResponse } from '../protocol/jsonRpc.js';
import { classifyMessage, idOf } from './classifyMessage.js';
import { createHttpReply, sendJson, type HttpReplyOptions } from './httpReply.js';

export interface BatchOptions {
  readonly ctx: Pick<BridgeContext, 'log'>;
  readonly legacy: LegacyBridge;
  readonly onStream: HttpReplyOptions['onStream'];
}

const batchRevision = '2025-03-26';
const messagesMax = 64;

/** @throws AppError INVALID_REQUEST when no batch may come here, or it has no or too many messages; SESSION_NOT_FOUND */
export async function answerBatch(
  { ctx, legacy, onStream }: BatchOptions,
  from: LegacyRequest,
  messages: readonly unknown[],
  { headers }: Pick<IncomingMessage, 'headers'>,
  response: ServerResponse,
): Promise<void> {
  const version = headers['mcp-protocol-version'];
  const isAllowed =
    (version === undefined || version === batchRevision) &&
    from.sessionId !== undefined &&
    legacy.revisionOf(from) === batchRevision;
  if (!isAllowed) throw refuseBatches();
  if (messages.length === 0 || messages.length > messagesMax)
    throw refuse(`A batch has 1 to ${messagesMax} messages.`);
  const collected = new CollectedReply(createHttpReply({ response, onStream }));
  for (const message of messages) {
    if (collected.isGone) return;
    try {
      const request = take(legacy, from, message);
      if (request !== null) await legacy.request(from, request, collected);
    } catch (error) {
      collected.finish(toFailureReply(error, idOf(message), ctx.log).response);
    }
  }
  collected.end(response);
}

/** Takes what needs no answer; gives back what does. */
function take(legacy: LegacyBridge, from: LegacyRequest, message: unknown): JsonRpcRequest | null {
  const classified = classifyMessage(message, {
    protocolVersion: undefined,
    method: undefined,
    name: undefined,
  });
  switch (classified.kind) {
    case 'legacyRequest':
      if (classified.message.method !== 'initialize') return classified.message;
      throw refuse('An initialize request is no part of a batch.');
    case 'legacyNotification':
      legacy.notification(from, classified.message);
      return null;
    case 'legacyResponse':
      legacy.response(from, classified.message);
      return null;
    case 'modernRequest':
    case 'modernNotification':
      throw refuse('A batch has messages of one revision.');
  }
}

export function refuseBatches(): AppError {
  return refuse('Batches of messages are not supported; send one message for each request.');
}

function refuse(publicDetail: string): AppError {
  return new AppError('INVALID_REQUEST', 'a batch that is not allowed', { publicDetail });
}

/** The answers to a batch, in the one answer of its POST. */
class CollectedReply implements Reply {
  readonly #reply: Reply;
  readonly #responses: JsonRpcResponse[] = [];
  #isStream = false;

  constructor(reply: Reply) {
    this.#reply = reply;
  }

  get isGone(): boolean {
    return this.#reply.isGone;
  }

  get signal(): AbortSignal {
    return this.#reply.signal;
  }

  onGone(callback: () => void): () => void {
    return this.#reply.onGone(callback);
  }

  send(message: Parameters<Reply['send']>[0]): void {
    this.#isStream = true;
    for (const response of this.#responses.splice(0)) this.#reply.send(response);
    this.#reply.send(message);
  }

  finish(response: JsonRpcResponse): void {
    if (this.#isStream) this.#reply.send(response);
    else this.#responses.push(response);
  }

  openStream(): never {
    throw new AppError('INVALID_REQUEST', 'a batch has no stream without an end');
  }

  /** Answers with what was collected: nothing for a batch that asked nothing. */
  end(response: ServerResponse): void {
    if (this.isGone) return;
    if (this.#isStream) response.end();
    else if (this.#responses.length === 0) response.writeHead(202, { 'content-length': '0' }).end();
    else sendJson(response, this.#responses, {});
  }
}
