/**
 * Clients of the legacy era (2024-11-05 … 2025-11-25): sessions that open with `initialize`, requests answered on their
 * own POST, a GET stream for what belongs to none (MCP 2025-11-25, "Streamable HTTP").
 */
import { AppError } from '../../../errors/appError.js';
import type { SealedInstance } from '../../../services/instanceResolver.js';
import type {
  JsonObject,
  JsonRpcNotification,
  JsonRpcRequest,
  JsonRpcResponse,
} from '../protocol/jsonRpc.js';
import { isLogLevel } from '../protocol/logLevels.js';
import { legacyRevisions, negotiateRevision } from '../protocol/revisions.js';
import type { ServerTerms } from '../upstream/upstream.js';
import type { BridgeContext, RequestOrigin } from './bridgeContext.js';
import { CallerGone } from './callAccount.js';
import { callUpstream } from './callUpstream.js';
import { joinOrRecall } from './coldStart.js';
import { toFailureReply } from './failureReply.js';
import type { InstanceRoom, InstanceRooms } from './instanceRooms.js';
import { LegacySession, type Resumption } from './legacySession.js';
import { answerWithoutCredential, findServerTerms, isCredentialFailure } from './missingCredential.js';
import type { Reply, ReplyForm, ReplyStream } from './reply.js';
import { toShownTerms } from './shownTerms.js';
import { openSession, sealSession, toClientTerms, type SettledSession } from './sessionIds.js';

export interface LegacyRequest {
  readonly instance: SealedInstance;
  readonly origin: RequestOrigin;
  /** The `Mcp-Session-Id` header. */
  readonly sessionId: string | undefined;
}

export interface LegacyBridge {
  /** Answers every request; failures are answers too. Never rejects. */
  request(from: LegacyRequest, request: JsonRpcRequest, reply: Reply): Promise<void>;
  /** @throws AppError SESSION_NOT_FOUND, INVALID_REQUEST */
  notification(from: LegacyRequest, notification: JsonRpcNotification): void;
  /** @throws AppError SESSION_NOT_FOUND, INVALID_REQUEST */
  response(from: LegacyRequest, response: JsonRpcResponse): void;
  /** The revision that the session settled on. @throws AppError SESSION_NOT_FOUND, INVALID_REQUEST */
  revisionOf(from: LegacyRequest): string;
  /** @throws AppError SESSION_NOT_FOUND, INVALID_REQUEST, CONFLICT when the session has a stream already. */
  openStream(from: LegacyRequest, accept: () => ReplyStream, resumption?: Resumption): void;
  /** @throws AppError SESSION_NOT_FOUND, INVALID_REQUEST */
  endSession(from: LegacyRequest): void;
}

export function createLegacyBridge(ctx: BridgeContext, rooms: InstanceRooms): LegacyBridge {
  const { definition, vault, journal, log } = ctx;
  const bindingOf = ({ id, epoch }: SealedInstance) => ({ service: definition.name, instanceId: id, epoch });

  /** The session in memory, or brought back from its id. */
  const findSession = ({ instance, sessionId }: LegacyRequest): LegacySession => {
    if (sessionId === undefined) {
      throw new AppError('INVALID_REQUEST', 'a request without its session id', {
        publicDetail: 'The Mcp-Session-Id header is required.',
      });
    }
    const room = rooms.of(instance);
    const known = room.open.get(sessionId);
    if (known instanceof LegacySession) {
      known.touch(instance);
      return known;
    }
    const settled = openSession(vault.keys().system.state, sessionId, bindingOf(instance), ctx.now());
    if (settled === null || journal.isEnded(settled.uuid)) {
      throw new AppError('SESSION_NOT_FOUND', 'the session id is unknown, foreign or ended');
    }
    const session = new LegacySession(ctx, instance, settled);
    room.open.set(sessionId, session);
    return session;
  };

  const initialize = async (from: LegacyRequest, request: JsonRpcRequest, reply: Reply): Promise<void> => {
    const { instance } = from;
    const params = request.params ?? {};
    const client = toClientTerms(negotiateRevision(params['protocolVersion']), params);
    const settled: SettledSession = { uuid: ctx.newId(), client, createdAt: ctx.now() };
    const room = rooms.of(instance);
    const session = new LegacySession(ctx, instance, settled);
    try {
      const response = await joinUpstream(ctx, room, session, from, request, reply);
      const sessionId = sealSession(vault.keys().system.state, settled, bindingOf(instance), ctx.randomBytes);
      room.open.set(sessionId, session);
      reply.finish(response, { sessionId });
    } catch (error) {
      session.close();
      throw error;
    }
  };

  /** Sends a request upstream and answers with what comes of it. */
  const pass = async (session: LegacySession, from: LegacyRequest, request: JsonRpcRequest, reply: Reply) => {
    const { instance } = from;
    const room = rooms.of(instance);
    const listener = {
      onNotification: (notification: JsonRpcNotification) => reply.send(notification),
      onServerRequest: (asked: JsonRpcRequest) =>
        session.ask(asked, reply, session.calls.get(request.id)?.signal),
      takesBytes: reply.takesBytes === true && unreadMethods.has(request.method),
    };
    const response = await callUpstream(
      ctx,
      room,
      {
        era: 'legacy',
        instance,
        origin: from.origin,
        request,
        listener,
        connect: (signal) =>
          joinOrRecall(
            { ctx, held: session.held, instance, request, onOther: () => session.tellListsChanged() },
            signal,
          ),
        onStart: (controller) => void session.calls.set(request.id, controller),
      },
      reply,
    ).finally(() => session.calls.delete(request.id));
    if (!('error' in response)) noteSettled(journal, session.uuid, request);
    reply.finish(response);
  };

  const answer = async (from: LegacyRequest, request: JsonRpcRequest, reply: Reply): Promise<void> => {
    if (request.method === 'initialize') return await initialize(from, request, reply);
    const session = findSession(from);
    if (request.method === 'ping') return reply.finish({ jsonrpc: '2.0', id: request.id, result: {} });
    if (session.calls.has(request.id)) {
      throw new AppError('INVALID_REQUEST', 'the request id is in use', {
        publicDetail: 'A request with this id is under way already.',
      });
    }
    try {
      await pass(session, from, request, reply);
    } catch (error) {
      if (!isCredentialFailure(error)) throw error;
      const result = await answerWithoutCredential(ctx, from.instance.id, request, error);
      reply.finish({ jsonrpc: '2.0', id: request.id, result });
    }
  };

  return {
    async request(from, request, reply) {
      const startedAt = performance.now();
      let errorType = '';
      try {
        rooms.of(from.instance).limits.takeRequest();
        ctx.noteUse(from.instance.id);
        await answer(from, request, reply);
      } catch (error) {
        errorType = error instanceof AppError ? error.code.toLowerCase() : 'internal';
        finishWithFailure(error, request, reply, log);
      }
      const tool = request.method === 'tools/call' ? String(request.params?.['name']) : undefined;
      ctx.metrics.served.observe((performance.now() - startedAt) / 1_000, {
        method: request.method,
        tool,
        errorType,
      });
    },
    notification(from, { method, params }) {
      const session = findSession(from);
      if (method === 'notifications/cancelled') {
        const id = params?.['requestId'];
        if (typeof id === 'string' || typeof id === 'number')
          session.calls.get(id)?.abort(new CallerGone('the client cancelled the call'));
        return;
      }
      // The upstream had its own `initialized`; what is left are changed roots and what extensions may say.
      if (method === 'notifications/initialized' || !session.held.isConnected) return;
      session.held.get(from.instance, new AbortController().signal).then(
        (connection) =>
          connection.notify({ jsonrpc: '2.0', method, ...(params === undefined ? {} : { params }) }),
        (error: unknown) =>
          log.debug('a notification was lost', { instance: from.instance.id, method, error }),
      );
    },
    response(from, response) {
      if (!findSession(from).takeResponse(response)) {
        log.debug('a response of the client answers nothing', { instance: from.instance.id });
      }
    },
    revisionOf: (from) => findSession(from).revision,
    openStream(from, accept, resumption) {
      const session = findSession(from);
      // Whoever says where its stream broke has lost it, though we may not have noticed yet.
      if (session.hasStream && !session.isOwnEvent(resumption?.lastEventId)) {
        throw new AppError('CONFLICT', 'a second stream of one session', {
          publicDetail: 'This session has a stream already.',
        });
      }
      session.openStream(accept(), resumption);
    },
    endSession(from) {
      const session = findSession(from);
      journal.end(session.uuid);
      rooms.of(from.instance).open.delete(from.sessionId ?? '');
      session.close();
    },
  };
}

/** Whose results are passed on without a look at them. */
const unreadMethods = new Set(['tools/call', 'resources/read', 'prompts/get']);

/** `initialize` is a call like any other: limited, audited, with a deadline; its result is what the upstream said. */
async function joinUpstream(
  ctx: BridgeContext,
  room: InstanceRoom,
  session: LegacySession,
  { instance, origin }: LegacyRequest,
  request: JsonRpcRequest,
  reply: Reply,
): Promise<JsonRpcResponse> {
  const asked = negotiateRevision(request.params?.['protocolVersion']);
  const toResponse = (server: ServerTerms): JsonRpcResponse => ({
    jsonrpc: '2.0',
    id: request.id,
    result: toInitializeResult(toShownTerms(ctx, server), asked),
  });
  try {
    return await callUpstream(
      ctx,
      room,
      {
        era: 'legacy',
        instance,
        origin,
        request,
        listener: { onNotification() {}, onServerRequest: (one) => session.ask(one, null) },
        connect: async (signal) => {
          const connection = await joinOrRecall(
            { ctx, held: session.held, instance, request, onOther: () => session.tellListsChanged() },
            signal,
          );
          ctx.lists.remember(instance.id, 'initialize', { ...connection.server });
          return { ...connection, request: () => Promise.resolve(toResponse(connection.server)) };
        },
      },
      reply,
    );
  } catch (error) {
    if (!isCredentialFailure(error)) throw error;
    return toResponse(await findServerTerms(ctx, instance.id));
  }
}

/** In the revision that the client asked for, unless the upstream speaks only an older one. */
export function toInitializeResult(server: ServerTerms, asked: string): JsonObject {
  const revisions: readonly string[] = legacyRevisions;
  const isOlder = revisions.indexOf(server.protocolVersion) > revisions.indexOf(asked);
  return {
    protocolVersion: isOlder ? server.protocolVersion : asked,
    capabilities: server.capabilities,
    serverInfo: server.serverInfo,
    ...(server.instructions === undefined ? {} : { instructions: server.instructions }),
  };
}

/** Whoever cancelled gets an answer too, for its POST has to end; whoever is gone gets none. */
export function finishWithFailure(
  error: unknown,
  request: JsonRpcRequest,
  reply: Reply,
  log: BridgeContext['log'],
  toForm: (form: ReplyForm, code: number) => ReplyForm = (form) => form,
): void {
  if (reply.isGone) return;
  if (error instanceof CallerGone) {
    const cancelled = { code: -32603, message: 'The request was cancelled.' };
    return reply.finish({ jsonrpc: '2.0', id: request.id, error: cancelled });
  }
  const { response, form } = toFailureReply(error, request.id, log);
  reply.finish(response, toForm(form, response.error.code));
}

/** Keeps in the journal what a successful request settled for the rest of its session. */
export function noteSettled(
  journal: BridgeContext['journal'],
  session: string,
  { method, params }: JsonRpcRequest,
): void {
  const { level, uri } = params ?? {};
  if (method === 'logging/setLevel' && isLogLevel(level)) journal.setLevel(session, level);
  if (typeof uri !== 'string') return;
  if (method === 'resources/subscribe') journal.subscribe(session, uri);
  if (method === 'resources/unsubscribe') journal.unsubscribe(session, uri);
}
