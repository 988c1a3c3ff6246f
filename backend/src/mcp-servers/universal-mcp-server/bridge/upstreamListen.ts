/**
 * The one `subscriptions/listen` that a session holds open to a modern upstream (MCP 2026-07-28, "Subscriptions"). A wider
 * or narrower filter is a new stream: it is opened and acknowledged before the old one is closed, so nothing is missed
 * in between. A stream that ends by itself is opened again, and whoever hears it is told that there was a gap.
 */
import { AppError } from '../../../errors/appError.js';
import type { Logger } from '../../../telemetry/logger.js';
import { isJsonObject, type JsonObject, type JsonRpcNotification } from '../protocol/jsonRpc.js';
import { toFailure, type UpstreamConnection } from '../upstream/upstream.js';

export interface UpstreamListenOptions {
  readonly upstream: Pick<UpstreamConnection, 'request'>;
  /** The `_meta` of each listen request. */
  readonly stamp: () => JsonObject;
  readonly newId: () => string;
  readonly onNotification: (notification: JsonRpcNotification) => void;
  /** Something may have happened unheard. */
  readonly onGap: () => void;
  readonly log: Pick<Logger, 'debug'>;
}

interface Stream {
  readonly closing: AbortController;
  openedAt: number;
}

/** The upstream refused to listen; trying again would change nothing. */
class ListenRefused extends AppError {
  constructor(code: number) {
    super('UPSTREAM_FAILED', `the upstream refused to listen (${code})`);
  }
}

const acknowledgeMsMax = 10_000;
const retryMsMin = 1_000;
const retryMsMax = 30_000;
/** A stream that lived shorter than this does not count as working. */
const settledMs = 10_000;

export class UpstreamListen {
  readonly #options: UpstreamListenOptions;
  readonly #opening = new Set<Stream>();
  #wanted: JsonObject | null = null;
  #current: Stream | null = null;
  #turn: Promise<unknown> = Promise.resolve();
  #retry: NodeJS.Timeout | null = null;
  #failures = 0;
  #hasGap = false;
  #isClosed = false;

  constructor(options: UpstreamListenOptions) {
    this.#options = options;
  }

  /**
   * Hears what the filter names from now on, and nothing with null; resolves with what the upstream honours of it.
   * What was heard before goes on when it rejects. @throws AppError of the upstream connection; UPSTREAM_FAILED
   */
  change(filter: JsonObject | null): Promise<JsonObject> {
    return this.#inTurn(async () => {
      if (filter !== null) {
        const honored = await this.#open(filter);
        this.#wanted = filter;
        return honored;
      }
      this.#wanted = null;
      this.#stopRetrying();
      this.#replace(null);
      return {};
    });
  }

  /** Hears what the filter names as soon as the upstream lets it, and keeps trying until then. */
  keep(filter: JsonObject): void {
    this.#wanted = filter;
    this.#reopen();
  }

  close(): void {
    this.#isClosed = true;
    this.#wanted = null;
    this.#stopRetrying();
    for (const { closing } of Array.from(this.#opening)) closing.abort(conversationIsOver());
    this.#replace(null);
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#turn;
    const mine = before.then(work);
    this.#turn = mine.catch(() => undefined);
    return await mine;
  }

  #reopen(): void {
    this.#inTurn(async () => {
      if (this.#wanted !== null && this.#current === null) await this.#open(this.#wanted);
    }).catch((error: unknown) => {
      this.#options.log.debug('an upstream is not heard', { error });
      if (!(error instanceof ListenRefused)) this.#retryLater();
    });
  }

  #open(filter: JsonObject): Promise<JsonObject> {
    const { upstream, stamp, newId, onNotification, onGap } = this.#options;
    const stream: Stream = { closing: new AbortController(), openedAt: 0 };
    const { signal } = stream.closing;
    if (this.#isClosed) return Promise.reject(conversationIsOver());
    this.#opening.add(stream);
    return new Promise((resolve, reject) => {
      const late = new AppError('UPSTREAM_TIMEOUT', 'a listen was not acknowledged in time');
      const timer = setTimeout(() => stream.closing.abort(late), acknowledgeMsMax);
      const onOpen = (honored: JsonObject): void => {
        clearTimeout(timer);
        if (!this.#opening.delete(stream)) return;
        stream.openedAt = performance.now();
        // At once, before what comes right behind the acknowledgement.
        this.#stopRetrying();
        this.#replace(stream);
        if (this.#hasGap) onGap();
        this.#hasGap = false;
        resolve(honored);
      };
      const request = {
        jsonrpc: '2.0',
        id: newId(),
        method: 'subscriptions/listen',
        params: { notifications: filter, _meta: stamp() },
      } as const;
      const listener = {
        onNotification: (notification: JsonRpcNotification): void => {
          if (notification.method === 'notifications/subscriptions/acknowledged') {
            const honored = notification.params?.['notifications'];
            return onOpen(isJsonObject(honored) ? honored : {});
          }
          if (this.#current === stream) onNotification(notification);
        },
        onServerRequest: refuseRequest,
      };
      const onEnd = (error: Error): void => {
        clearTimeout(timer);
        if (this.#opening.delete(stream)) return reject(error);
        this.#onLost(stream);
      };
      upstream.request(request, listener, signal).then(
        (response) => onEnd(toEndReason(response)),
        (error: unknown) =>
          onEnd(error instanceof Error ? error : new AppError('UPSTREAM_FAILED', 'a listen failed')),
      );
    });
  }

  #replace(stream: Stream | null): void {
    const before = this.#current;
    this.#current = stream;
    before?.closing.abort(conversationIsOver());
  }

  #onLost(stream: Stream): void {
    if (this.#current !== stream) return;
    this.#current = null;
    this.#hasGap = true;
    if (performance.now() - stream.openedAt > settledMs) this.#failures = 0;
    this.#retryLater();
  }

  #retryLater(): void {
    if (this.#isClosed || this.#retry !== null || this.#wanted === null) return;
    const waitMs = Math.min(retryMsMin * 2 ** this.#failures, retryMsMax);
    this.#failures += 1;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.#reopen();
    }, waitMs).unref();
  }

  #stopRetrying(): void {
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
  }
}

function toEndReason(response: Awaited<ReturnType<UpstreamConnection['request']>>): AppError {
  if (!('error' in response)) return new AppError('UPSTREAM_FAILED', 'a listen stream ended');
  // A server that knows no such method, or no such filter, will not know it later.
  const { code } = response.error;
  return code === -32601 || code === -32602
    ? new ListenRefused(code)
    : new AppError('UPSTREAM_FAILED', `the upstream did not listen (${code})`);
}

function refuseRequest(request: Parameters<typeof toFailure>[0]) {
  return Promise.resolve(toFailure(request, { code: -32601, message: 'no requests on this stream' }));
}

const conversationIsOver = (): AppError =>
  new AppError('UPSTREAM_FAILED', 'the stream is not needed any more');
