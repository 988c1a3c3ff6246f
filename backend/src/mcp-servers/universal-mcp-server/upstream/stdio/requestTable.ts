/**
 * The requests under way at one child: ids and progress tokens become integers of ours and are mapped back, each request
 * is settled exactly once, cancelling reaches only what its owner asked, and what never left this process is told from
 * what may have run (R06).
 */
import { AppError } from '../../../../errors/appError.js';
import {
  isJsonObject,
  type JsonObject,
  type JsonRpcId,
  type JsonRpcRequest,
  type JsonRpcResponse,
} from '../../protocol/jsonRpc.js';
import type { BackgroundListener, RequestListener } from '../upstream.js';
import type { PipeWriter } from './pipeWriter.js';

/** What is known of one conversation. */
export interface Owner {
  readonly listeners: Set<BackgroundListener>;
  /** Resource URIs that it subscribed to. */
  readonly subscriptions: Set<string>;
  /** The level it set; null: whatever the child sends. */
  logLevel: string | null;
}

/** One request; it is its own listener on the signal, for each call would pay for a closure. */
export class PendingRequest {
  readonly #table: RequestTable;
  readonly number: number;
  readonly id: JsonRpcId;
  readonly method: string;
  readonly owner: Owner;
  readonly listener: RequestListener;
  readonly signal: AbortSignal;
  readonly meta: JsonObject | null;
  batch = 0;
  resolve!: (response: JsonRpcResponse) => void;
  reject!: (reason: unknown) => void;

  constructor(
    table: RequestTable,
    number: number,
    request: JsonRpcRequest,
    owner: Owner,
    listener: RequestListener,
    signal: AbortSignal,
  ) {
    this.#table = table;
    this.number = number;
    this.id = request.id;
    this.method = request.method;
    this.owner = owner;
    this.listener = listener;
    this.signal = signal;
    const meta = request.params?.['_meta'];
    this.meta = isJsonObject(meta) ? meta : null;
  }

  get progressToken(): unknown {
    return this.meta?.['progressToken'];
  }

  handleEvent(): void {
    this.#table.abandon(this.number);
  }
}

/** Requests after which a fresh Map of the others is begun. */
const settledMax = 256;

export class RequestTable {
  #pending = new Map<number, PendingRequest>();
  #settled = 0;
  readonly #pipe: PipeWriter;
  readonly #max: number;
  #lastNumber = 0;
  #closedBy: AppError | null = null;

  /** @param max requests that may be under way at once. */
  constructor(pipe: PipeWriter, max: number) {
    this.#pipe = pipe;
    this.#max = max;
  }

  get isClosed(): boolean {
    return this.#closedBy !== null;
  }

  get size(): number {
    return this.#pending.size;
  }

  all(): Iterable<PendingRequest> {
    return this.#pending.values();
  }

  get(number: unknown): PendingRequest | undefined {
    return typeof number === 'number' ? this.#pending.get(number) : undefined;
  }

  /** @throws AppError UPSTREAM_UNREACHABLE when the child is gone: nothing is sent to it. */
  requireOpen(): void {
    if (this.#closedBy !== null) throw toNeverSent(this.#closedBy);
  }

  send(
    request: JsonRpcRequest,
    owner: Owner,
    listener: RequestListener,
    signal: AbortSignal,
  ): Promise<JsonRpcResponse> {
    if (this.#closedBy !== null) return Promise.reject(toNeverSent(this.#closedBy));
    if (signal.aborted) return Promise.reject(asError(signal.reason));
    if (this.#pending.size >= this.#max || this.#pipe.isCongested()) {
      return Promise.reject(
        new AppError('SERVICE_SATURATED', 'one child has too much to do, or does not read', {
          retryAfterSeconds: 1,
        }),
      );
    }
    const number = ++this.#lastNumber;
    const entry = new PendingRequest(this, number, request, owner, listener, signal);
    const { method, params } = request;
    const sent =
      entry.progressToken === undefined
        ? params
        : { ...params, _meta: { ...entry.meta, progressToken: number } };
    const line = JSON.stringify({ jsonrpc: '2.0', id: number, method, params: sent });
    return new Promise((resolve, reject) => {
      entry.resolve = resolve;
      entry.reject = reject;
      this.#pending.set(number, entry);
      signal.addEventListener('abort', entry, { once: true });
      entry.batch = this.#pipe.write(line);
    });
  }

  /** Takes a request off the table, to be answered by the caller of this. */
  settle(number: unknown): PendingRequest | undefined {
    const entry = this.get(number);
    if (entry === undefined) return undefined;
    this.#pending.delete(entry.number);
    this.#settled += 1;
    // A Map that is filled and emptied for ever keeps what stood in it from being collected young (`lifecycle/underWay.ts`).
    if (this.#settled % settledMax === 0) this.#pending = new Map(this.#pending);
    entry.signal.removeEventListener('abort', entry);
    return entry;
  }

  /** The owner wants it no longer: the child is told, and a late answer will find nothing. */
  abandon(number: number): void {
    const entry = this.settle(number);
    if (entry === undefined) return;
    // An `initialize` is never cancelled (MCP "Cancellation").
    if (entry.method !== 'initialize' && !this.isClosed) {
      const params = { requestId: number, reason: 'the caller gave up' };
      this.#pipe.write(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params }));
    }
    entry.reject(asError(entry.signal.reason));
  }

  /** Cancels what one conversation has under way. */
  abandonAllOf(owner: Owner): void {
    for (const entry of Array.from(this.#pending.values()))
      if (entry.owner === owner) this.abandon(entry.number);
  }

  /** Fails what is under way and refuses what comes. */
  close(reason: AppError): void {
    if (this.#closedBy !== null) return;
    this.#closedBy = reason;
    for (const { number, batch } of Array.from(this.#pending.values()))
      this.settle(number)?.reject(this.#pipe.isWaiting(batch) ? toNeverSent(reason) : reason);
  }
}

/** What is said of a request that the child cannot have read; a service that stops says so itself. */
function toNeverSent(reason: AppError): AppError {
  if (reason.code !== 'UPSTREAM_FAILED') return reason;
  const { publicDetail } = reason.options;
  return new AppError('UPSTREAM_UNREACHABLE', `not sent: ${reason.message}`, {
    cause: reason,
    ...(publicDetail === undefined ? {} : { publicDetail }),
  });
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new AppError('UPSTREAM_FAILED', 'the request was cancelled');
}
