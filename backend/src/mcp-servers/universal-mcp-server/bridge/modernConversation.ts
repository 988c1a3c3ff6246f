/**
 * What the requests of modern clients of one instance share: a connection to its legacy upstream. Each request says
 * everything of itself, so there is no session; the upstream is told of no client capability, since a held call that
 * waits for the client's input is not offered yet, and asks nothing therefore.
 */
import type { SealedInstance } from '../../../services/instanceResolver.js';
import type {
  JsonObject,
  JsonRpcNotification,
  JsonRpcRequest,
  JsonRpcResponse,
} from '../protocol/jsonRpc.js';
import { isAtLeast } from '../protocol/logLevels.js';
import { legacyRevisions } from '../protocol/revisions.js';
import type { ClientTerms, RequestListener, UpstreamConnection } from '../upstream/upstream.js';
import type { BridgeContext } from './bridgeContext.js';
import { HeldConnection } from './heldConnection.js';
import type { OpenThing } from './instanceRooms.js';
import type { Reply } from './reply.js';

/** The name under which a room keeps it. */
export const modernConversationName = 'modern';

export const bridgeTerms: ClientTerms = {
  protocolVersion: legacyRevisions[0],
  capabilities: {},
  clientInfo: { name: 'portolan', version: '0.1.0' },
};

export class ModernConversation implements OpenThing {
  readonly held: HeldConnection;
  #usedAt = performance.now();
  #loggingTo: UpstreamConnection | null = null;

  constructor(ctx: BridgeContext) {
    this.held = new HeldConnection({
      upstream: ctx.upstream,
      openValues: ctx.openValues,
      isKept: ctx.definition.kind !== 'api',
      client: bridgeTerms,
      sessionId: null,
      preferredEra: 'modern',
      background: { onNotification() {}, onServerRequest: refuseToBeAsked },
      restore: () => Promise.resolve(),
    });
  }

  get usedAt(): number {
    return this.#usedAt;
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
    this.#usedAt = performance.now();
    const connection = await this.held.get(instance, signal);
    if (logLevel === null || this.#loggingTo === connection) return connection;
    if (connection.server.capabilities['logging'] === undefined) return connection;
    this.#loggingTo = connection;
    const request = {
      jsonrpc: '2.0',
      id: 'level',
      method: 'logging/setLevel',
      params: { level: 'debug' },
    } as const;
    await connection.request(request, { onNotification() {}, onServerRequest: refuseToBeAsked }, signal);
    return connection;
  }

  onInstanceChange(now: SealedInstance | null): void {
    if (now === null) this.close();
  }

  close(): void {
    this.held.close();
  }
}

/** Hears what belongs to one modern request, and remembers what its client lacked when the server asked for it. */
export class ModernListener implements RequestListener {
  missingCapability: string | null = null;
  readonly #reply: Pick<Reply, 'send'>;
  readonly #logLevel: string | null;
  readonly #capabilities: JsonObject;

  constructor(reply: Pick<Reply, 'send'>, logLevel: string | null, capabilities: JsonObject) {
    this.#reply = reply;
    this.#logLevel = logLevel;
    this.#capabilities = capabilities;
  }

  onNotification(notification: JsonRpcNotification): void {
    if (notification.method === 'notifications/message') {
      if (this.#logLevel === null || !isAtLeast(notification.params?.['level'], this.#logLevel)) return;
    } else if (notification.method !== 'notifications/progress') return;
    this.#reply.send(notification);
  }

  onServerRequest(request: JsonRpcRequest): Promise<JsonRpcResponse> {
    const capability = request.method.split('/')[0] ?? '';
    if (this.#capabilities[capability] === undefined) this.missingCapability = capability;
    return refuseToBeAsked(request);
  }
}

export function refuseToBeAsked(request: JsonRpcRequest): Promise<JsonRpcResponse> {
  const error = { code: -32601, message: 'the client cannot be asked while a call is under way' };
  return Promise.resolve({ jsonrpc: '2.0', id: request.id, error });
}
