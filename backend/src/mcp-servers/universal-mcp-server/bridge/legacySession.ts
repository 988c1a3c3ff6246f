/**
 * A conversation of the legacy era while it is in memory: its upstream connection, its stream, the questions of the
 * server that its client has yet to answer. What has to outlive it is in its id and in the journal.
 */
import { AppError } from '../../../errors/appError.js';
import type { SealedInstance } from '../../../services/instanceResolver.js';
import type {
  JsonObject,
  JsonRpcId,
  JsonRpcNotification,
  JsonRpcRequest,
  JsonRpcResponse,
} from '../protocol/jsonRpc.js';
import type { ClientTerms, ServerTerms, UpstreamConnection } from '../upstream/upstream.js';
import type { BridgeContext } from './bridgeContext.js';
import { EventRing } from './eventRing.js';
import { HeldConnection } from './heldConnection.js';
import type { OpenThing } from './instanceRooms.js';
import { createLegacyView, type LegacyView } from './legacyView.js';
import type { ReplyStream } from './reply.js';
import type { SettledSession } from './sessionIds.js';
import { toolsChanged } from './toolsChanged.js';

/** Of a stream whose transport lets a client say where it stopped hearing. */
export interface Resumption {
  readonly lastEventId: string | null;
}

export type SendToClient = (message: JsonRpcNotification | JsonRpcRequest) => void;

export class LegacySession implements OpenThing {
  readonly uuid: string;
  readonly revision: string;
  readonly held: HeldConnection;
  /** Calls under way, by the client's own request id. */
  readonly calls = new Map<JsonRpcId, AbortController>();
  readonly #ctx: BridgeContext;
  readonly #asked = new Map<
    string,
    { resolve: (response: JsonRpcResponse) => void; reject: (error: Error) => void }
  >();
  #instance: SealedInstance;
  #stream: ReplyStream | null = null;
  #usedAt = performance.now();
  #asks = 0;
  #owesLists = false;
  /** What the stream was told; null before the first one that can be resumed. */
  #told: EventRing | null = null;
  /** The connection, when it is one to a modern upstream. */
  #view: LegacyView | null = null;

  constructor(ctx: BridgeContext, instance: SealedInstance, settled: SettledSession) {
    this.#ctx = ctx;
    this.#instance = instance;
    this.uuid = settled.uuid;
    this.revision = settled.client.protocolVersion;
    this.held = new HeldConnection({
      upstream: ctx.upstream,
      openValues: ctx.openValues,
      mayGoOn: ctx.mayGoOn,
      isKept: ctx.definition.kind !== 'api',
      client: settled.client,
      sessionId: settled.uuid,
      preferredEra: 'legacy',
      adapt: (connection) => this.#adapt(connection, settled.client),
      background: {
        onNotification: (notification) => this.#tell(notification),
        onServerRequest: (request) => this.ask(request, this.#stream),
      },
      restore: (connection, isAgain) => this.#restore(connection, isAgain),
      onLost: () => this.#rejoinToHear(),
    });
  }

  get usedAt(): number {
    return this.calls.size > 0 || this.#stream !== null ? Infinity : this.#usedAt;
  }

  get hasStream(): boolean {
    return this.#stream !== null;
  }

  touch(instance: SealedInstance): void {
    this.#usedAt = performance.now();
    this.#instance = instance;
  }

  /** Says that every list may be another one; a client without a stream hears of it when it opens one. */
  tellListsChanged(): void {
    if (this.#stream === null) this.#owesLists = true;
    this.#tellListsChanged(this.held.server);
  }

  /** Of the tools alone; a client without a stream hears of it with the rest. */
  onToolsChange(): void {
    if (this.#stream === null) this.#owesLists = true;
    if (this.held.server === null || this.held.server.capabilities['tools'] !== undefined)
      this.#tell({ jsonrpc: '2.0', method: toolsChanged });
  }

  isOwnEvent(id: string | null | undefined): boolean {
    return id != null && this.#told?.after(id) != null;
  }

  openStream(stream: ReplyStream, resumption?: Resumption): void {
    const before = this.#stream;
    this.#stream = stream;
    before?.end();
    if (resumption !== undefined) this.#resume(stream, resumption.lastEventId);
    if (this.#owesLists) this.#tellListsChanged(this.held.server);
    this.#owesLists = false;
    if (this.held.isConnected) this.#view?.hear();
    else this.#rejoinToHear();
    stream.signal.addEventListener(
      'abort',
      () => {
        if (this.#stream !== stream) return;
        this.#stream = null;
        this.#usedAt = performance.now();
      },
      { once: true },
    );
  }

  /**
   * Asks the client what its server wants to know, under an id of ours; `via` is the stream on which it can be asked.
   * Resolves with a failure when there is none; rejects when the session, the stream or the call ends first, and tells
   * the client of the last that nobody waits for its answer any more.
   */
  ask(
    request: JsonRpcRequest,
    via: { send: SendToClient; readonly signal: AbortSignal } | null,
    call?: AbortSignal,
  ): Promise<JsonRpcResponse> {
    const target = via ?? this.#stream;
    if (target === null) {
      const error = { code: -32601, message: 'the client has no stream on which it could be asked' };
      return Promise.resolve({ jsonrpc: '2.0', id: request.id, error });
    }
    const id = `${this.uuid}/${++this.#asks}`;
    return new Promise<JsonRpcResponse>((resolve, reject) => {
      const onGone = (): void => this.#asked.get(id)?.reject(new Error('the client is gone'));
      const onCallOver = (): void => {
        this.#asked.get(id)?.reject(new Error('the call is over'));
        const params = { requestId: id, reason: 'The call that this belongs to is over.' };
        if (!target.signal.aborted)
          target.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params });
      };
      target.signal.addEventListener('abort', onGone, { once: true });
      call?.addEventListener('abort', onCallOver, { once: true });
      const done = (): void => {
        this.#asked.delete(id);
        target.signal.removeEventListener('abort', onGone);
        call?.removeEventListener('abort', onCallOver);
      };
      this.#asked.set(id, {
        resolve: (response) => {
          done();
          resolve(response);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      });
      if (target.signal.aborted) return onGone();
      target.send({ ...request, id });
    });
  }

  /** Routes a response that the client posted to whoever asked; false when nobody did, or does any more. */
  takeResponse(response: JsonRpcResponse): boolean {
    const waiting = this.#asked.get(String(response.id));
    waiting?.resolve(response);
    return waiting !== undefined;
  }

  onInstanceChange(now: SealedInstance | null, onlyKeys: boolean): void {
    if (now === null || now.epoch !== this.#instance.epoch) {
      this.#ctx.log.debug('a session ends: its instance changed', { instance: this.#instance.id });
      return this.close();
    }
    this.#instance = now;
    if (!onlyKeys) this.#tellListsChanged(this.held.server);
  }

  close(): void {
    const gone = new AppError('SESSION_NOT_FOUND', 'the session is over');
    for (const controller of this.calls.values()) controller.abort(gone);
    for (const { reject } of Array.from(this.#asked.values())) reject(gone);
    const stream = this.#stream;
    this.#stream = null;
    stream?.end();
    this.held.close();
  }

  /** Says again what was missed since then; where that is not known, that everything may have changed. */
  #resume(stream: ReplyStream, lastEventId: string | null): void {
    const ring = (this.#told ??= new EventRing(this.#ctx.newId()));
    const missed = lastEventId === null ? [] : ring.after(lastEventId);
    // Only this revision has events without a message, and its clients expect them.
    if (missed?.length === 0 && this.revision === primedRevision) stream.mark(ring.lastId);
    for (const { id, notification } of missed ?? []) stream.send(notification, id);
    if (missed !== null) return;
    this.#tellListsChanged(this.held.server);
    for (const uri of this.#ctx.journal.memoryOf(this.uuid).subscriptions)
      this.#tell({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri } });
  }

  /** What belongs to no request; kept for a client whose stream is broken just now. */
  #tell(notification: JsonRpcNotification): void {
    const id = this.#told?.add(notification);
    this.#stream?.send(notification, id);
  }

  /** An upstream of the modern era is seen as one of this session's; it starts with what the session had settled. */
  #adapt(connection: UpstreamConnection, client: ClientTerms): UpstreamConnection {
    if (connection.era === 'legacy') return connection;
    const { journal, newId, log } = this.#ctx;
    this.#view = createLegacyView(connection, { client, settled: journal.memoryOf(this.uuid), newId, log });
    return this.#view;
  }

  /** Gives a fresh child what the session had settled with the one before (12.18). */
  async #restore(connection: UpstreamConnection, isAgain: boolean): Promise<void> {
    const { logLevel, subscriptions } = this.#ctx.journal.memoryOf(this.uuid);
    if (connection === this.#view) {
      if (this.#stream !== null || subscriptions.size > 0) this.#view.hear();
      if (isAgain) this.#tellListsChanged(connection.server);
      return;
    }
    const send = async (method: string, params: JsonObject): Promise<void> => {
      const signal = AbortSignal.timeout(restoreTimeoutMs);
      await connection.request({ jsonrpc: '2.0', id: 'restore', method, params }, this.#silent, signal);
    };
    if (logLevel !== null) await send('logging/setLevel', { level: logLevel });
    for (const uri of subscriptions) await send('resources/subscribe', { uri });
    if (isAgain) this.#tellListsChanged(connection.server);
  }

  #tellListsChanged(server: ServerTerms | null): void {
    for (const kind of ['tools', 'prompts', 'resources']) {
      if (server === null ? kind !== 'tools' : server.capabilities[kind] === undefined) continue;
      this.#tell({ jsonrpc: '2.0', method: `notifications/${kind}/list_changed` });
    }
  }

  /**
   * Whoever waits for updates of resources makes no request that would bring the upstream back. A remote one may change
   * its lists while nobody is joined to it; a child that is not there changes nothing.
   */
  #rejoinToHear(): void {
    const { journal, definition } = this.#ctx;
    const isRemote = definition.kind === 'streamable-http' || definition.kind === 'sse';
    const hasSubscriptions = journal.memoryOf(this.uuid).subscriptions.size > 0;
    if (this.#stream === null || !(isRemote || hasSubscriptions)) return;
    const { signal } = this.#stream;
    setTimeout(() => {
      if (signal.aborted) return;
      this.held.get(this.#instance, signal).catch((error: unknown) => {
        this.#ctx.log.debug('subscriptions could not be restored', { instance: this.#instance.id, error });
        this.#rejoinToHear();
      });
    }, rejoinAfterMs).unref();
  }

  readonly #silent = {
    onNotification() {},
    onServerRequest: () => Promise.reject(new Error('nobody is there to answer')),
  };
}

const primedRevision = '2025-11-25';
const restoreTimeoutMs = 10_000;
const rejoinAfterMs = 1_000;
