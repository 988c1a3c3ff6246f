/** What the bridge answers into: one downstream request, or one stream of a client. The bridge knows nothing of HTTP. */
import type { JsonRpcNotification, JsonRpcRequest, JsonRpcResponse } from '../protocol/jsonRpc.js';

export interface Reply {
  /** The client is gone; nothing that is sent after that arrives. */
  readonly isGone: boolean;
  /** Calls back once when the client goes; the returned function takes that back. */
  onGone(callback: () => void): () => void;
  /** The same as a signal, made when it is asked for: a call has one of its own already. */
  readonly signal: AbortSignal;
  /** Whether `finish` writes out `JsonRpcSuccess.bytes`. */
  readonly takesBytes?: boolean;
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
  /** @param eventId where a client may say that it stopped hearing. */
  send(message: JsonRpcNotification | JsonRpcRequest | JsonRpcResponse, eventId?: string): void;
  /** Says from where on the client will hear all, before anything was told. */
  mark(eventId: string): void;
  end(): void;
}

/** Hears what becomes of an answer in bytes; one at a time, for a listener of its own would cost each call something. */
export interface ByteListener {
  /** Called once when the client goes before the answer is whole. */
  onGone(): void;
  /** The client took what waited for it. */
  onDrain(): void;
}

/** What the pass-through answers into: bytes as they came, under a head of our own (D08). */
export interface ByteReply {
  readonly isGone: boolean;
  /** Nothing was sent so far. */
  readonly isFresh: boolean;
  listener: ByteListener | null;
  /** A whole JSON answer, in pieces. */
  sendWhole(status: number, pieces: readonly Buffer[], bytes: number, sessionId: string | null): void;
  /** A head without a body. */
  sendEmpty(status: number): void;
  /** Something of our own, as JSON. */
  sendMessage(message: JsonRpcResponse, form: ReplyForm): void;
  /** Begins a JSON answer that comes in pieces. */
  beginJson(status: number, bytes: number | null): void;
  /** Begins a stream of events; one `isEndless` has no end of its own and is ended when the service stops. */
  beginEvents(sessionId: string | null, isEndless: boolean): void;
  /** False when the client is behind: then nothing more is to be written until `onDrain`. */
  write(piece: Buffer | string): boolean;
  end(): void;
  /** Breaks off, so that nobody takes what was sent for the whole. */
  cut(): void;
}
