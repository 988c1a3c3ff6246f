/**
 * Clients of the modern era (2026-07-28): every request stands alone and says in its `_meta` what a session would have
 * settled. Here they meet an upstream of the legacy era; `translate/modernToLegacy` holds the differences.
 */
import { AppError } from '../../../errors/appError.js';
import type { SealedInstance } from '../../../services/instanceResolver.js';
import { envelope } from '../protocol/envelope.js';
import {
  isJsonObject,
  type JsonObject,
  type JsonRpcRequest,
  type JsonRpcResponse,
} from '../protocol/jsonRpc.js';
import { isLogLevel } from '../protocol/logLevels.js';
import type { ServerTerms } from '../upstream/upstream.js';
import type { BridgeContext, RequestOrigin } from './bridgeContext.js';
import { callUpstream } from './callUpstream.js';
import { finishWithFailure } from './legacyBridge.js';
import type { InstanceRoom, InstanceRooms } from './instanceRooms.js';
import { ListenStream, parseListenFilter } from './listenStream.js';
import { answerWithoutCredential, findServerTerms, isCredentialFailure } from './missingCredential.js';
import {
  ModernConversation,
  ModernListener,
  modernConversationName,
  refuseToBeAsked,
} from './modernConversation.js';
import type { Reply, ReplyForm } from './reply.js';
import {
  isPassedMethod,
  toDiscoverResult,
  toLegacyRequest,
  toModernError,
  toModernResult,
  toModernStatus,
} from './translate/modernToLegacy.js';

export interface ModernRequest {
  readonly instance: SealedInstance;
  readonly origin: RequestOrigin;
}

export interface ModernBridge {
  /** Answers every request whose envelope and headers were found right; failures are answers too. Never rejects. */
  request(from: ModernRequest, request: JsonRpcRequest, reply: Reply): Promise<void>;
}

export function createModernBridge(ctx: BridgeContext, rooms: InstanceRooms): ModernBridge {
  const conversationOf = (room: InstanceRoom): ModernConversation => {
    const known = room.open.get(modernConversationName);
    if (known instanceof ModernConversation) return known;
    const conversation = new ModernConversation(ctx);
    room.open.set(modernConversationName, conversation);
    return conversation;
  };

  /** What the upstream says of itself; asked of it once, and audited, since its start may use the credential. */
  const findTerms = async (
    from: ModernRequest,
    request: JsonRpcRequest,
    reply: Reply,
  ): Promise<ServerTerms> => {
    const room = rooms.of(from.instance);
    const conversation = conversationOf(room);
    const known = conversation.held.server;
    if (known !== null) return known;
    let terms: ServerTerms | null = null;
    await callUpstream(
      ctx,
      room,
      {
        era: 'modern',
        instance: from.instance,
        origin: from.origin,
        request,
        listener: { onNotification() {}, onServerRequest: refuseToBeAsked },
        connect: async (signal) => {
          const connection = await conversation.connect(from.instance, null, signal);
          terms = connection.server;
          ctx.lists.remember(from.instance.id, 'initialize', { ...terms });
          return {
            ...connection,
            request: () => Promise.resolve({ jsonrpc: '2.0', id: request.id, result: {} }),
          };
        },
      },
      reply,
    );
    return terms ?? (await findServerTerms(ctx, from.instance.id));
  };

  const pass = async (from: ModernRequest, request: JsonRpcRequest, reply: Reply): Promise<void> => {
    const { instance } = from;
    const meta = metaOf(request);
    const level = meta[envelope.logLevel];
    const logLevel = isLogLevel(level) ? level : null;
    const capabilities = meta[envelope.clientCapabilities];
    const listener = new ModernListener(reply, logLevel, isJsonObject(capabilities) ? capabilities : {});
    const room = rooms.of(instance);
    const conversation = conversationOf(room);
    let serverInfo: JsonObject = {};
    const response = await callUpstream(
      ctx,
      room,
      {
        era: 'modern',
        instance,
        origin: from.origin,
        request: toLegacyRequest(request),
        listener,
        connect: async (signal) => {
          const connection = await conversation.connect(instance, logLevel, signal);
          serverInfo = connection.server.serverInfo;
          return connection;
        },
      },
      reply,
    );
    if (listener.missingCapability !== null) throw missingCapability(listener.missingCapability);
    finishModern(request, response, serverInfo, reply);
  };

  const listen = async (from: ModernRequest, request: JsonRpcRequest, reply: Reply): Promise<void> => {
    const filter = parseListenFilter(request.params?.['notifications']);
    if (filter === null) {
      throw new AppError('INVALID_PARAMS', 'a listen request without a valid filter', {
        publicDetail: '"notifications" is required and must be a subscription filter.',
      });
    }
    const { instance } = from;
    const room = rooms.of(instance);
    const listening = [...room.open.values()].filter((thing) => thing instanceof ListenStream).length;
    if (listening >= listenStreamsMax) {
      throw new AppError('RATE_LIMIT_EXCEEDED', 'the instance has too many listen streams', {
        retryAfterSeconds: 5,
      });
    }
    const stream = new ListenStream(ctx, instance, request.id, filter);
    const name = `listen/${ctx.newId()}`;
    room.open.set(name, stream);
    const end = (): void => {
      room.open.delete(name);
      stream.held.close();
    };
    try {
      const server = await findTerms(from, request, reply);
      await stream.held.get(instance, reply.signal);
      stream.begin(reply.openStream(), server, end);
    } catch (error) {
      end();
      throw error;
    }
  };

  const answer = async (from: ModernRequest, request: JsonRpcRequest, reply: Reply): Promise<void> => {
    const { method, id } = request;
    try {
      if (method === 'subscriptions/listen') return await listen(from, request, reply);
      if (method === 'server/discover') {
        const server = await findTerms(from, request, reply);
        return reply.finish({ jsonrpc: '2.0', id, result: toDiscoverResult(server) });
      }
      if (!isPassedMethod(method))
        throw new AppError('METHOD_NOT_FOUND', 'a method that the revision does not have');
      return await pass(from, request, reply);
    } catch (error) {
      if (!isCredentialFailure(error)) throw error;
      const server = await findServerTerms(ctx, from.instance.id);
      if (method === 'server/discover')
        return reply.finish({ jsonrpc: '2.0', id, result: toDiscoverResult(server) });
      const result = await answerWithoutCredential(ctx, from.instance.id, request, error);
      return reply.finish({ jsonrpc: '2.0', id, result: toModernResult(method, result, server.serverInfo) });
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
        finishWithFailure(error, request, reply, ctx.log, toModernForm);
      }
      const tool = request.method === 'tools/call' ? String(request.params?.['name']) : undefined;
      ctx.metrics.served.observe((performance.now() - startedAt) / 1_000, {
        method: request.method,
        tool,
        errorType,
      });
    },
  };
}

const listenStreamsMax = 16;

function finishModern(
  request: JsonRpcRequest,
  response: JsonRpcResponse,
  serverInfo: JsonObject,
  reply: Reply,
): void {
  if ('error' in response) {
    const uri = request.method === 'resources/read' ? request.params?.['uri'] : null;
    const error = toModernError(response.error, typeof uri === 'string' ? uri : null);
    return reply.finish({ jsonrpc: '2.0', id: request.id, error }, { status: toModernStatus(error) });
  }
  reply.finish({ ...response, result: toModernResult(request.method, response.result, serverInfo) });
}

/** Errors of the modern protocol have statuses of their own. */
function toModernForm(form: ReplyForm, code: number): ReplyForm {
  return form.status === 200 ? { ...form, status: toModernStatus({ code }) } : form;
}

function missingCapability(name: string): AppError {
  return new AppError('MISSING_CLIENT_CAPABILITY', 'the server asked for what the client did not declare', {
    publicDetail: `The server needs a client that supports ${name}.`,
    extensions: { requiredCapabilities: { [name]: {} } },
  });
}

function metaOf({ params }: JsonRpcRequest): JsonObject {
  const meta = params?.['_meta'];
  return isJsonObject(meta) ? meta : {};
}
