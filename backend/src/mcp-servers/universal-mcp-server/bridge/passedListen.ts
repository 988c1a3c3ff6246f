/**
 * One `subscriptions/listen` of a modern client that its modern upstream answers itself: what comes is passed on under the
 * id that the client gave its stream (MCP 2026-07-28, "Subscriptions").
 */
import { once } from 'node:events';
import type { SealedInstance } from '../../../services/instanceResolver.js';
import { envelope } from '../protocol/envelope.js';
import {
  isJsonObject,
  type JsonObject,
  type JsonRpcNotification,
  type JsonRpcRequest,
  type JsonRpcResponse,
} from '../protocol/jsonRpc.js';
import type { RequestListener } from '../upstream/upstream.js';
import type { BridgeContext } from './bridgeContext.js';
import { HeldConnection, type HeldConnectionOptions } from './heldConnection.js';
import type { OpenThing } from './instanceRooms.js';
import { ListenKeeper } from './listenKeeper.js';
import { refuseToBeAsked } from './refuseToBeAsked.js';
import type { ReplyStream } from './reply.js';
import { toListenNotice } from './toolsChanged.js';

export class PassedListen implements OpenThing, RequestListener {
  readonly usedAt = Infinity;
  readonly onServerRequest = refuseToBeAsked;
  readonly held: HeldConnection;
  readonly #ctx: BridgeContext;
  readonly #instance: SealedInstance;
  readonly #request: JsonRpcRequest;
  readonly #ending = new AbortController();
  readonly #keeper: ListenKeeper | null;
  #stream: ReplyStream | null = null;

  constructor(
    ctx: BridgeContext,
    instance: SealedInstance,
    request: JsonRpcRequest,
    joining: Pick<HeldConnectionOptions, 'client' | 'sessionId'>,
  ) {
    this.#ctx = ctx;
    this.#instance = instance;
    this.#request = request;
    this.#keeper = ListenKeeper.of(ctx, request);
    this.held = new HeldConnection({
      upstream: ctx.upstream,
      openValues: ctx.openValues,
      mayGoOn: ctx.mayGoOn,
      isKept: true,
      ...joining,
      preferredEra: 'modern',
      background: { onNotification() {}, onServerRequest: refuseToBeAsked },
      restore: () => Promise.resolve(),
    });
  }

  /** Passes on until either side ends it; `onEnd` is called once. */
  begin(stream: ReplyStream, onEnd: () => void): void {
    this.#stream = stream;
    stream.signal.addEventListener('abort', () => this.#ending.abort(new Error('the client is gone')), {
      once: true,
    });
    void this.#run().finally(onEnd);
  }

  onNotification({ method, params = {} }: JsonRpcNotification): void {
    const shown = this.#keeper?.show(method, params) ?? params;
    this.#stream?.send({ jsonrpc: '2.0', method, params: this.#stamp(shown) });
  }

  onInstanceChange(now: SealedInstance | null): void {
    if (now === null || now.epoch !== this.#instance.epoch) this.close();
  }

  onToolsChange(): void {
    const notice = toListenNotice(this.#request);
    if (notice !== null) this.#stream?.send(notice);
  }

  /** Ends the stream with the result that says so; the client may listen anew. */
  close(): void {
    this.#finish({ jsonrpc: '2.0', id: this.#request.id, result: { resultType: 'complete' } });
    this.#ending.abort(new Error('the stream is over'));
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    try {
      const connection = await this.held.get(this.#instance, signal);
      const response = await connection.request(this.#request, this, signal);
      if (this.#keeper?.isOurs === true && !('error' in response)) await once(signal, 'abort');
      else this.#finish(response);
    } catch (error) {
      // Without its upstream a stream has come to its end like any other.
      this.#ctx.log.debug('a passed listen stream ended', { instance: this.#instance.id, error });
      this.close();
    }
  }

  #finish(response: JsonRpcResponse): void {
    const stream = this.#stream;
    this.#stream = null;
    stream?.send('error' in response ? response : { ...response, result: this.#stamp(response.result) });
    stream?.end();
  }

  #stamp(params: JsonObject): JsonObject {
    const { _meta } = params;
    const stamped = { ...(isJsonObject(_meta) ? _meta : {}), [envelope.subscriptionId]: this.#request.id };
    return { ...params, _meta: stamped };
  }
}
