/**
 * A connection to a modern upstream as a legacy client's session sees it: one that was initialized, has a log level and
 * subscriptions, and asks questions. What the modern era has no word for is answered here (`ping`, `logging/setLevel`,
 * `resources/subscribe`); the rest goes through `translate/legacyToModern` and `inputRounds`.
 */
import type { Logger } from '../../../telemetry/logger.js';
import { abortable } from '../protocol/abortable.js';
import type {
  JsonObject,
  JsonRpcNotification,
  JsonRpcRequest,
  JsonRpcResponse,
} from '../protocol/jsonRpc.js';
import { isJsonObject } from '../protocol/jsonRpc.js';
import { isLogLevel } from '../protocol/logLevels.js';
import {
  toFailure,
  type BackgroundListener,
  type ClientTerms,
  type RequestListener,
  type UpstreamConnection,
} from '../upstream/upstream.js';
import { runRounds } from './inputRounds.js';
import type { SessionMemory } from './sessionJournal.js';
import {
  routeOf,
  toEnvelope,
  toLegacyNotification,
  toLegacyServerTerms,
  toListenFilter,
  toModernRequest,
} from './translate/legacyToModern.js';
import { UpstreamListen } from './upstreamListen.js';

export interface LegacyViewOptions {
  readonly client: ClientTerms;
  /** What the session had settled before, maybe in another process. */
  readonly settled: Pick<SessionMemory, 'logLevel' | 'subscriptions'>;
  readonly newId: () => string;
  readonly log: Pick<Logger, 'debug'>;
}

export interface LegacyView extends UpstreamConnection {
  /** Somebody hears what comes outside any request, so it is worth a stream of the upstream from now on. */
  hear(): void;
}

/** Legacy servers log unasked; this is what a session gets that never said how much it wants. */
const unaskedLogLevel = 'info';

export function createLegacyView(upstream: UpstreamConnection, options: LegacyViewOptions): LegacyView {
  const { client, newId, log } = options;
  const server = toLegacyServerTerms(upstream.server);
  const { logging, resources } = server.capabilities;
  const canSubscribe = isJsonObject(resources) && resources['subscribe'] === true;
  const listeners = new Set<BackgroundListener>();
  const subscriptions = new Set(options.settled.subscriptions);
  let logLevel = options.settled.logLevel ?? (logging === undefined ? null : unaskedLogLevel);

  const tell = (notification: JsonRpcNotification): void => {
    const shown = toLegacyNotification(notification);
    if (shown !== null) for (const listener of listeners) listener.onNotification(shown);
  };

  const listening = new UpstreamListen({
    upstream,
    stamp: () => toEnvelope(client, null),
    newId,
    onNotification: tell,
    onGap: () => {
      for (const kind of ['tools', 'prompts', 'resources']) {
        if (canChange(server.capabilities[kind]))
          tell({ jsonrpc: '2.0', method: `notifications/${kind}/list_changed` });
      }
      for (const uri of subscriptions)
        tell({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri } });
    },
    log,
  });

  /** Answers once the upstream watches the resource, or watches it no longer. One at a time: each filter builds on the last. */
  const subscribe = (request: JsonRpcRequest, signal: AbortSignal): Promise<JsonRpcResponse> => {
    const mine = lastSubscribe.then(() => changeSubscription(request));
    lastSubscribe = mine.catch(() => undefined);
    return abortable(mine, signal);
  };
  let lastSubscribe: Promise<unknown> = Promise.resolve();

  const changeSubscription = async (request: JsonRpcRequest): Promise<JsonRpcResponse> => {
    if (!canSubscribe) return methodNotFound(request);
    const uri = request.params?.['uri'];
    if (typeof uri !== 'string') return invalid(request, 'The params need a "uri".');
    const isAdding = request.method === 'resources/subscribe';
    if (subscriptions.has(uri) === isAdding) return done(request);
    const wanted = isAdding ? [...subscriptions, uri] : [...subscriptions].filter((one) => one !== uri);
    if (wanted.length > subscriptionsMax) return invalid(request, 'This session has too many subscriptions.');
    const honored = await listening.change(toListenFilter(server.capabilities, wanted));
    if (isAdding && !isHonored(honored, uri))
      return invalid(request, 'The server does not watch this resource.');
    if (isAdding) subscriptions.add(uri);
    else subscriptions.delete(uri);
    return done(request);
  };

  const setLevel = (request: JsonRpcRequest): JsonRpcResponse => {
    if (logging === undefined) return methodNotFound(request);
    const level = request.params?.['level'];
    if (!isLogLevel(level)) return invalid(request, 'The level is none that the specification names.');
    logLevel = level;
    return done(request);
  };

  const pass = async (
    request: JsonRpcRequest,
    listener: RequestListener,
    signal: AbortSignal,
  ): Promise<JsonRpcResponse> => {
    const stamped = toModernRequest(request, toEnvelope(client, logLevel));
    const answer = await runRounds({ upstream, client, newId }, stamped, listener, signal);
    return { jsonrpc: '2.0', id: request.id, ...answer };
  };

  upstream.listen({
    onNotification: () => undefined,
    onServerRequest: (request) => Promise.resolve(methodNotFound(request)),
    onClosed() {
      listening.close();
      for (const listener of Array.from(listeners)) listener.onClosed();
    },
  });

  return {
    era: 'legacy',
    server,
    get isLost() {
      return upstream.isLost === true;
    },
    async request(request, listener, signal) {
      signal.throwIfAborted();
      switch (routeOf(request.method)) {
        case 'unknown':
          return methodNotFound(request);
        case 'passed':
          return await pass(request, listener, signal);
        case 'here':
          if (request.method === 'ping') return done(request);
          return request.method === 'logging/setLevel' ? setLevel(request) : await subscribe(request, signal);
      }
    },
    // The modern era has no notifications of clients: roots are asked for anew in each call, cancelling is the signal's.
    notify: () => undefined,
    listen(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    hear() {
      const filter = toListenFilter(server.capabilities, subscriptions);
      if (filter !== null) listening.keep(filter);
    },
    release() {
      listeners.clear();
      listening.close();
      upstream.release();
    },
  };
}

const subscriptionsMax = 256;

function canChange(capability: unknown): boolean {
  return isJsonObject(capability) && capability['listChanged'] === true;
}

function isHonored({ resourceSubscriptions: uris }: JsonObject, uri: string): boolean {
  return Array.isArray(uris) && uris.includes(uri);
}

const done = ({ id }: JsonRpcRequest): JsonRpcResponse => ({ jsonrpc: '2.0', id, result: {} });

const invalid = (request: JsonRpcRequest, message: string): JsonRpcResponse =>
  toFailure(request, { code: -32602, message });

const methodNotFound = (request: JsonRpcRequest): JsonRpcResponse =>
  toFailure(request, { code: -32601, message: 'Method not found' });
