/**
 * Who a message of a remote server of the legacy era is for. What comes on the answer to a request belongs to that request;
 * what comes on a stream of its own is attributed by the rules of "Sharing a stdio child" (spec 04): by its id or progress
 * token, else to the one conversation that it can belong to, else to nobody.
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
import type { RequestListener } from '../upstream.js';
import type { Owner } from '../stdio/requestTable.js';

/** A request under way, under a number of ours that serves as its progress token as well. */
export interface PendingMessage {
  readonly number: number;
  /** What is sent. */
  readonly message: JsonRpcRequest;
  readonly owner: Owner;
  readonly listener: RequestListener;
  /** Rejects when the session is closed or the conversation is forgotten. */
  readonly answered: Promise<JsonRpcResponse>;
  /** Aborts with the same reason. */
  readonly signal: AbortSignal;
  /** Answered, failed or given up. */
  readonly isSettled: boolean;
}

interface Entry extends PendingMessage {
  isSettled: boolean;
  readonly id: JsonRpcId;
  readonly progressToken: unknown;
  readonly controller: AbortController;
  readonly resolve: (response: JsonRpcResponse) => void;
  readonly reject: (reason: unknown) => void;
}

export interface SessionRouterOptions {
  /** Sends what answers a request of the server. */
  readonly answer: (response: JsonRpcResponse) => void;
  /** Tells the server that nobody waits for a request any more. */
  readonly cancel: (number: number) => void;
}

export class SessionRouter {
  readonly owners = new Set<Owner>();
  readonly #pending = new Map<number, Entry>();
  readonly #options: SessionRouterOptions;
  #lastNumber = 0;
  #closedBy: AppError | null = null;

  constructor(options: SessionRouterOptions) {
    this.#options = options;
  }

  get closedBy(): AppError | null {
    return this.#closedBy;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** @throws AppError of the end of the session; the signal's reason. */
  begin(
    request: JsonRpcRequest,
    owner: Owner,
    listener: RequestListener,
    signal: AbortSignal,
  ): PendingMessage {
    if (this.#closedBy !== null) throw this.#closedBy;
    signal.throwIfAborted();
    const number = ++this.#lastNumber;
    const meta = request.params?.['_meta'];
    const progressToken = isJsonObject(meta) ? meta['progressToken'] : undefined;
    const params: JsonObject | undefined =
      progressToken === undefined
        ? request.params
        : { ...request.params, _meta: { ...(meta as JsonObject), progressToken: number } };
    const controller = new AbortController();
    const onAbort = (): void => this.#abandon(entry, signal.reason);
    let settle!: Pick<Entry, 'resolve' | 'reject'>;
    const answered = new Promise<JsonRpcResponse>((resolve, reject) => {
      settle = { resolve, reject };
    });
    // Whoever waits hears of it; nobody has to.
    answered.catch(() => undefined).finally(() => signal.removeEventListener('abort', onAbort));
    const entry: Entry = {
      number,
      id: request.id,
      message: {
        jsonrpc: '2.0',
        id: number,
        method: request.method,
        ...(params === undefined ? {} : { params }),
      },
      owner,
      listener,
      progressToken,
      answered,
      controller,
      signal: controller.signal,
      isSettled: false,
      ...settle,
    };
    this.#pending.set(number, entry);
    signal.addEventListener('abort', onAbort, { once: true });
    return entry;
  }

  /** Takes a message; `on` is the request on whose answer it came, null on a stream of its own. */
  take(value: unknown, on: PendingMessage | null): void {
    switch (shapeOf(value)) {
      case 'response':
        return this.#takeResponse(value as { id: JsonRpcId | null } & JsonRpcMessage, on);
      case 'notification':
        return this.#takeNotification(value as JsonRpcNotification, on);
      case 'request':
        return this.#takeRequest(value as JsonRpcRequest, on);
      case 'invalid':
        throw new AppError('UPSTREAM_FAILED', 'the remote server sent JSON that is no message', {
          publicDetail: 'The service behind sent something that is no MCP message.',
        });
    }
  }

  /** Ends one request with an error; the others go on. */
  fail(pending: PendingMessage, reason: unknown): void {
    this.#settle(pending.number)?.reject(reason);
  }

  /** Answers a request in the server's stead, as where it says no by a status alone. */
  settleWith(pending: PendingMessage, error: JsonRpcFailureError): void {
    const entry = this.#settle(pending.number);
    entry?.resolve({ jsonrpc: '2.0', id: entry.id, error });
  }

  /** Ends a conversation: what it still has under way is cancelled. */
  forget(owner: Owner): void {
    this.owners.delete(owner);
    const reason = new AppError('UPSTREAM_FAILED', 'the conversation is over');
    for (const entry of Array.from(this.#pending.values()))
      if (entry.owner === owner) this.#abandon(entry, reason);
  }

  /** Fails what is under way and refuses what comes. */
  close(reason: AppError): void {
    if (this.#closedBy !== null) return;
    this.#closedBy = reason;
    for (const entry of Array.from(this.#pending.values())) {
      this.#settle(entry.number)?.reject(reason);
      entry.controller.abort(reason);
    }
    for (const owner of Array.from(this.owners))
      for (const listener of Array.from(owner.listeners)) listener.onClosed();
  }

  #takeResponse(message: { id: JsonRpcId | null } & JsonRpcMessage, on: PendingMessage | null): void {
    const number = typeof message.id === 'number' ? message.id : null;
    // An answer that stands on another request's stream answers nothing.
    if (number === null || (on !== null && on.number !== number)) return;
    const entry = this.#settle(number);
    if (entry === undefined) return;
    // The parsed message is ours alone, so the original id goes into it rather than into a copy.
    message.id = entry.id;
    entry.resolve(message as JsonRpcResponse);
  }

  #takeNotification(notification: JsonRpcNotification, on: PendingMessage | null): void {
    const { method, params } = notification;
    if (method === 'notifications/progress') {
      const entry = this.#pending.get(Number(params?.['progressToken']));
      if (entry === undefined || entry.progressToken === undefined) return;
      const mapped = { ...params, progressToken: entry.progressToken };
      return entry.listener.onNotification({ jsonrpc: '2.0', method, params: mapped });
    }
    // The server gave up a request of its own; the client's answer will find nobody.
    if (method === 'notifications/cancelled') return;
    if (method.endsWith('/list_changed')) return this.owners.forEach((owner) => tell(owner, notification));
    if (method === 'notifications/resources/updated') {
      const uri = params?.['uri'];
      const subscribed = [...this.owners].filter(
        (one) => typeof uri === 'string' && one.subscriptions.has(uri),
      );
      const told = subscribed.length > 0 || this.owners.size > 1 ? subscribed : [...this.owners];
      return told.forEach((owner) => tell(owner, notification));
    }
    const owner = on?.owner ?? this.#soleOwner();
    if (owner === null) return;
    const isLog = method === 'notifications/message';
    if (isLog && !isAtLeast(params?.['level'], owner.logLevel)) return;
    // HTTP+SSE has one stream for everything: what is logged while a request is under way is most likely about that.
    const entry = isLog || owner.listeners.size === 0 ? this.#newestOf(owner) : undefined;
    const listener = on?.listener ?? entry?.listener;
    if (listener === undefined) tell(owner, notification);
    else listener.onNotification(notification);
  }

  #takeRequest(request: JsonRpcRequest, on: PendingMessage | null): void {
    const { answer } = this.#options;
    if (request.method === 'ping') return answer({ jsonrpc: '2.0', id: request.id, result: {} });
    const owner = on?.owner ?? this.#soleOwner();
    const listener: Pick<RequestListener, 'onServerRequest' | 'onStrayRequest'> | undefined =
      on?.listener ??
      (owner === null ? undefined : (this.#newestOf(owner)?.listener ?? [...owner.listeners].at(-1)));
    const refuse = (code: number, message: string): void =>
      answer({ jsonrpc: '2.0', id: request.id, error: { code, message } });
    if (listener === undefined) return refuse(-32601, 'no conversation that could answer this is under way');
    const asked = on === null ? listener.onStrayRequest?.(request) : undefined;
    (asked ?? listener.onServerRequest(request)).then(
      (response) => answer({ ...response, id: request.id }),
      () => refuse(-32603, 'the client could not be asked'),
    );
  }

  /** Whose unattributed words are: the one with requests under way, else the only one there is; null when in doubt. */
  #soleOwner(): Owner | null {
    const busy = new Set([...this.#pending.values()].map(({ owner }) => owner));
    const candidates = busy.size > 0 ? busy : this.owners;
    if (candidates.size !== 1) return null;
    return [...candidates][0] ?? null;
  }

  #newestOf(owner: Owner): Entry | undefined {
    return [...this.#pending.values()].findLast((entry) => entry.owner === owner);
  }

  #settle(number: number): Entry | undefined {
    const entry = this.#pending.get(number);
    if (entry === undefined) return undefined;
    this.#pending.delete(number);
    entry.isSettled = true;
    return entry;
  }

  #abandon(entry: Entry, reason: unknown): void {
    if (this.#settle(entry.number) === undefined) return;
    const error =
      reason instanceof Error ? reason : new AppError('UPSTREAM_FAILED', 'the request was cancelled');
    // An `initialize` is never cancelled (MCP "Cancellation").
    if (entry.message.method !== 'initialize') this.#options.cancel(entry.number);
    entry.reject(error);
    entry.controller.abort(error);
  }
}

type JsonRpcFailureError = Extract<JsonRpcResponse, { readonly error: unknown }>['error'];

function tell(owner: Owner, notification: JsonRpcNotification): void {
  for (const listener of owner.listeners) listener.onNotification(notification);
}

/** Stands for a conversation where we ask by ourselves. */
export const toNobody = (): Owner => ({ listeners: new Set(), subscriptions: new Set(), logLevel: null });

export const deafListener: RequestListener = {
  onNotification() {},
  onServerRequest: (request) =>
    Promise.resolve({
      jsonrpc: '2.0',
      id: request.id,
      error: { code: -32601, message: 'no client is there to be asked' },
    }),
};
