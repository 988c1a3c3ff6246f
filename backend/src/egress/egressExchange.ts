/**
 * One exchange whose answer is handed on as it comes. It is the hot path of the pass-through: an object with a few fields,
 * no closures, no streams, headers left as the parser found them. It implements undici's raw handler, which alone gives
 * the headers unparsed; the version of undici is pinned.
 */
import type { Dispatcher } from 'undici';
import type { AppError } from '../errors/appError.js';
import { egressError, toEgressError } from './egressError.js';
import { answerTooLarge } from './decodeBody.js';

/** The head of an answer. Nothing of it travels to a client: what is wanted is picked by name. */
export interface EgressHead {
  readonly status: number;
  /** Without parameters, in lower case; empty without one. */
  readonly contentType: string;
  /** Bytes, when the other side says so. */
  readonly contentLength: number | null;
  /** @param name in lower case. Null when it is absent; the first one when there are several. */
  header(name: string): string | null;
}

/** Hears one answer: a head, pieces, then exactly one of `onEnd` and `onError`. Nothing comes after `abort`. */
export interface EgressReceiver {
  onHead(head: EgressHead): void;
  /** The piece is the receiver's to keep. */
  onData(piece: Buffer): void;
  onEnd(): void;
  /** @param error UPSTREAM_UNREACHABLE (nothing was sent), UPSTREAM_TIMEOUT, UPSTREAM_FAILED, EGRESS_DENIED, SERVICE_SATURATED */
  onError(error: AppError): void;
}

export interface ExchangeBounds {
  /** Of a body; an event stream has no end, and its reader bounds each frame. */
  readonly maxBytes: number;
  /** How long a body may pause between two pieces. An event stream may be as silent as it likes. */
  readonly idleTimeoutMs: number;
}

/** What an exchange tells whoever counts it. */
export interface ExchangeCounter {
  underWay: number;
}

export class EgressExchange implements Dispatcher.DispatchHandler, EgressHead {
  status = 0;
  contentType = '';
  contentLength: number | null = null;
  /** Called once, when nothing more will come. */
  onSettled: (() => void) | null = null;
  readonly #receiver: EgressReceiver;
  readonly #counter: ExchangeCounter;
  readonly #bytesMax: number;
  readonly #idleTimeoutMs: number;
  #idle: NodeJS.Timeout | null = null;
  #raw: readonly Buffer[] = [];
  #bytes = 0;
  #isPaused = false;
  #isSettled = false;
  #abort: ((reason?: Error) => void) | null = null;
  #resume: (() => void) | null = null;

  constructor(receiver: EgressReceiver, bounds: ExchangeBounds, counter: ExchangeCounter) {
    this.#receiver = receiver;
    this.#bytesMax = bounds.maxBytes;
    this.#idleTimeoutMs = bounds.idleTimeoutMs;
    this.#counter = counter;
    counter.underWay += 1;
  }

  header(name: string): string | null {
    return findHeader(this.#raw, name);
  }

  /** Stops reading; what was read already may still come. */
  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (!this.#isSettled) this.#resume?.();
  }

  /** Gives the exchange up: its connection is closed unless the answer is complete. */
  abort(): void {
    if (this.#settle()) this.#abort?.(givenUp);
  }

  // ── What undici calls ─────────────────────────────────────────────────────────────────────────────────────────

  onConnect(abort: (reason?: Error) => void): void {
    // Given up while it stood in the pool's queue: nothing is to be written any more.
    if (this.#isSettled) return abort(givenUp);
    this.#abort = abort;
  }

  onHeaders(status: number, raw: Buffer[], resume: () => void): boolean {
    if (this.#isSettled) return true;
    // An interim answer (RFC 9110 §15.2) says nothing that is waited for.
    if (status < 200) return true;
    this.status = status;
    this.#raw = raw;
    this.#resume = resume;
    this.contentType = toMediaType(findHeader(raw, 'content-type'));
    const length = findHeader(raw, 'content-length');
    if (length !== null) {
      this.contentLength = Number(length);
      if (this.contentLength > this.#bytesMax && this.contentType !== eventStream)
        return this.#fail(answerTooLarge(this.#bytesMax));
    }
    const coding = findHeader(raw, 'content-encoding');
    if (coding !== null && coding !== '' && coding.toLowerCase() !== 'identity') return this.#fail(coded());
    this.#receiver.onHead(this);
    return !this.#isPaused;
  }

  onData(piece: Buffer): boolean {
    if (this.#isSettled) return true;
    if (this.contentType !== eventStream && !this.#admit(piece.length)) return true;
    this.#receiver.onData(piece);
    return !this.#isPaused;
  }

  onComplete(): void {
    if (this.#settle()) this.#receiver.onEnd();
  }

  onError(error: unknown): void {
    if (this.#settle()) this.#receiver.onError(toEgressError(error));
  }

  /** Counts what came, and watches for the rest: most answers are whole with their first piece. */
  #admit(bytes: number): boolean {
    this.#bytes += bytes;
    if (this.#bytes > this.#bytesMax) {
      this.#fail(answerTooLarge(this.#bytesMax));
      return false;
    }
    if (this.#idle !== null) this.#idle.refresh();
    else if (this.contentLength === null || this.#bytes < this.contentLength)
      this.#idle = setTimeout(onIdle, this.#idleTimeoutMs, this);
    return true;
  }

  /** A reader that holds the answer up is not the other side's silence. */
  endIdle(): void {
    if (this.#isPaused) this.#idle?.refresh();
    else this.#fail(egressError('UPSTREAM_TIMEOUT', 'idle', 'The service behind went silent.'));
  }

  #fail(error: AppError): boolean {
    if (this.#settle()) {
      this.#receiver.onError(error);
      this.#abort?.(givenUp);
    }
    return true;
  }

  #settle(): boolean {
    if (this.#isSettled) return false;
    this.#isSettled = true;
    if (this.#idle !== null) clearTimeout(this.#idle);
    this.#counter.underWay -= 1;
    this.onSettled?.();
    return true;
  }
}

const givenUp = new Error('given up');
const eventStream = 'text/event-stream';
const onIdle = (exchange: EgressExchange): void => exchange.endIdle();

function coded(): AppError {
  return egressError('UPSTREAM_FAILED', 'content coding', 'The answer is coded in a way not asked for.');
}

function toMediaType(value: string | null): string {
  if (value === null) return '';
  const end = value.indexOf(';');
  return (end === -1 ? value : value.slice(0, end)).trim().toLowerCase();
}

/** Names are compared by length first, so that few of them are ever made into strings. */
function findHeader(raw: readonly Buffer[], name: string): string | null {
  for (let at = 0; at < raw.length; at += 2) {
    const found = raw[at];
    if (found?.length === name.length && found.toString('latin1').toLowerCase() === name) {
      return raw[at + 1]?.toString('latin1').trim() ?? '';
    }
  }
  return null;
}
