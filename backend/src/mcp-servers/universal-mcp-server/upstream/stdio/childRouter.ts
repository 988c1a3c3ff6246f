/**
 * Many conversations over the one pipe of a child, by the rules of "Sharing a stdio child" (spec 04): request ids and
 * progress tokens become integers of ours and are mapped back, cancellation reaches only what its owner asked, a
 * request of the server goes to the one conversation it can belong to or to none, and what cannot be attributed is
 * told to nobody.
 */
import { AppError } from '../../../../errors/appError.js';
import {
  isJsonObject,
  shapeOf,
  type JsonObject,
  type JsonRpcId,
  type JsonRpcMessage,
  type JsonRpcNotification,
  type JsonRpcRequest,
  type JsonRpcResponse,
} from '../../protocol/jsonRpc.js';
import { isAtLeast } from '../../protocol/logLevels.js';
import type { BackgroundListener, RequestListener } from '../upstream.js';
import { toTooLarge } from './tooLarge.js';

/** What the router knows of one conversation. */
export interface Owner {
  readonly listeners: Set<BackgroundListener>;
  /** Resource URIs that it subscribed to. */
  readonly subscriptions: Set<string>;
  /** The level it set; null: whatever the child sends. */
  logLevel: string | null;
}

interface InFlight {
  readonly id: JsonRpcId;
  readonly method: string;
  readonly owner: Owner;
  readonly listener: RequestListener;
  readonly progressToken: unknown;
  readonly signal: AbortSignal;
  readonly onAbort: () => void;
  readonly resolve: (response: JsonRpcResponse) => void;
  readonly reject: (reason: unknown) => void;
}

export interface ChildRouterOptions {
  /** Writes one line to the child; the text has no newline. */
  readonly write: (line: string) => void;
  /** Requests that may be under way at once. */
  readonly inFlightMax: number;
  /** An answer to a conversation that is longer is replaced by an error. */
  readonly responseBytesMax: number;
}

/** Things that should not happen, counted for the operator. */
export interface OddMessages {
  /** Responses to nothing that is under way: late, doubled or unsolicited. */
  strayResponses: number;
  /** Notifications and requests that belong to no conversation that can be told. */
  unattributed: number;
  /** Lines that are no JSON-RPC message. */
  garbage: number;
}

export class ChildRouter {
  readonly odd: OddMessages = { strayResponses: 0, unattributed: 0, garbage: 0 };
  readonly owners = new Set<Owner>();
  readonly #inFlight = new Map<number, InFlight>();
  readonly #options: ChildRouterOptions;
  #nextId = 0;
  #closedBy: AppError | null = null;

  constructor(options: ChildRouterOptions) {
    this.#options = options;
  }

  get isClosed(): boolean {
    return this.#closedBy !== null;
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  request(
    request: JsonRpcRequest,
    owner: Owner,
    listener: RequestListener,
    signal: AbortSignal,
  ): Promise<JsonRpcResponse> {
    if (this.#closedBy !== null) return Promise.reject(this.#closedBy);
    if (signal.aborted) return Promise.reject(asError(signal.reason));
    if (this.#inFlight.size >= this.#options.inFlightMax) {
      return Promise.reject(
        new AppError('SERVICE_SATURATED', 'too many requests under way at one child', {
          retryAfterSeconds: 1,
        }),
      );
    }
    return new Promise((resolve, reject) => {
      const id = ++this.#nextId;
      const onAbort = (): void => this.#abandon(id);
      const { params } = request;
      const meta = params?.['_meta'];
      const progressToken = isJsonObject(meta) ? meta['progressToken'] : undefined;
      const sent =
        progressToken === undefined
          ? params
          : { ...params, _meta: { ...(meta as JsonObject), progressToken: id } };
      this.#inFlight.set(id, {
        id: request.id,
        method: request.method,
        owner,
        listener,
        progressToken,
        signal,
        onAbort,
        resolve,
        reject,
      });
      signal.addEventListener('abort', onAbort, { once: true });
      this.#options.write(JSON.stringify({ jsonrpc: '2.0', id, method: request.method, params: sent }));
    });
  }

  notify(notification: JsonRpcNotification): void {
    if (this.#closedBy === null) this.#options.write(JSON.stringify(notification));
  }

  /** Takes one line of the child, which has that many bytes. @returns false when it is no JSON-RPC message. */
  receive(line: string, bytes: number): boolean {
    let message: unknown;
    try {
      message = JSON.parse(line);
    } catch {
      this.odd.garbage += 1;
      return false;
    }
    // Batches exist in revision 2025-03-26 only; a child of that revision may answer with one.
    if (Array.isArray(message)) return message.map((one) => this.#take(one, bytes)).every(Boolean);
    return this.#take(message, bytes);
  }

  /** Fails what is under way and refuses what comes. */
  close(reason: AppError): void {
    if (this.#closedBy !== null) return;
    this.#closedBy = reason;
    for (const id of Array.from(this.#inFlight.keys())) this.#settle(id)?.reject(reason);
    for (const owner of Array.from(this.owners)) {
      for (const listener of Array.from(owner.listeners)) listener.onClosed();
    }
  }

  /** Ends a conversation: what it still has under way is cancelled. */
  forget(owner: Owner): void {
    this.owners.delete(owner);
    for (const [id, entry] of Array.from(this.#inFlight)) if (entry.owner === owner) this.#abandon(id);
  }

  #take(value: unknown, bytes: number): boolean {
    switch (shapeOf(value)) {
      case 'response':
        this.#takeResponse(value as { id: JsonRpcId | null } & JsonRpcMessage, bytes);
        return true;
      case 'notification':
        this.#takeNotification(value as JsonRpcNotification);
        return true;
      case 'request':
        this.#takeRequest(value as JsonRpcRequest);
        return true;
      case 'invalid':
        this.odd.garbage += 1;
        return false;
    }
  }

  #takeResponse(message: { id: JsonRpcId | null } & JsonRpcMessage, bytes: number): void {
    const entry = typeof message.id === 'number' ? this.#settle(message.id) : undefined;
    if (entry === undefined) {
      this.odd.strayResponses += 1;
      return;
    }
    const bytesMax = this.#options.responseBytesMax;
    if (bytes > bytesMax && entry.method !== 'initialize') return entry.resolve(toTooLarge(entry, bytesMax));
    // The parsed message is ours alone, so the original id goes into it rather than into a copy.
    message.id = entry.id;
    entry.resolve(message as JsonRpcResponse);
  }

  #takeNotification(notification: JsonRpcNotification): void {
    const { method, params } = notification;
    switch (method) {
      case 'notifications/progress': {
        const entry = this.#inFlight.get(Number(params?.['progressToken']));
        if (entry === undefined || entry.progressToken === undefined) break;
        const mapped = { ...params, progressToken: entry.progressToken };
        return entry.listener.onNotification({ jsonrpc: '2.0', method, params: mapped });
      }
      case 'notifications/message':
        return this.#takeLog(notification);
      case 'notifications/resources/updated': {
        const uri = params?.['uri'];
        const subscribed = [...this.owners].filter(
          (one) => typeof uri === 'string' && one.subscriptions.has(uri),
        );
        // A server may speak of a part of what was subscribed to; with one conversation there is no doubt whose it is.
        const told = subscribed.length > 0 || this.owners.size > 1 ? subscribed : [...this.owners];
        return told.forEach((owner) => tell(owner, notification));
      }
      case 'notifications/cancelled':
        // The server gave up a request of its own; the client's answer will find nobody. Nothing to pass on.
        return;
      default:
        if (method.endsWith('/list_changed'))
          return this.owners.forEach((owner) => tell(owner, notification));
        {
          const owner = this.#soleOwner();
          if (owner !== null) return tell(owner, notification);
        }
    }
    this.odd.unattributed += 1;
  }

  #takeLog(notification: JsonRpcNotification): void {
    const owner = this.#soleOwner();
    if (owner === null) {
      this.odd.unattributed += 1;
      return;
    }
    if (!isAtLeast(notification.params?.['level'], owner.logLevel)) return;
    const entry = this.#newestOf(owner);
    if (entry === null) tell(owner, notification);
    else entry.listener.onNotification(notification);
  }

  #takeRequest(request: JsonRpcRequest): void {
    if (request.method === 'ping') return this.#answer({ jsonrpc: '2.0', id: request.id, result: {} });
    const owner = this.#soleOwner();
    const entry = owner === null ? null : this.#newestOf(owner);
    const listener = entry?.listener ?? [...(owner?.listeners ?? [])].at(-1);
    const refuse = (code: number, message: string): void =>
      this.#answer({ jsonrpc: '2.0', id: request.id, error: { code, message } });
    if (listener === undefined) {
      this.odd.unattributed += 1;
      return refuse(-32601, 'no conversation that could answer this is under way');
    }
    listener.onServerRequest(request).then(
      (response) => this.#answer({ ...response, id: request.id }),
      () => refuse(-32603, 'the client could not be asked'),
    );
  }

  #answer(response: JsonRpcResponse): void {
    if (this.#closedBy === null) this.#options.write(JSON.stringify(response));
  }

  /** Whose the child's words are: the one with requests under way, else the only one there is; null when in doubt. */
  #soleOwner(): Owner | null {
    let sole: Owner | null = null;
    for (const { owner } of this.#inFlight.values()) {
      if (sole !== null && sole !== owner) return null;
      sole = owner;
    }
    if (sole !== null) return sole;
    if (this.owners.size !== 1) return null;
    for (const owner of this.owners) return owner;
    return null;
  }

  #newestOf(owner: Owner): InFlight | null {
    let newest: InFlight | null = null;
    for (const entry of this.#inFlight.values()) if (entry.owner === owner) newest = entry;
    return newest;
  }

  #settle(id: number): InFlight | undefined {
    const entry = this.#inFlight.get(id);
    if (entry === undefined) return undefined;
    this.#inFlight.delete(id);
    entry.signal.removeEventListener('abort', entry.onAbort);
    return entry;
  }

  /** The owner wants it no longer: the child is told, and a late answer will find nothing. */
  #abandon(id: number): void {
    const entry = this.#settle(id);
    if (entry === undefined) return;
    // An `initialize` is never cancelled (MCP "Cancellation").
    if (entry.method !== 'initialize') {
      const params = { requestId: id, reason: 'the caller gave up' };
      this.notify({ jsonrpc: '2.0', method: 'notifications/cancelled', params });
    }
    entry.reject(asError(entry.signal.reason));
  }
}

function tell(owner: Owner, notification: JsonRpcNotification): void {
  for (const listener of owner.listeners) listener.onNotification(notification);
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new AppError('UPSTREAM_FAILED', 'the request was cancelled');
}
