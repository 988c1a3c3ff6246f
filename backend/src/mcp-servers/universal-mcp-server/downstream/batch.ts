/**
 * JSON-RPC batches, which only revision 2025-03-26 has: a session that settled on it may post several messages at once.
 * They are served one after another, so a batch takes no more of an instance than one call does, and each of its requests
 * is limited and audited like any other, whether it is translated or its bytes pass.
 */
import type { ServerResponse } from 'node:http';
import { AppError } from '../../../errors/appError.js';
import type { BridgeContext } from '../bridge/bridgeContext.js';
import { toFailureReply } from '../bridge/failureReply.js';
import type { LegacyBridge } from '../bridge/legacyBridge.js';
import type { PassedRequest } from '../bridge/passthrough/passContext.js';
import type { Passthrough } from '../bridge/passthrough/passthrough.js';
import { BatchedByteReply, BatchReply } from './batchReply.js';
import { classifyMessage, idOf } from './classifyMessage.js';
import type { HttpReplyOptions } from './httpReply.js';

export interface BatchOptions {
  readonly ctx: Pick<BridgeContext, 'log'>;
  readonly legacy: LegacyBridge;
  /** Null where the session's messages are translated. */
  readonly passthrough: Passthrough | null;
  readonly onStream: HttpReplyOptions['onStream'];
}

const batchRevision = '2025-03-26';
const messagesMax = 64;

/** @throws AppError INVALID_REQUEST when no batch may come here, or it has no or too many messages; SESSION_NOT_FOUND */
export async function answerBatch(
  { ctx, legacy, passthrough, onStream }: BatchOptions,
  from: PassedRequest,
  messages: readonly unknown[],
  response: ServerResponse,
): Promise<void> {
  const isAllowed =
    (from.revision === undefined || from.revision === batchRevision) &&
    from.sessionId !== undefined &&
    (passthrough ?? legacy).revisionOf(from) === batchRevision;
  if (!isAllowed) throw refuse('Batches of messages are not supported; send one message for each request.');
  if (messages.length === 0 || messages.length > messagesMax)
    throw refuse(`A batch has 1 to ${messagesMax} messages.`);
  const batch = new BatchReply({ response, onStream });
  for (const message of messages) {
    if (batch.isGone) return;
    try {
      if (passthrough === null) await translate(legacy, from, message, batch);
      else await pass(passthrough, from, message, batch);
    } catch (error) {
      batch.finish(toFailureReply(error, idOf(message), ctx.log).response);
    }
  }
  batch.end();
}

async function translate(
  legacy: LegacyBridge,
  from: PassedRequest,
  message: unknown,
  batch: BatchReply,
): Promise<void> {
  const classified = classify(message);
  switch (classified.kind) {
    case 'legacyRequest':
      return await legacy.request(from, classified.message, batch);
    case 'legacyNotification':
      return legacy.notification(from, classified.message);
    case 'legacyResponse':
      return legacy.response(from, classified.message);
  }
}

async function pass(
  passthrough: Passthrough,
  from: PassedRequest,
  message: unknown,
  batch: BatchReply,
): Promise<void> {
  const classified = classify(message);
  const bytes = Buffer.from(JSON.stringify(classified.message));
  const reply = new BatchedByteReply(batch);
  if (classified.kind === 'legacyRequest')
    passthrough.request(from, 'legacy', classified.message, bytes, reply);
  else passthrough.notice(from, classified.message, bytes, reply);
  await reply.done;
}

function classify(message: unknown) {
  const classified = classifyMessage(message, {
    protocolVersion: undefined,
    method: undefined,
    name: undefined,
  });
  if (classified.kind === 'modernRequest' || classified.kind === 'modernNotification')
    throw refuse('A batch has messages of one revision.');
  if (classified.kind === 'legacyRequest' && classified.message.method === 'initialize')
    throw refuse('An initialize request is no part of a batch.');
  return classified;
}

function refuse(publicDetail: string): AppError {
  return new AppError('INVALID_REQUEST', 'a batch that is not allowed', { publicDetail });
}
