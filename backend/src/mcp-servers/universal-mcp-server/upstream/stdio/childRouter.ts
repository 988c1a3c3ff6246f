/**
 * Many conversations over the one pipe of a child, by the rules of "Sharing a stdio child" (spec 04): a response goes to
 * whoever asked, a request of the server to the one conversation it can belong to or to none, and what cannot be
 * attributed is told to nobody. In the modern era the server asks nothing, what it says of a stream names the stream,
 * and a log line belongs to the request that wanted it.
 */
import type { AppError } from '../../../../errors/appError.js';
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
import { envelope } from '../../protocol/envelope.js';
import type { Era } from '../../protocol/revisions.js';
import { readId, spliceId } from '../../protocol/spliceId.js';
import type { RequestListener } from '../upstream.js';
import type { PipeWriter } from './pipeWriter.js';
import { isPlainSuccess } from './plainSuccess.js';
import { RequestTable, type Owner, type PendingRequest } from './requestTable.js';
import { toTooLarge } from './tooLarge.js';

export interface ChildRouterOptions {
  readonly pipe: PipeWriter;
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
  /** Everything that is no response. */
  unasked: number;
}

export class ChildRouter {
  readonly odd: OddMessages = { strayResponses: 0, unattributed: 0, garbage: 0, unasked: 0 };
  readonly owners = new Set<Owner>();
  readonly requests: RequestTable;
  /** Settled by the first exchange with the child. */
  era: Era = 'legacy';
  readonly #options: ChildRouterOptions;

  constructor(options: ChildRouterOptions) {
    this.#options = options;
    this.requests = new RequestTable(options.pipe, options.inFlightMax);
  }

  get isClosed(): boolean {
    return this.requests.isClosed;
  }

  /** Rejects with UPSTREAM_UNREACHABLE when the child cannot have read it, UPSTREAM_FAILED when it may have. */
  request(
    request: JsonRpcRequest,
    owner: Owner,
    listener: RequestListener,
    signal: AbortSignal,
  ): Promise<JsonRpcResponse> {
    return this.requests.send(request, owner, listener, signal);
  }

  notify(notification: JsonRpcNotification): void {
    this.#write(notification);
  }

  /**
   * Takes a long line as the bytes that it is, where it is a success for somebody who wants no more: 64 KiB of text cost
   * several times as much to parse and to write again. @returns false when it has to be read like any other.
   */
  receiveUnread(line: Buffer): boolean {
    if (this.era !== 'legacy' || line.length > this.#options.responseBytesMax) return false;
    const entry = this.requests.get(readId(line));
    if (entry?.listener.takesBytes !== true) return false;
    if (!isPlainSuccess(line)) return false;
    const bytes = spliceId(line, entry.id);
    if (bytes === null) return false;
    this.requests.settle(entry.number);
    entry.resolve({ jsonrpc: '2.0', id: entry.id, result: {}, bytes });
    return true;
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
    if (this.isClosed) return;
    this.requests.close(reason);
    for (const owner of Array.from(this.owners)) {
      for (const listener of Array.from(owner.listeners)) listener.onClosed();
    }
  }

  /** Ends a conversation: what it still has under way is cancelled. */
  forget(owner: Owner): void {
    this.owners.delete(owner);
    this.requests.abandonAllOf(owner);
  }

  #take(value: unknown, bytes: number): boolean {
    switch (shapeOf(value)) {
      case 'response':
        this.#takeResponse(value as { id: JsonRpcId | null } & JsonRpcMessage, bytes);
        return true;
      case 'notification':
        this.odd.unasked += 1;
        this.#takeNotification(value as JsonRpcNotification);
        return true;
      case 'request':
        this.odd.unasked += 1;
        this.#takeRequest(value as JsonRpcRequest);
        return true;
      case 'invalid':
        this.odd.garbage += 1;
        return false;
    }
  }

  #takeResponse(message: { id: JsonRpcId | null } & JsonRpcMessage, bytes: number): void {
    const entry = this.requests.settle(message.id);
    if (entry === undefined) {
      this.odd.strayResponses += 1;
      return;
    }
    const bytesMax = this.#options.responseBytesMax;
    if (bytes > bytesMax && entry.method !== 'initialize') return entry.resolve(toTooLarge(entry, bytesMax));
    // The parsed message is ours alone, so the original id goes into it rather than into a copy.
    message.id = entry.id;
    const response = message as JsonRpcResponse;
    if (entry.method === 'subscriptions/listen' && 'result' in response)
      return entry.resolve({ ...response, result: withSubscriptionId(response.result, entry.id) });
    entry.resolve(response);
  }

  #takeNotification(notification: JsonRpcNotification): void {
    const { method, params } = notification;
    if (method === 'notifications/progress') {
      const entry = this.requests.get(Number(params?.['progressToken']));
      if (entry === undefined || entry.progressToken === undefined) {
        this.odd.unattributed += 1;
        return;
      }
      const mapped = { ...params, progressToken: entry.progressToken };
      return entry.listener.onNotification({ jsonrpc: '2.0', method, params: mapped });
    }
    // The server gave up a request of its own; the client's answer will find nobody. Nothing to pass on.
    if (method === 'notifications/cancelled') return;
    const isTold =
      this.era === 'modern' ? this.#tellStream(notification) : this.#tellConversations(notification);
    if (!isTold) this.odd.unattributed += 1;
  }

  /** The modern era: of a stream that it names, or a log line that exactly one request can have wanted. */
  #tellStream(notification: JsonRpcNotification): boolean {
    const { method, params } = notification;
    const meta = params?.['_meta'];
    const named = isJsonObject(meta) ? meta[envelope.subscriptionId] : undefined;
    if (named !== undefined) {
      const entry = this.requests.get(named);
      if (entry?.method !== 'subscriptions/listen') return false;
      const mapped = withSubscriptionId(params ?? {}, entry.id);
      entry.listener.onNotification({ jsonrpc: '2.0', method, params: mapped });
      return true;
    }
    if (method !== 'notifications/message') return false;
    let wanting: PendingRequest | null = null;
    for (const entry of this.requests.all()) {
      const level = entry.meta?.[envelope.logLevel];
      if (typeof level !== 'string' || !isAtLeast(params?.['level'], level)) continue;
      if (wanting !== null) return false;
      wanting = entry;
    }
    wanting?.listener.onNotification(notification);
    return wanting !== null;
  }

  #tellConversations(notification: JsonRpcNotification): boolean {
    const { method, params } = notification;
    if (method === 'notifications/message') return this.#tellLog(notification);
    if (method === 'notifications/resources/updated') {
      const uri = params?.['uri'];
      const subscribed = [...this.owners].filter(
        (one) => typeof uri === 'string' && one.subscriptions.has(uri),
      );
      // A server may speak of a part of what was subscribed to; with one conversation there is no doubt whose it is.
      const told = subscribed.length > 0 || this.owners.size > 1 ? subscribed : [...this.owners];
      told.forEach((owner) => tell(owner, notification));
      return true;
    }
    if (method.endsWith('/list_changed')) {
      this.owners.forEach((owner) => tell(owner, notification));
      return true;
    }
    const owner = this.#soleOwner();
    if (owner !== null) tell(owner, notification);
    return owner !== null;
  }

  #tellLog(notification: JsonRpcNotification): boolean {
    const owner = this.#soleOwner();
    if (owner === null) return false;
    if (!isAtLeast(notification.params?.['level'], owner.logLevel)) return true;
    const entry = this.#newestOf(owner);
    if (entry === null) tell(owner, notification);
    else entry.listener.onNotification(notification);
    return true;
  }

  #takeRequest(request: JsonRpcRequest): void {
    if (request.method === 'ping') return this.#write({ jsonrpc: '2.0', id: request.id, result: {} });
    const owner = this.era === 'modern' ? null : this.#soleOwner();
    const entry = owner === null ? null : this.#newestOf(owner);
    const listener = entry?.listener ?? [...(owner?.listeners ?? [])].at(-1);
    const refuse = (code: number, message: string): void =>
      this.#write({ jsonrpc: '2.0', id: request.id, error: { code, message } });
    if (listener === undefined) {
      this.odd.unattributed += 1;
      return refuse(-32601, 'no conversation that could answer this is under way');
    }
    listener.onServerRequest(request).then(
      (response) => this.#write({ ...response, id: request.id }),
      () => refuse(-32603, 'the client could not be asked'),
    );
  }

  #write(message: JsonRpcMessage): void {
    if (!this.isClosed) this.#options.pipe.write(JSON.stringify(message));
  }

  /** Whose the child's words are: the one with requests under way, else the only one there is; null when in doubt. */
  #soleOwner(): Owner | null {
    let sole: Owner | null = null;
    for (const { owner } of this.requests.all()) {
      if (sole !== null && sole !== owner) return null;
      sole = owner;
    }
    if (sole !== null) return sole;
    if (this.owners.size !== 1) return null;
    for (const owner of this.owners) return owner;
    return null;
  }

  #newestOf(owner: Owner): PendingRequest | null {
    let newest: PendingRequest | null = null;
    for (const entry of this.requests.all()) if (entry.owner === owner) newest = entry;
    return newest;
  }
}

function tell(owner: Owner, notification: JsonRpcNotification): void {
  for (const listener of owner.listeners) listener.onNotification(notification);
}

/** The same under the id by which the client knows its stream. */
function withSubscriptionId(params: JsonObject, id: JsonRpcId): JsonObject {
  const meta = params['_meta'];
  if (!isJsonObject(meta) || meta[envelope.subscriptionId] === undefined) return params;
  return { ...params, _meta: { ...meta, [envelope.subscriptionId]: id } };
}
