/**
 * One `subscriptions/listen` of a modern client, fed by what the legacy upstream says of changed lists and resources (MCP
 * 2026-07-28, "Subscriptions"). It has a connection of its own, so that resource subscriptions are counted with it, to the
 * same upstream as the calls of its client.
 */
import type { SealedInstance } from '../../../services/instanceResolver.js';
import { envelope } from '../protocol/envelope.js';
import {
  isJsonObject,
  type JsonObject,
  type JsonRpcId,
  type JsonRpcNotification,
} from '../protocol/jsonRpc.js';
import type { ServerTerms, UpstreamConnection } from '../upstream/upstream.js';
import type { BridgeContext } from './bridgeContext.js';
import { HeldConnection, type HeldConnectionOptions } from './heldConnection.js';
import type { OpenThing } from './instanceRooms.js';
import { refuseToBeAsked } from './modernLane.js';
import type { ReplyStream } from './reply.js';

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

export class ListenStream implements OpenThing {
  readonly usedAt = Infinity;
  readonly held: HeldConnection;
  readonly #id: JsonRpcId;
  readonly #filter: ListenFilter;
  readonly #ctx: BridgeContext;
  #instance: SealedInstance;
  #honored: ListenFilter = {};
  #server: ServerTerms | null = null;
  #stream: ReplyStream | null = null;
  #subscribed: { readonly connection: UpstreamConnection; readonly uris: readonly string[] } | null = null;

  constructor(
    ctx: BridgeContext,
    instance: SealedInstance,
    id: JsonRpcId,
    filter: ListenFilter,
    joining: Pick<HeldConnectionOptions, 'client' | 'sessionId'>,
  ) {
    this.#ctx = ctx;
    this.#instance = instance;
    this.#id = id;
    this.#filter = filter;
    this.held = new HeldConnection({
      upstream: ctx.upstream,
      openValues: ctx.openValues,
      isKept: ctx.definition.kind !== 'api',
      ...joining,
      preferredEra: 'modern',
      background: {
        onNotification: (notification) => this.#pass(notification),
        onServerRequest: refuseToBeAsked,
      },
      restore: (connection, isAgain) => this.#subscribe(connection, isAgain),
      onLost: () => this.#rejoin(),
    });
  }

  /** Acknowledges, and goes on until the client leaves; `onEnd` is called once. False when there is nothing to wait for. */
  begin(stream: ReplyStream, server: ServerTerms, onEnd: () => void): void {
    this.#stream = stream;
    this.#server = server;
    this.#honored = toHonored(this.#filter, server.capabilities);
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

  onInstanceChange(now: SealedInstance | null): void {
    if (now === null || now.epoch !== this.#instance.epoch) return this.close();
    this.#instance = now;
    this.#rejoin();
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

  /** Leaves the upstream, which may live on for others: it hears of the end of each subscription first. */
  leave(): void {
    const subscribed = this.#subscribed;
    this.#subscribed = null;
    if (subscribed === null) return this.held.close();
    const { connection, uris } = subscribed;
    const ends = uris.map((uri) => settle(connection, 'resources/unsubscribe', uri));
    void Promise.allSettled(ends).then(() => this.held.close());
  }

  async #subscribe(connection: UpstreamConnection, isAgain: boolean): Promise<void> {
    const { resourceSubscriptions: uris = [] } = toHonored(this.#filter, connection.server.capabilities);
    for (const uri of uris) await settle(connection, 'resources/subscribe', uri);
    this.#subscribed = uris.length === 0 ? null : { connection, uris };
    if (!isAgain) return;
    for (const kind of ['tools', 'prompts', 'resources']) {
      this.#pass({ jsonrpc: '2.0', method: `notifications/${kind}/list_changed` });
    }
  }

  #pass(notification: JsonRpcNotification): void {
    if (isWanted(notification, this.#honored)) this.#stream?.send(this.#stamp(notification));
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
      this.held.get(this.#instance, signal).catch((error: unknown) => {
        this.#ctx.log.debug('a listen stream could not rejoin', { instance: this.#instance.id, error });
        this.#rejoin();
      });
    }, rejoinAfterMs).unref();
  }
}

const subscribeTimeoutMs = 10_000;

async function settle(connection: UpstreamConnection, method: string, uri: string): Promise<void> {
  const listener = { onNotification() {}, onServerRequest: refuseToBeAsked };
  const request = { jsonrpc: '2.0', id: uri, method, params: { uri } } as const;
  await connection.request(request, listener, AbortSignal.timeout(subscribeTimeoutMs));
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
