/** What the bridge answers into: one downstream request, or one stream of a client. The bridge knows nothing of HTTP. */
import type { JsonRpcNotification, JsonRpcRequest, JsonRpcResponse } from '../protocol/jsonRpc.js';

export interface Reply {
  /** The client is gone; nothing that is sent after that arrives. */
  readonly isGone: boolean;
  /** Calls back once when the client goes; the returned function takes that back. */
  onGone(callback: () => void): () => void;
  /** The same as a signal, made when it is asked for: a call has one of its own already. */
  readonly signal: AbortSignal;
  /** Sends something ahead of the response (the last one, for a batch); the answer becomes a stream. */
  send(message: JsonRpcNotification | JsonRpcRequest | JsonRpcResponse): void;
  /** Sends the one response and ends the answer. */
  finish(response: JsonRpcResponse, form?: ReplyForm): void;
  /** Turns the answer into a stream without an end of its own. */
  openStream(): ReplyStream;
}

export interface ReplyForm {
  /** Counts as long as nothing was sent; a stream is 200 from its beginning. */
  readonly status?: number;
  readonly sessionId?: string;
  readonly retryAfterSeconds?: number;
}

/** A stream that lives until the client or we end it (GET stream, `subscriptions/listen`). */
export interface ReplyStream {
  readonly signal: AbortSignal;
  send(message: JsonRpcNotification | JsonRpcRequest | JsonRpcResponse): void;
  end(): void;
}
