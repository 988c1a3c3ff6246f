/**
 * Requests of our own over a raw upstream, off the hot path: what renews a session, and what the tool policy has to know.
 * Whoever asks keeps the account of it.
 */
import { AppError } from '../../../../errors/appError.js';
import type { SealedInstance } from '../../../../services/instanceResolver.js';
import type { JsonRpcMessage, JsonRpcRequest, JsonRpcResponse } from '../../protocol/jsonRpc.js';
import { readFrame, SseFrames } from '../../protocol/sseFrames.js';
import type { RawAnswer, RawExchange, RawHead, RawUpstream } from '../../upstream/remote/rawUpstream.js';
import { parseResponse } from './answerFacts.js';

export interface AskTerms {
  readonly raw: Pick<RawUpstream, 'exchange'>;
  readonly instance: SealedInstance;
  readonly sessionId: string | null;
  readonly headers: readonly string[];
}

export interface Asked {
  readonly status: number;
  /** `Mcp-Session-Id` of the answer. */
  readonly sessionId: string | null;
  /** Null when what came is none: an empty answer, or one of another form. */
  readonly response: JsonRpcResponse | null;
}

const answerBytesMax = 16 * 1024 * 1024;

/**
 * Sends one message and resolves with what answers it.
 * @throws AppError what `RawAnswer.onError` names; or the signal's reason
 */
export function askUpstream(terms: AskTerms, message: JsonRpcMessage, signal: AbortSignal): Promise<Asked> {
  return send(terms, { method: 'POST', body: Buffer.from(JSON.stringify(message)) }, signal);
}

/** Ends an upstream's session. */
export function endUpstreamSession(terms: AskTerms, signal: AbortSignal): Promise<Asked> {
  return send(terms, { method: 'DELETE', body: null }, signal);
}

/** A request that has no client behind it, and its answer where there is one. @throws AppError UPSTREAM_FAILED without */
export async function askForResponse(
  terms: AskTerms,
  request: JsonRpcRequest,
  signal: AbortSignal,
): Promise<JsonRpcResponse> {
  const { response, status } = await askUpstream(terms, request, signal);
  if (response !== null) return response;
  throw new AppError('UPSTREAM_FAILED', `the upstream answered ${request.method} with status ${status}`);
}

function send(
  { raw, instance, sessionId, headers }: AskTerms,
  what: { readonly method: 'POST' | 'DELETE'; readonly body: Buffer | null },
  signal: AbortSignal,
): Promise<Asked> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(toError(signal.reason));
    const answer = new Answer(resolve, reject, signal);
    answer.exchange = raw.exchange(instance, { lane: 'call', ...what, sessionId, headers }, answer);
  });
}

class Answer implements RawAnswer {
  exchange: RawExchange | null = null;
  readonly #resolve: (asked: Asked) => void;
  readonly #reject: (error: Error) => void;
  readonly #signal: AbortSignal;
  readonly #pieces: Buffer[] = [];
  #bytes = 0;
  #head: RawHead | null = null;
  readonly #frames = new SseFrames({
    frameBytesMax: answerBytesMax,
    onFrame: (frame) => this.#onFrame(frame),
  });

  constructor(resolve: (asked: Asked) => void, reject: (error: Error) => void, signal: AbortSignal) {
    this.#resolve = resolve;
    this.#reject = reject;
    this.#signal = signal;
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  onHead(head: RawHead): void {
    const { status, form, sessionId, contentLength } = head;
    this.#head = { status, form, sessionId, contentLength };
  }

  onData(piece: Buffer): void {
    if (this.#head?.form === 'events') {
      try {
        this.#frames.push(piece);
      } catch (error) {
        this.#fail(toError(error));
      }
      return;
    }
    this.#bytes += piece.length;
    if (this.#bytes <= answerBytesMax) this.#pieces.push(piece);
  }

  onEnd(): void {
    const isJson = this.#head?.form === 'json' && this.#bytes <= answerBytesMax;
    this.#finish(isJson ? parseResponse(Buffer.concat(this.#pieces)) : null);
  }

  onError(error: AppError): void {
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#reject(error);
  }

  /** What the server asks or tells before its response has nobody here to hear it. */
  #onFrame(frame: Buffer): void {
    const { data } = readFrame(frame);
    const response = data === null ? null : parseResponse(data);
    if (response === null) return;
    this.#finish(response);
    this.exchange?.abort();
  }

  #finish(response: JsonRpcResponse | null): void {
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#resolve({ status: this.#head?.status ?? 0, sessionId: this.#head?.sessionId ?? null, response });
  }

  #fail(error: Error): void {
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.exchange?.abort();
    this.#reject(error);
  }

  readonly #onAbort = (): void => this.#fail(toError(this.#signal.reason));
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error('the caller gave up');
}
