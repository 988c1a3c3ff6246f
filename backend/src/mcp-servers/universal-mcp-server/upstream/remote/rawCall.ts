/**
 * One message to a remote server and its answer: opens the credential, renders the target, sends, and lets nothing of an
 * answer through that is about access rather than about the message. It is the hot path of the pass-through: one object
 * that is the answer's head as well, and no closures unless something is refused.
 */
import type { EgressHead, EgressReceiver } from '../../../../egress/egressExchange.js';
import type { Exchange } from '../../../../egress/egressStream.js';
import { toAppError, type AppError } from '../../../../errors/appError.js';
import type { CredentialValues } from '../../../../services/credentialValues.js';
import type { SealedInstance } from '../../../../services/instanceResolver.js';
import type { ResolvedInstance } from '../../../../services/resolvedInstance.js';
import { toAnswerEnd, toPassageEnd, type Passage } from '../circuits.js';
import type { RawAnswer, RawExchange, RawHead, RawRequest } from './rawUpstream.js';
import { overcomeRefusal } from './refusals.js';
import type { RemoteParts } from './remoteParts.js';
import type { RemoteTarget } from './remoteTarget.js';
import { isPlainStatus, toStatusError } from './statusErrors.js';

/**
 * Whose message it is: an instance whose credential is opened for each, or one with values that stand for it. What lives
 * longer than a message is given its instance anew (`goOnAs`).
 */
export type MessageOwner =
  | { instance: SealedInstance; readonly values: null }
  | { readonly instance: ResolvedInstance; readonly values: CredentialValues };

/** A message to the server's one place, or to the place that it named for messages (HTTP+SSE). */
export interface RemoteRequest extends RawRequest {
  /** Path and query at the same origin; the target's own when absent. */
  readonly path?: string;
  /** How long an event stream may be silent; 0: for ever. By itself as long as a person may take to answer, a stream for ever. */
  readonly quietTimeoutMs?: number;
}

/** Between two pieces of an answer with an end (R09). */
const idleMsMax = 30_000;
/** Of an event stream that answers a call: its deadline is the bridge's, and stands still while a person answers. */
const quietMsMax = 30 * 60_000;
/** Its deadline began a little before a call was sent. */
const nearlyAll = 0.9;
/** What a server says to a message of the era that it does not speak, among other things. */
const maybeOtherEra: ReadonlySet<number> = new Set([400, 404, 405]);

export class RawCall implements EgressReceiver, RawExchange, RawHead {
  status = 0;
  form: RawHead['form'] = 'other';
  sessionId: string | null = null;
  contentLength: number | null = null;
  readonly #parts: RemoteParts;
  readonly #instance: ResolvedInstance;
  readonly #owner: MessageOwner;
  readonly #request: RemoteRequest;
  readonly #answer: RawAnswer;
  #values: CredentialValues | null = null;
  #target: RemoteTarget | null = null;
  #exchange: Exchange | null = null;
  #passage: Passage | null = null;
  #sentAt = 0;
  #isPaused = false;
  #isOver = false;
  #isRenewed = false;
  /** Ends the work that a refusal made necessary. */
  #refusal: AbortController | null = null;

  constructor(parts: RemoteParts, owner: MessageOwner, request: RemoteRequest, answer: RawAnswer) {
    this.#parts = parts;
    this.#instance = owner.instance;
    this.#owner = owner;
    this.#request = request;
    this.#answer = answer;
    try {
      parts.takeRequest();
      const values = owner.values ?? parts.openValues(owner.instance);
      if (values instanceof Promise) {
        values.then(
          (opened) => this.#send(opened),
          (error: unknown) => this.#fail(error),
        );
      } else this.#sendNow(values);
    } catch (error) {
      this.#failLater(error);
    }
  }

  pause(): void {
    this.#isPaused = true;
    this.#exchange?.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#exchange?.resume();
  }

  abort(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#passage?.end(this.#isSilent() ? 'failed' : 'abandoned');
    this.#exchange?.abort();
    this.#refusal?.abort(new Error('given up'));
  }

  // ── What the egress client calls ──────────────────────────────────────────────────────────────────────────────

  onHead(head: EgressHead): void {
    const { status, contentType } = head;
    this.#passage?.end(toAnswerEnd(status));
    if (!isPlainStatus(status)) return this.#refuse(head);
    this.status = status;
    this.form =
      contentType === 'application/json' ? 'json' : contentType === 'text/event-stream' ? 'events' : 'other';
    this.contentLength = head.contentLength;
    this.sessionId = head.header('mcp-session-id');
    // Within a session such an answer says that the session is lost; whether more was, its next beginning tells.
    if (maybeOtherEra.has(status) && this.#request.sessionId === null && this.#target !== null)
      this.#parts.doubtEra(this.#owner, this.#target);
    if (status < 300) this.#parts.notes.noteReady(this.#instance);
    this.#answer.onHead(this);
  }

  onData(piece: Buffer): void {
    this.#answer.onData(piece);
  }

  onEnd(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#answer.onEnd();
  }

  onError(error: AppError): void {
    // The answer hears nothing before the constructor has returned.
    if (this.#exchange === null) this.#failLater(error);
    else this.#fail(error);
  }

  #send(values: CredentialValues): void {
    if (this.#isOver) return;
    try {
      this.#sendNow(values);
    } catch (error) {
      this.#fail(error);
    }
  }

  #sendNow(values: CredentialValues): void {
    const { toTarget, streams, circuits, definition } = this.#parts;
    const { lane, method, body, sessionId, path, quietTimeoutMs, headers: own } = this.#request;
    const target = toTarget(values);
    const headers = target.headers.concat(own);
    if (sessionId !== null) headers.push('mcp-session-id', sessionId);
    const { timeoutMs, maxResponseBytes } = definition.limits;
    this.#values = values;
    this.#target = target;
    this.#passage = circuits.enter(target.destination.origin, this.#instance);
    this.#sentAt = performance.now();
    this.#exchange = streams.open(
      {
        method,
        destination: target.destination,
        target: path ?? target.path,
        headers,
        body,
        lane,
        headersTimeoutMs: timeoutMs,
        quietTimeoutMs: quietTimeoutMs ?? (lane === 'stream' ? 0 : quietMsMax),
        idleTimeoutMs: idleMsMax,
        maxBytes: maxResponseBytes,
      },
      this,
    );
    if (this.#isPaused) this.#exchange.pause();
  }

  #refuse(head: EgressHead): void {
    const { status } = head;
    const exchange = this.#exchange;
    if (status !== 401 && status !== 403) {
      exchange?.abort();
      return this.#fail(toStatusError(head, this.#instance));
    }
    const values = this.#values;
    exchange?.abort();
    if (values === null) return this.#fail(toStatusError(head, this.#instance));
    this.#refusal = new AbortController();
    const terms = { instance: this.#instance, values };
    overcomeRefusal(this.#parts, terms, head, this.#isRenewed, this.#refusal.signal).then(
      (renewed) => {
        this.#isRenewed = true;
        return this.#send(renewed);
      },
      (error: unknown) => this.#fail(error),
    );
  }

  /** Nothing came in all the time that a call has: that is the server's doing, whoever gives the call up. */
  #isSilent(): boolean {
    const { timeoutMs } = this.#parts.definition.limits;
    return this.status === 0 && performance.now() - this.#sentAt >= timeoutMs * nearlyAll;
  }

  #failLater(error: unknown): void {
    queueMicrotask(() => this.#fail(error));
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#passage?.end(toPassageEnd(error));
    this.#answer.onError(toAppError(error));
  }
}
