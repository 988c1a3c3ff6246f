/**
 * One connection of a conversation of modern clients, and the calls on it that their server may ask about. It tells the
 * upstream what these clients can do, and takes what it asks to the call that it can be of.
 */
import type { SealedInstance } from '../../../services/instanceResolver.js';
import type { JsonObject, JsonRpcRequest, JsonRpcResponse } from '../protocol/jsonRpc.js';
import { legacyRevisions, type Era } from '../protocol/revisions.js';
import type { ClientTerms, RequestListener, UpstreamConnection } from '../upstream/upstream.js';
import type { BridgeContext } from './bridgeContext.js';
import type { ConversationStreams } from './conversationStreams.js';
import type { HeldCall } from './heldCall.js';
import { HeldConnection, type HeldConnectionOptions } from './heldConnection.js';
import { refuseToBeAsked } from './refuseToBeAsked.js';
import { toCanonicalText } from './requestState.js';
import { canBeAsked } from './translate/inputRequests.js';

/** A client that nobody asks anything, as a legacy upstream is told of it. */
export const bridgeTerms: ClientTerms = {
  protocolVersion: legacyRevisions[0],
  capabilities: {},
  clientInfo: { name: 'portolan', version: '0.1.0' },
};

/** The conversation's name to the upstream, the same for the same capabilities: it finds its own child again. */
export function toConversationName(capabilities: JsonObject): string {
  return `modern/${toCanonicalText(capabilities)}`;
}

/** What the upstream is told of a client, and the name of its conversation where it needs one of its own. */
export function toUpstreamTerms(
  capabilities: JsonObject,
  index: number,
): Pick<HeldConnectionOptions, 'client' | 'sessionId'> {
  return {
    client: { ...bridgeTerms, capabilities },
    sessionId: canBeAsked(capabilities) ? `${toConversationName(capabilities)}/${index}` : null,
  };
}

/** One connection of a conversation, and the calls on it that may be asked. */
export class ModernLane {
  /** 0 is the one that the conversation always has. */
  readonly index: number;
  readonly held: HeldConnection;
  readonly calls = new Set<HeldCall>();
  #loggingTo: UpstreamConnection | null = null;
  #era: Era | null = null;

  constructor(
    ctx: BridgeContext,
    capabilities: JsonObject,
    index: number,
    streams: ConversationStreams | null,
  ) {
    this.index = index;
    this.held = new HeldConnection({
      upstream: ctx.upstream,
      openValues: ctx.openValues,
      mayGoOn: ctx.mayGoOn,
      isKept: ctx.definition.kind !== 'api',
      ...toUpstreamTerms(capabilities, index),
      preferredEra: 'modern',
      background: {
        onNotification: (notification) => streams?.tell(notification),
        onServerRequest: (request) => this.ask(request),
      },
      restore: async (connection, isAgain) => {
        if (connection.era === 'legacy') await streams?.restore(connection, isAgain);
      },
      onLost: () => streams?.lost(),
    });
  }

  get era(): Era | null {
    return this.#era;
  }

  /**
   * The upstream, logging enough for this request: it has one level for all, so it is set to the most talkative and each
   * request's listener leaves out what was not asked for.
   */
  async connect(
    instance: SealedInstance,
    logLevel: string | null,
    signal: AbortSignal,
  ): Promise<UpstreamConnection> {
    const connection = await this.held.get(instance, signal);
    this.#era = connection.era;
    if (logLevel === null || this.#loggingTo === connection || connection.era === 'modern') return connection;
    if (connection.server.capabilities['logging'] === undefined) return connection;
    this.#loggingTo = connection;
    const params = { level: 'debug' };
    const request = { jsonrpc: '2.0', id: 'level', method: 'logging/setLevel', params } as const;
    const listener: RequestListener = {
      onNotification() {},
      onServerRequest: (question) => this.ask(question),
    };
    await connection.request(request, listener, signal);
    return connection;
  }

  /** A question that came on no call's stream goes to the one call that it can be of, or to none. */
  ask(question: JsonRpcRequest): Promise<JsonRpcResponse> {
    const [call, other] = this.calls;
    return call === undefined || other !== undefined
      ? refuseToBeAsked(question)
      : call.onServerRequest(question);
  }
}
