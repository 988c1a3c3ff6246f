/**
 * One message to a remote server whose answer is read here rather than passed on: a JSON body, or the events of a stream,
 * told one message at a time as they come.
 */
import { AppError, toAppError } from '../../../../errors/appError.js';
import { readFrame, SseFrames } from '../../protocol/sseFrames.js';
import { RawCall, type MessageOwner, type RemoteRequest } from './rawCall.js';
import type { RawAnswer, RawHead } from './rawUpstream.js';
import type { RemoteParts } from './remoteParts.js';

/** Where in an event stream its reader is, so that it can be taken up again (MCP "Resumability and Redelivery"). */
export interface StreamPlace {
  lastEventId: string | null;
  /** What the server asks for between two attempts; null: nothing. */
  retryMs: number | null;
}

export interface MessageReader {
  onHead?(head: RawHead): void;
  /** Whatever was in a body or an event; unchecked. Nothing comes after `signal` aborts. */
  onMessage(message: unknown, bytes: number): void;
  /** Of an event that is no message (HTTP+SSE's `endpoint`). */
  onEvent?(name: string, data: string): void;
  readonly place?: StreamPlace;
}

/**
 * Resolves with the head when the answer is over; a refusal with a JSON body is told like any message.
 * @throws AppError of the exchange, UPSTREAM_FAILED for what is neither JSON nor events; the signal's reason.
 */
export function exchangeMessages(
  parts: RemoteParts,
  owner: MessageOwner,
  request: RemoteRequest,
  reader: MessageReader,
  signal: AbortSignal,
): Promise<RawHead> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(toReason(signal));
    const settle = (): void => signal.removeEventListener('abort', onAbort);
    const answer = new MessageAnswer(
      parts.definition.limits.maxResponseBytes,
      reader,
      (head) => {
        settle();
        resolve(head);
      },
      (error) => {
        settle();
        call.abort();
        reject(error);
      },
    );
    const onAbort = (): void => {
      settle();
      call.abort();
      reject(toReason(signal));
    };
    signal.addEventListener('abort', onAbort);
    const call = new RawCall(parts, owner, request, answer);
  });
}

class MessageAnswer implements RawAnswer {
  readonly #bytesMax: number;
  readonly #reader: MessageReader;
  readonly #onDone: (head: RawHead) => void;
  readonly #onFailed: (error: AppError) => void;
  #head: RawHead | null = null;
  #pieces: Buffer[] = [];
  #frames: SseFrames | null = null;
  #isOver = false;

  constructor(
    bytesMax: number,
    reader: MessageReader,
    onDone: (head: RawHead) => void,
    onFailed: (error: AppError) => void,
  ) {
    this.#bytesMax = bytesMax;
    this.#reader = reader;
    this.#onDone = onDone;
    this.#onFailed = onFailed;
  }

  onHead(head: RawHead): void {
    this.#head = head;
    if (head.form === 'events') {
      this.#frames = new SseFrames({
        frameBytesMax: this.#bytesMax,
        onFrame: (frame) => this.#takeFrame(frame),
      });
    }
    try {
      this.#reader.onHead?.(head);
    } catch (error) {
      this.#fail(toUnreadable(error));
    }
  }

  onData(piece: Buffer): void {
    if (this.#isOver) return;
    try {
      if (this.#frames !== null) this.#frames.push(piece);
      else if (this.#head?.form === 'json') this.#pieces.push(piece);
    } catch (error) {
      this.#fail(toUnreadable(error));
    }
  }

  onEnd(): void {
    if (this.#isOver || this.#head === null) return;
    try {
      // An event that its sender never ended is not told: it may be a part of one (WHATWG HTML, "dispatch the event").
      if (this.#head.form === 'json') this.#takeBody(this.#head.status);
    } catch (error) {
      return this.#fail(toUnreadable(error));
    }
    this.#isOver = true;
    this.#onDone(this.#head);
  }

  onError(error: AppError): void {
    this.#fail(error);
  }

  #takeBody(status: number): void {
    const body = this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces);
    if (body === undefined || body.length === 0) return;
    let value: unknown;
    try {
      value = JSON.parse(body.toString('utf8'));
    } catch (error) {
      // A refusal is told by its status; what else it says may be anything.
      if (status >= 400) return;
      throw error;
    }
    // Batches exist in revision 2025-03-26 only.
    for (const message of Array.isArray(value) ? (value as unknown[]) : [value])
      this.#reader.onMessage(message, body.length);
  }

  #takeFrame(frame: Buffer): void {
    const { data, event, id, retryMs } = readFrame(frame);
    const { place } = this.#reader;
    if (place !== undefined) {
      if (id !== null) place.lastEventId = id;
      if (retryMs !== null) place.retryMs = retryMs;
    }
    if (data === null || data.length === 0) return;
    const text = data.toString('utf8');
    if (event !== null && event !== '' && event !== 'message') return this.#reader.onEvent?.(event, text);
    const value: unknown = JSON.parse(text);
    for (const message of Array.isArray(value) ? (value as unknown[]) : [value])
      this.#reader.onMessage(message, frame.length);
  }

  #fail(error: AppError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#onFailed(error);
  }
}

function toUnreadable(error: unknown): AppError {
  if (error instanceof SyntaxError) {
    return new AppError('UPSTREAM_FAILED', 'the remote server sent what is no JSON', {
      publicDetail: 'The service behind sent something that is no MCP message.',
    });
  }
  const known = toAppError(error);
  if (known.code !== 'PAYLOAD_TOO_LARGE') return known;
  return new AppError('UPSTREAM_FAILED', known.message, {
    publicDetail: 'The service behind sent more in one message than is allowed. Ask for less.',
  });
}

function toReason(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error('the caller gave up');
}
