/**
 * Clients of the modern era (2026-07-28): every request stands alone and says in its `_meta` what a session would have
 * settled. `modernCaller` takes them to an upstream of either era, `listenStream` keeps a client told of changes.
 */
import { AppError } from '../../../errors/appError.js';
import type { SealedInstance } from '../../../services/instanceResolver.js';
import type { JsonRpcRequest } from '../protocol/jsonRpc.js';
import type { ServerTerms } from '../upstream/upstream.js';
import type { BridgeContext, RequestOrigin } from './bridgeContext.js';
import { callUpstream } from './callUpstream.js';
import { finishWithFailure } from './legacyBridge.js';
import type { InstanceRoom, InstanceRooms, OpenThing } from './instanceRooms.js';
import { ListenStream, parseListenFilter } from './listenStream.js';
import { answerWithoutCredential, findServerTerms, isCredentialFailure } from './missingCredential.js';
import { createModernCaller } from './modernCaller.js';
import { toModernPost, type ModernPost } from './modernPost.js';
import { findConversation, type ModernConversation } from './modernConversation.js';
import { refuseToBeAsked } from './refuseToBeAsked.js';
import { PassedListen } from './passedListen.js';
import type { Reply, ReplyForm } from './reply.js';
import { toShownTerms } from './shownTerms.js';
import {
  isPassedMethod,
  toDiscoverResult,
  toModernResult,
  toModernStatus,
} from './translate/modernToLegacy.js';

export interface ModernRequest {
  readonly instance: SealedInstance;
  readonly origin: RequestOrigin;
  /** Name, value, name, value, …, as they came. */
  readonly headers: readonly string[];
}

export interface ModernBridge extends Disposable {
  /** Answers every request whose envelope and headers were found right; failures are answers too. Never rejects. */
  request(from: ModernRequest, request: JsonRpcRequest, reply: Reply): Promise<void>;
  /** Ends every listen stream with the result that says so. */
  endStreams(): void;
}

export function createModernBridge(ctx: BridgeContext, rooms: InstanceRooms): ModernBridge {
  const caller = createModernCaller(ctx);
  const streams = new Set<OpenThing>();

  /** What the upstream says of itself; asked of it once, and audited, since its start may use the credential. */
  const findTerms = async (
    { instance, origin, request, reply }: ModernPost,
    room: InstanceRoom,
    conversation: ModernConversation,
  ): Promise<ServerTerms> => {
    const known = conversation.server;
    if (known !== null) return known;
    let terms: ServerTerms | null = null;
    await callUpstream(
      ctx,
      room,
      {
        era: 'modern',
        instance,
        origin,
        request,
        listener: { onNotification() {}, onServerRequest: refuseToBeAsked },
        connect: async (signal) => {
          const connection = await conversation.connect(instance, null, signal);
          terms = connection.server;
          ctx.lists.remember(instance.id, 'initialize', { ...terms });
          return {
            ...connection,
            request: () => Promise.resolve({ jsonrpc: '2.0', id: request.id, result: {} }),
          };
        },
      },
      reply,
    );
    return terms ?? (await findServerTerms(ctx, instance.id));
  };

  const listen = async (
    post: ModernPost,
    room: InstanceRoom,
    conversation: ModernConversation,
  ): Promise<void> => {
    const { instance, request, reply } = post;
    const filter = parseListenFilter(request.params?.['notifications']);
    if (filter === null) {
      throw new AppError('INVALID_PARAMS', 'a listen request without a valid filter', {
        publicDetail: '"notifications" is required and must be a subscription filter.',
      });
    }
    const listening = [...room.open.values()].filter(
      (thing) => thing instanceof ListenStream || thing instanceof PassedListen,
    ).length;
    if (listening >= listenStreamsMax) {
      throw new AppError('RATE_LIMIT_EXCEEDED', 'the instance has too many listen streams', {
        retryAfterSeconds: 5,
      });
    }
    await findTerms(post, room, conversation);
    const name = `listen/${ctx.newId()}`;
    if (conversation.era === 'modern') {
      const passed = new PassedListen(ctx, instance, request, conversation.joining);
      room.open.set(name, passed);
      streams.add(passed);
      return passed.begin(reply.openStream(), () => {
        room.open.delete(name);
        streams.delete(passed);
        passed.held.close();
      });
    }
    const stream = new ListenStream(ctx, instance, request.id, filter, conversation);
    room.open.set(name, stream);
    streams.add(stream);
    const end = (): void => {
      room.open.delete(name);
      streams.delete(stream);
      stream.leave();
    };
    try {
      await stream.join(reply.signal);
      stream.begin(reply.openStream(), end);
    } catch (error) {
      end();
      throw error;
    }
  };

  const answer = async (from: ModernRequest, request: JsonRpcRequest, reply: Reply): Promise<void> => {
    const { method, id } = request;
    const post = toModernPost(from, request, reply);
    const room = rooms.of(from.instance);
    const conversation = findConversation(ctx, room, post.capabilities);
    const done = conversation.use();
    try {
      if (method === 'subscriptions/listen') return await listen(post, room, conversation);
      if (method === 'server/discover') {
        const server = await findTerms(post, room, conversation);
        return reply.finish({ jsonrpc: '2.0', id, result: toDiscoverResult(toShownTerms(ctx, server)) });
      }
      // A modern upstream may have methods that we know nothing of; a legacy one is asked for none that it cannot have.
      if (!isPassedMethod(method) && conversation.era !== 'modern')
        throw new AppError('METHOD_NOT_FOUND', 'a method that the revision does not have');
      return await caller.pass(post, room, conversation);
    } catch (error) {
      if (!isCredentialFailure(error)) throw error;
      const server = await findServerTerms(ctx, from.instance.id);
      if (method === 'server/discover')
        return reply.finish({ jsonrpc: '2.0', id, result: toDiscoverResult(toShownTerms(ctx, server)) });
      const result = await answerWithoutCredential(ctx, from.instance.id, request, error);
      return reply.finish({ jsonrpc: '2.0', id, result: toModernResult(method, result, server.serverInfo) });
    } finally {
      done();
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
    endStreams() {
      for (const stream of Array.from(streams)) stream.close();
    },
    [Symbol.dispose]: () => caller[Symbol.dispose](),
  };
}

const listenStreamsMax = 16;

/** Errors of the modern protocol have statuses of their own. */
export function toModernForm(form: ReplyForm, code: number): ReplyForm {
  return form.status === 200 ? { ...form, status: toModernStatus({ code }) } : form;
}
