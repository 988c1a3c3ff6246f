/**
 * One `subscriptions/listen` of a modern client, fed by what the legacy upstream says of changed lists and resources (MCP
 * 2026-07-28, "Subscriptions"). It hears the connection that the calls of its client use.
 */
import type { SealedInstance } from '../../../services/instanceResolver.js';
import { envelope } from '../protocol/envelope.js';
import {
  isJsonObject,
  type JsonObject,
  type JsonRpcId,
  type JsonRpcNotification,
} from '../protocol/jsonRpc.js';
import type { ServerTerms } from '../upstream/upstream.js';
import type { BridgeContext } from './bridgeContext.js';
import type { HearingStream } from './conversationStreams.js';
import type { OpenThing } from './instanceRooms.js';
import type { ModernConversation } from './modernConversation.js';
import type { ReplyStream } from './reply.js';
import { toShownCapabilities } from './shownTerms.js';

export interface ListenFilter {
  readonly toolsListChanged?: boolean;
  readonly promptsListChanged?: boolean;
  readonly resourcesListChanged?: boolean;
  readonly resourceSubscriptions?: readonly string[];
}

const subscriptionsMax = 256;

/** Null when it is no filter. */
export function parseListenFilter(value: unknown): ListenFilter | null {
  if (!isJsonObject(value)) return null;
  const { resourceSubscriptions: uris = [] } = value;
  if (!Array.isArray(uris) || uris.length > subscriptionsMax) return null;
  const subscribed = uris.filter((uri): uri is string => typeof uri === 'string');
  const flags = ['toolsListChanged', 'promptsListChanged', 'resourcesListChanged'] as const;
  if (subscribed.length !== uris.length) return null;
  if (flags.some((flag) => value[flag] !== undefined && typeof value[flag] !== 'boolean')) return null;
  return {
    ...Object.fromEntries(flags.filter((flag) => value[flag] === true).map((flag) => [flag, true])),
    ...(subscribed.length === 0 ? {} : { resourceSubscriptions: subscribed }),
  };
}

/** What of a filter the upstream can deliver; the acknowledgement says it to the client. */
export function toHonored(filter: ListenFilter, capabilities: JsonObject): ListenFilter {
  const can = (kind: string, member: string): boolean => {
    const capability = capabilities[kind];
    return isJsonObject(capability) && capability[member] === true;
  };
  const { resourceSubscriptions } = filter;
  return {
    ...(filter.toolsListChanged === true && can('tools', 'listChanged') ? { toolsListChanged: true } : {}),
    ...(filter.promptsListChanged === true && can('prompts', 'listChanged')
      ? { promptsListChanged: true }
      : {}),
    ...(filter.resourcesListChanged === true && can('resources', 'listChanged')
      ? { resourcesListChanged: true }
      : {}),
    ...(resourceSubscriptions !== undefined && can('resources', 'subscribe')
      ? { resourceSubscriptions }
      : {}),
  };
}

export class ListenStream implements OpenThing, HearingStream {
  readonly usedAt = Infinity;
  readonly #id: JsonRpcId;
  readonly #filter: ListenFilter;
  readonly #ctx: BridgeContext;
  readonly #conversation: ModernConversation;
  #instance: SealedInstance;
  #honored: ListenFilter = {};
  #server: ServerTerms | null = null;
  #stream: ReplyStream | null = null;
  #done: (() => void) | null = null;
  readonly #subscribed: string[] = [];

  constructor(
    ctx: BridgeContext,
    instance: SealedInstance,
    id: JsonRpcId,
    filter: ListenFilter,
    conversation: ModernConversation,
  ) {
    this.#ctx = ctx;
    this.#instance = instance;
    this.#id = id;
    this.#filter = filter;
    this.#conversation = conversation;
  }

  /** Joins the upstream and subscribes; what it says from now on is heard. @throws what joining throws */
  async join(signal: AbortSignal): Promise<void> {
    this.#done = this.#conversation.use();
    const { server } = await this.#conversation.connect(this.#instance, null, signal);
    this.#server = server;
    this.#honored = toHonored(this.#filter, toShownCapabilities(this.#ctx, server.capabilities));
    this.#conversation.streams.add(this);
    for (const uri of new Set(this.#honored.resourceSubscriptions)) {
      this.#subscribed.push(uri);
      await this.#conversation.streams.subscribe(uri);
    }
  }

  /** Acknowledges, and goes on until the client leaves; `onEnd` is called once. False when there is nothing to wait for. */
  begin(stream: ReplyStream, onEnd: () => void): void {
    this.#stream = stream;
    stream.signal.addEventListener('abort', onEnd, { once: true });
    stream.send(
      this.#stamp({
        method: 'notifications/subscriptions/acknowledged',
        params: { notifications: this.#honored },
      }),
    );
    if (Object.keys(this.#honored).length > 0) return;
    this.close();
    onEnd();
  }

  onInstanceChange(now: SealedInstance | null, onlyKeys: boolean): void {
    if (now === null || now.epoch !== this.#instance.epoch) return this.close();
    this.#instance = now;
    if (!onlyKeys) this.#rejoin();
  }

  onToolsChange(): void {
    this.onNotification({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
  }

  /** Ends the stream with the result that says so (a graceful end); the client may listen anew. */
  close(): void {
    const stream = this.#stream;
    this.#stream = null;
    this.leave();
    if (stream === null || stream.signal.aborted) return;
    const meta = {
      [envelope.subscriptionId]: this.#id,
      [envelope.serverInfo]: this.#server?.serverInfo ?? {},
    };
    stream.send({ jsonrpc: '2.0', id: this.#id, result: { resultType: 'complete', _meta: meta } });
    stream.end();
  }

  /** Leaves the upstream, which lives on for others. */
  leave(): void {
    this.#conversation.streams.remove(this);
    for (const uri of this.#subscribed.splice(0)) this.#conversation.streams.unsubscribe(uri);
    this.#done?.();
    this.#done = null;
  }

  onNotification(notification: JsonRpcNotification): void {
    if (isWanted(notification, this.#honored)) this.#stream?.send(this.#stamp(notification));
  }

  onRejoined(): void {
    for (const kind of ['tools', 'prompts', 'resources'])
      this.onNotification({ jsonrpc: '2.0', method: `notifications/${kind}/list_changed` });
  }

  onLost(): void {
    this.#rejoin();
  }

  #stamp({ method, params = {} }: Pick<JsonRpcNotification, 'method' | 'params'>): JsonRpcNotification {
    const { _meta } = params;
    const stamped = { ...(isJsonObject(_meta) ? _meta : {}), [envelope.subscriptionId]: this.#id };
    return { jsonrpc: '2.0', method, params: { ...params, _meta: stamped } };
  }

  #rejoin(): void {
    const { signal } = this.#stream ?? {};
    // Without resources nothing is lost that the next request, which brings the child back, would not tell.
    if (signal === undefined || this.#honored.resourceSubscriptions === undefined) return;
    setTimeout(() => {
      if (signal.aborted || this.#stream === null) return;
      this.#conversation.connect(this.#instance, null, signal).catch((error: unknown) => {
        this.#ctx.log.debug('a listen stream could not rejoin', { instance: this.#instance.id, error });
        this.#rejoin();
      });
    }, rejoinAfterMs).unref();
  }
}

const rejoinAfterMs = 1_000;

function isWanted({ method, params }: JsonRpcNotification, honored: ListenFilter): boolean {
  switch (method) {
    case 'notifications/tools/list_changed':
      return honored.toolsListChanged === true;
    case 'notifications/prompts/list_changed':
      return honored.promptsListChanged === true;
    case 'notifications/resources/list_changed':
      return honored.resourcesListChanged === true;
    case 'notifications/resources/updated':
      return honored.resourceSubscriptions?.includes(String(params?.['uri'])) === true;
    default:
      return false;
  }
}
