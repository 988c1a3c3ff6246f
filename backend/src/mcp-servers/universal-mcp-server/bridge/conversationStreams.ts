/**
 * The listen streams of one conversation: they hear what its upstream says outside of calls, and their resource
 * subscriptions are counted, so that the upstream hears of the first of a resource and of the end of the last.
 */
import type { JsonRpcNotification } from '../protocol/jsonRpc.js';
import type { ServerTerms, UpstreamConnection } from '../upstream/upstream.js';
import { refuseToBeAsked } from './refuseToBeAsked.js';

export interface HearingStream {
  onNotification(notification: JsonRpcNotification): void;
  /** The upstream was lost and is back; what it said in between nobody heard. */
  onRejoined(server: ServerTerms): void;
  onLost(): void;
}

const subscribeTimeoutMs = 10_000;

export class ConversationStreams {
  readonly #streams = new Set<HearingStream>();
  readonly #counts = new Map<string, number>();
  #connection: UpstreamConnection | null = null;

  add(stream: HearingStream): void {
    this.#streams.add(stream);
  }

  remove(stream: HearingStream): void {
    this.#streams.delete(stream);
  }

  /** @throws what the connection throws; the subscription counts then and has to be ended all the same. */
  async subscribe(uri: string): Promise<void> {
    const count = this.#counts.get(uri) ?? 0;
    this.#counts.set(uri, count + 1);
    if (count === 0 && this.#connection !== null) await settle(this.#connection, 'resources/subscribe', uri);
  }

  /** Whether the upstream hears of it matters to nobody any more. */
  unsubscribe(uri: string): void {
    const count = this.#counts.get(uri) ?? 0;
    if (count > 1) return void this.#counts.set(uri, count - 1);
    this.#counts.delete(uri);
    if (this.#connection !== null)
      settle(this.#connection, 'resources/unsubscribe', uri).catch(() => undefined);
  }

  // ── As the background of the conversation's connection ──

  tell(notification: JsonRpcNotification): void {
    for (const stream of Array.from(this.#streams)) stream.onNotification(notification);
  }

  async restore(connection: UpstreamConnection, isAgain: boolean): Promise<void> {
    this.#connection = connection;
    for (const uri of Array.from(this.#counts.keys())) await settle(connection, 'resources/subscribe', uri);
    if (isAgain) for (const stream of Array.from(this.#streams)) stream.onRejoined(connection.server);
  }

  lost(): void {
    this.#connection = null;
    for (const stream of Array.from(this.#streams)) stream.onLost();
  }
}

async function settle(connection: UpstreamConnection, method: string, uri: string): Promise<void> {
  const listener = { onNotification() {}, onServerRequest: refuseToBeAsked };
  const request = { jsonrpc: '2.0', id: uri, method, params: { uri } } as const;
  await connection.request(request, listener, AbortSignal.timeout(subscribeTimeoutMs));
}
