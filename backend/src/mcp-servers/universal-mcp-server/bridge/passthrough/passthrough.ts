/**
 * Same era and Streamable HTTP on both sides: the bytes pass, after one parse of the request for policy (spec 04). Here is
 * decided which requests take this way; everything else is translated.
 */
import { AppError } from '../../../../errors/appError.js';
import type { SealedInstance } from '../../../../services/instanceResolver.js';
import type { JsonRpcNotification, JsonRpcRequest, JsonRpcResponse } from '../../protocol/jsonRpc.js';
import type { Era } from '../../protocol/revisions.js';
import type { BridgeContext, RequestOrigin } from '../bridgeContext.js';
import { failureTypeOf, recordIntent, recordOutcome, toFailedOutcome } from '../callAccount.js';
import type { InstanceRooms } from '../instanceRooms.js';
import type { ByteReply } from '../reply.js';
import { refuseAmbiguous } from './ambiguity.js';
import { callAgeMsMax } from '../callDeadline.js';
import { createDeadlines } from './deadlines.js';
import { createKeepAlive } from './keepAlive.js';
import type { PassContext, PassedRequest } from './passContext.js';
import { PassedCall } from './passedCall.js';
import { createPassedSessions } from './passedSessions.js';
import { PassedStream } from './passedStream.js';
import { PassedNotice } from './passedNotice.js';

export interface Passthrough extends Disposable {
  /** Whether requests of this era pass for this instance; null when the upstream has to be asked first. */
  takes(instance: SealedInstance, era: Era): boolean | null;
  /** Asks the upstream which era it speaks; false too when it cannot be told now. Never rejects. */
  findOut(instance: SealedInstance, era: Era, origin: RequestOrigin): Promise<boolean>;
  /** Each of these answers whatever happens, and never throws. `body`: the bytes of the message. */
  request(from: PassedRequest, era: Era, request: JsonRpcRequest, body: Buffer, reply: ByteReply): void;
  /** @throws AppError SESSION_NOT_FOUND, INVALID_REQUEST, RATE_LIMIT_EXCEEDED, AUDIT_UNAVAILABLE */
  notice(
    from: PassedRequest,
    message: JsonRpcNotification | JsonRpcResponse,
    body: Buffer,
    reply: ByteReply,
  ): void;
  /** The revision that the session settled on. @throws AppError SESSION_NOT_FOUND, INVALID_REQUEST */
  revisionOf(from: Pick<PassedRequest, 'instance' | 'sessionId'>): string;
  /** @throws AppError SESSION_NOT_FOUND, INVALID_REQUEST */
  openStream(from: PassedRequest, reply: ByteReply): void;
  /** @throws AppError SESSION_NOT_FOUND, INVALID_REQUEST */
  endSession(from: PassedRequest): Promise<void>;
}

/** Null for upstreams that are not reached by Streamable HTTP, or whose session all clients of an instance share. */
export function createPassthrough(ctx: BridgeContext, rooms: InstanceRooms): Passthrough | null {
  const { raw, definition, log } = ctx;
  if (raw === null || !raw.hasSessionsOfClients) return null;
  const sessions = createPassedSessions(ctx, raw, rooms);
  const deadlines = createDeadlines(definition.limits.timeoutMs);
  const patience = createDeadlines(callAgeMsMax);
  const keepAlive = createKeepAlive();
  const pass: PassContext = { ctx, raw, rooms, sessions, deadlines, patience, keepAlive };

  /** A call that its client cancelled is answered here: many servers answer it no more. */
  const cancel = (from: PassedRequest, params: JsonRpcNotification['params']): void => {
    const id = params?.['requestId'];
    if (typeof id !== 'string' && typeof id !== 'number') return;
    const session = sessions.find(from.instance, from.sessionId);
    for (const call of Array.from(rooms.of(from.instance).calls))
      if (call instanceof PassedCall && call.isOf(session, id)) call.cancel();
  };

  return {
    takes(instance, era) {
      const known = raw.knownEra(instance, era);
      return known === null ? null : known === era;
    },
    async findOut(instance, era, origin) {
      const callId = ctx.newId();
      const method = 'server/discover';
      let startedAt = 0;
      try {
        await recordIntent(ctx, { era, instance, origin, method, params: undefined }, callId);
        startedAt = performance.now();
        const found = await raw.findEra(instance, era, AbortSignal.timeout(definition.limits.timeoutMs));
        recordOutcome(ctx, method, startedAt, { callId, outcome: 'ok' }, '');
        return found === era;
      } catch (error) {
        if (startedAt > 0)
          recordOutcome(ctx, method, startedAt, toFailedOutcome(callId, error), failureTypeOf(error));
        log.debug('the era of an upstream could not be found out', { instance: instance.id, error });
        return false;
      }
    },
    request(from, era, request, body, reply) {
      if (era === 'modern' && request.method === 'subscriptions/listen') {
        new PassedStream(pass, from, { session: null, request, body }, reply).start();
      } else {
        new PassedCall(pass, from, era, request, body, reply).start();
      }
    },
    notice(from, message, body, reply) {
      const session = sessions.find(from.instance, from.sessionId);
      refuseAmbiguous(body, message);
      if ('method' in message && !message.method.startsWith('notifications/')) {
        throw new AppError('INVALID_REQUEST', 'a notification by the name of a request', {
          publicDetail: 'A request needs an id.',
        });
      }
      new PassedNotice(pass, from, session, message, body, reply).start();
      if ('method' in message && message.method === 'notifications/cancelled') cancel(from, message.params);
    },
    revisionOf: ({ instance, sessionId }) => sessions.find(instance, sessionId).client.protocolVersion,
    openStream(from, reply) {
      const session = sessions.find(from.instance, from.sessionId);
      new PassedStream(pass, from, { session }, reply).start();
    },
    async endSession(from) {
      const session = sessions.find(from.instance, from.sessionId);
      await sessions.end(session, from.sessionId ?? '', from.origin);
    },
    [Symbol.dispose]() {
      deadlines[Symbol.dispose]();
      patience[Symbol.dispose]();
      keepAlive[Symbol.dispose]();
    },
  };
}
