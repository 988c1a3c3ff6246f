/** One request under way: gathers the answer within its bounds and settles once, whatever happens first. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import { answerTooLarge, decodeBody } from './decodeBody.js';
import { egressError, toEgressError } from './egressError.js';

export interface EgressResponse {
  readonly status: number;
  /** Names in lower case. Nothing of this travels to a client: what is wanted is picked by name. */
  readonly headers: Readonly<IncomingHttpHeaders>;
  /** Decoded and complete. */
  readonly body: Buffer;
}

export interface EgressBounds {
  /** Of the body as sent, and of the body decoded. */
  readonly maxBytes: number;
  /** From dispatch to the last byte, however lively the answer is. */
  readonly totalTimeoutMs: number;
}

export class EgressCall implements Dispatcher.DispatchHandler {
  readonly #bounds: EgressBounds;
  readonly #signal: AbortSignal | undefined;
  readonly #resolve: (response: EgressResponse) => void;
  readonly #reject: (reason: unknown) => void;
  readonly #deadline: NodeJS.Timeout;
  #controller: Dispatcher.DispatchController | null = null;
  #settled = false;
  #status = 0;
  #headers: IncomingHttpHeaders = {};
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(
    bounds: EgressBounds,
    signal: AbortSignal | undefined,
    resolve: (response: EgressResponse) => void,
    reject: (reason: unknown) => void,
  ) {
    this.#bounds = bounds;
    this.#signal = signal;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#deadline = setTimeout(() => this.#onDeadline(), bounds.totalTimeoutMs);
    signal?.addEventListener('abort', this.#onAbort);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // Given up while it stood in the pool's queue: nothing is to be written any more.
    if (this.#settled) controller.abort(new Error('given up'));
  }

  onResponseStart(_controller: unknown, status: number, headers: IncomingHttpHeaders): void {
    this.#status = status;
    this.#headers = headers;
    if (Number(headers['content-length'] ?? 0) > this.#bounds.maxBytes) {
      this.#fail(answerTooLarge(this.#bounds.maxBytes));
    }
  }

  onResponseData(_controller: unknown, chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#bounds.maxBytes) return this.#fail(answerTooLarge(this.#bounds.maxBytes));
    this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    if (!this.#settle()) return;
    const status = this.#status;
    const headers = this.#headers;
    const first = this.#chunks[0];
    const raw = this.#chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.#chunks);
    const coding = headers['content-encoding'];
    if (coding === undefined) return this.#resolve({ status, headers, body: raw });
    decodeBody(raw, coding, this.#bounds.maxBytes).then(
      (body) => this.#resolve({ status, headers, body }),
      this.#reject,
    );
  }

  onResponseError(_controller: unknown, error: Error): void {
    if (this.#settle()) this.#reject(toEgressError(error));
  }

  #onDeadline(): void {
    this.#fail(
      egressError('UPSTREAM_TIMEOUT', 'total deadline', 'The service behind did not answer in time.'),
    );
  }

  readonly #onAbort = (): void => this.#fail(this.#signal?.reason);

  #fail(reason: unknown): void {
    if (!this.#settle()) return;
    this.#reject(reason);
    this.#controller?.abort(new Error('given up'));
  }

  #settle(): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    clearTimeout(this.#deadline);
    this.#signal?.removeEventListener('abort', this.#onAbort);
    return true;
  }
}
