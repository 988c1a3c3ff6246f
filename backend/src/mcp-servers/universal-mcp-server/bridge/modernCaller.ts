/**
 * Requests of modern clients on their way to an upstream of either era. A modern upstream gets them as they are. A legacy
 * one gets them translated, and what it asks meanwhile is asked by answering: the call is held until the client comes back.
 */
import { AppError } from '../../../errors/appError.js';
import { envelope } from '../protocol/envelope.js';
import type { JsonObject, JsonRpcRequest, JsonRpcResponse } from '../protocol/jsonRpc.js';
import type { Era } from '../protocol/revisions.js';
import type { BridgeContext } from './bridgeContext.js';
import { callUpstream } from './callUpstream.js';
import { HeldCall, type CallAnswer } from './heldCall.js';
import { HeldCalls } from './heldCalls.js';
import type { InstanceRoom } from './instanceRooms.js';
import type { ModernConversation, TakenLane } from './modernConversation.js';
import { PassedListener } from './passedListener.js';
import type { ModernPost } from './modernPost.js';
import { ParamHeaders } from './paramHeaders.js';
import { toModernView } from './modernView.js';
import {
  invalidRequestState,
  openRequestState,
  sealRequestState,
  type RequestState,
  type StateBinding,
} from './requestState.js';
import {
  canBeAsked,
  findMissingCapability,
  isAskable,
  isPageRefused,
  toPageRequests,
} from './translate/inputRequests.js';
import { toModernError, toModernResult, toModernStatus, toPassedResult } from './translate/modernToLegacy.js';

export interface ModernCaller extends Disposable {
  /** Sends a request upstream, or takes it to the call that waits for it, and answers it. */
  pass(post: ModernPost, room: InstanceRoom, conversation: ModernConversation): Promise<void>;
}

export function createModernCaller(ctx: BridgeContext): ModernCaller {
  const held = new HeldCalls(ctx.now, ctx.newId());
  const paramHeaders = new ParamHeaders(ctx);

  const bindingOf = ({ instance, request }: ModernPost): StateBinding => ({
    service: ctx.definition.name,
    instanceId: instance.id,
    epoch: instance.epoch,
    request,
  });

  const seal = (state: RequestState, post: ModernPost): string =>
    sealRequestState(ctx.vault.keys().system.state, state, bindingOf(post), ctx.randomBytes);

  const passAlone = async (
    post: ModernPost,
    room: InstanceRoom,
    conversation: ModernConversation,
  ): Promise<void> => {
    const { instance, origin, request, logLevel, reply } = post;
    const listener = new PassedListener(post, conversation);
    const reached: { era: Era; serverInfo: JsonObject } = { era: 'legacy', serverInfo: {} };
    const response = await callUpstream(
      ctx,
      room,
      {
        era: 'modern',
        instance,
        origin,
        request,
        listener,
        connect: async (signal) => {
          const connection = await conversation.connect(instance, logLevel, signal);
          reached.era = listener.era = connection.era;
          reached.serverInfo = connection.server.serverInfo;
          return toModernView(connection, request);
        },
      },
      reply,
    );
    if (request.method === 'tools/list' && !('error' in response)) paramHeaders.learn(room, response.result);
    if (listener.missingCapabilities !== null) throw missingCapability(listener.missingCapabilities);
    if (reached.era === 'modern') return finishPassed(post, response);
    finish(post, response, reached.serverInfo);
  };

  const passHeld = async (
    post: ModernPost,
    room: InstanceRoom,
    conversation: ModernConversation,
  ): Promise<void> => {
    const { instance, origin, request, logLevel } = post;
    const call = new HeldCall({ id: ctx.newId(), instanceId: instance.id, held, now: ctx.now });
    let taken: TakenLane | null = null;
    const reached: { era: Era } = { era: 'legacy' };
    call.onHeld = (isHeld) => {
      if (isHeld) room.limits.endCall();
      else room.limits.resumeCall();
      taken?.changed();
    };
    const answered = call.wait(post);
    callUpstream(
      ctx,
      room,
      {
        era: 'modern',
        instance,
        origin,
        request,
        listener: call,
        onStart(controller, deadline) {
          call.controller = controller;
          call.deadline = deadline;
        },
        connect: async (signal) => {
          taken?.release();
          taken = await conversation.take(instance, call, logLevel, signal);
          reached.era = taken.connection.era;
          const { ask: askStray } = taken;
          call.askStray = askStray;
          call.serverInfo = taken.connection.server.serverInfo;
          return toModernView(taken.connection, request);
        },
      },
      call,
    )
      .finally(() => taken?.release())
      .then(
        (response) => call.settle(response),
        (error: unknown) => call.fail(error),
      );
    const answer = await answered;
    if (reached.era === 'modern' && answer.kind === 'response') return finishPassed(post, answer.response);
    finishRound(post, call, answer);
  };

  const resume = async (post: ModernPost, state: RequestState & { kind: 'held' }): Promise<void> => {
    const call = state.processId === held.processId ? held.find(state.callId) : null;
    if (call === null || call.isWaitedFor || call.round !== state.round) throw invalidRequestState();
    call.takeAnswers(post.request.params?.['inputResponses']);
    finishRound(post, call, await call.wait(post));
  };

  const finishRound = (post: ModernPost, call: HeldCall, answer: CallAnswer): void => {
    if (call.missingCapabilities !== null) {
      call.abandon();
      throw missingCapability(call.missingCapabilities);
    }
    if (answer.kind === 'response') return finish(post, answer.response, call.serverInfo);
    const { round, until: expiresAt, inputRequests } = answer;
    const { processId } = held;
    const requestState = seal({ kind: 'held', processId, callId: call.id, round, expiresAt }, post);
    ask(post, inputRequests, requestState, call.serverInfo);
  };

  /** Answers with what the upstream said, in the words of the modern era. */
  const finish = (post: ModernPost, response: JsonRpcResponse, serverInfo: JsonObject): void => {
    const { request, reply } = post;
    if (!('error' in response)) {
      const result = toModernResult(request.method, response.result, serverInfo);
      return reply.finish({ ...response, result });
    }
    if (response.error.code === -32042) return finishWithPages(post, response.error.data, serverInfo);
    const uri = request.method === 'resources/read' ? request.params?.['uri'] : null;
    const error = toModernError(response.error, typeof uri === 'string' ? uri : null);
    reply.finish(
      { jsonrpc: '2.0', id: request.id, error },
      { status: toModernStatus(error, request.method) },
    );
  };

  /** The server made nothing yet: pages have to be opened first, and then the call is made again. */
  const finishWithPages = (post: ModernPost, data: unknown, serverInfo: JsonObject): void => {
    const pages = toPageRequests(data);
    const [first] = Object.values(pages ?? {});
    if (pages === null || first === undefined || !isAskable(post.request.method)) {
      throw new AppError('UPSTREAM_FAILED', 'a server wants pages to be opened and names none', {
        publicDetail: 'The server behind wants a page to be opened first, but does not say which.',
      });
    }
    const question: JsonRpcRequest = { jsonrpc: '2.0', id: 0, method: 'elicitation/create', ...first };
    const missing = findMissingCapability(question, post.capabilities);
    if (missing !== null) throw missingCapability(missing);
    ask(post, pages, seal({ kind: 'page', expiresAt: ctx.now() + pageMsMax }, post), serverInfo);
  };

  return {
    async pass(post, room, conversation) {
      const { request, capabilities } = post;
      if (request.method === 'tools/call') {
        const ready = paramHeaders.ready(room, post.instance);
        if (ready !== null) await ready;
        paramHeaders.check(room, request, post.headers);
      }
      const requestState = request.params?.['requestState'];
      if (requestState === undefined || conversation.era === 'modern' || !isAskable(request.method))
        return await begin(post);
      const state =
        typeof requestState === 'string'
          ? openRequestState(ctx.vault.keys().system.state, requestState, bindingOf(post), ctx.now())
          : null;
      switch (state?.kind) {
        case 'held':
          return await resume(post, state);
        case 'page':
          if (isPageRefused(request.params?.['inputResponses'])) return finishPageRefused(post);
          return await begin({ ...post, request: withoutRound(request) });
        case undefined:
          // It may be the state of a modern upstream that was not reached yet.
          if (conversation.era === 'legacy') throw invalidRequestState();
          return await begin(post);
      }

      async function begin(from: ModernPost): Promise<void> {
        const mayWait =
          canBeAsked(capabilities) && isAskable(request.method) && conversation.era !== 'modern';
        return await (mayWait ? passHeld : passAlone)(from, room, conversation);
      }
    },
    [Symbol.dispose]: () => held[Symbol.dispose](),
  };
}

/** How long a person has to open a page before the call has to be made from its beginning. */
const pageMsMax = 30 * 60_000;

function ask(
  post: ModernPost,
  inputRequests: JsonObject,
  requestState: string,
  serverInfo: JsonObject,
): void {
  const result = {
    resultType: 'input_required',
    inputRequests,
    requestState,
    _meta: { [envelope.serverInfo]: serverInfo },
  };
  post.reply.finish({ jsonrpc: '2.0', id: post.request.id, result });
}

/** A modern upstream's own answer; only what is about us and it is left out, and nothing is shared with others (D10). */
function finishPassed({ request, reply }: ModernPost, response: JsonRpcResponse): void {
  if (!('error' in response)) return reply.finish({ ...response, result: toPassedResult(response.result) });
  const error = toModernError(response.error, null);
  reply.finish({ jsonrpc: '2.0', id: request.id, error }, { status: toModernStatus(error, request.method) });
}

function finishPageRefused({ request, reply }: ModernPost): void {
  const text = 'The page that the server wants to be opened first was not opened, so nothing was done.';
  if (request.method !== 'tools/call')
    return reply.finish({ jsonrpc: '2.0', id: request.id, error: { code: -32603, message: text } });
  const result = { content: [{ type: 'text', text }], isError: true, resultType: 'complete' };
  reply.finish({ jsonrpc: '2.0', id: request.id, result });
}

function withoutRound(request: JsonRpcRequest): JsonRpcRequest {
  const { inputResponses: _responses, requestState: _state, ...params } = request.params ?? {};
  return { ...request, params };
}

function missingCapability(requiredCapabilities: JsonObject): AppError {
  const names = Object.keys(requiredCapabilities).join(', ');
  return new AppError('MISSING_CLIENT_CAPABILITY', 'the server asked for what the client did not declare', {
    publicDetail: `The server needs a client that supports ${names}.`,
    extensions: { requiredCapabilities },
  });
}
