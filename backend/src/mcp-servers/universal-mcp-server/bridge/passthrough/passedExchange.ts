/**
 * What all passed exchanges share: the intent with the audit before the upstream hears anything, exactly one outcome, and
 * a deadline. They are objects with methods rather than closures and promises, for this is the hot path.
 */
import type { AppError } from '../../../../errors/appError.js';
import type { JsonObject } from '../../protocol/jsonRpc.js';
import type { Era } from '../../protocol/revisions.js';
import type { RawAnswer, RawExchange, RawHead } from '../../upstream/remote/rawUpstream.js';
import { failureTypeOf, recordIntent, recordOutcome, toFailedOutcome } from '../callAccount.js';
import type { ByteListener, ByteReply } from '../reply.js';
import { AnswerFacts, toErrorType, toPassedOutcome } from './answerFacts.js';
import type { Expiring } from './deadlines.js';
import type { PassContext, PassedRequest } from './passContext.js';

/** How an exchange came out whose answer will come by another one: its stream ended, and its client resumes it. */
export const resumedElsewhere = Symbol('resumed elsewhere');

export abstract class PassedExchange implements RawAnswer, ByteListener, Expiring {
  deadlineAt = 0;
  protected readonly pass: PassContext;
  protected readonly from: PassedRequest;
  protected readonly reply: ByteReply;
  protected exchange: RawExchange | null = null;
  #callId = '';
  #method = '';
  #startedAt = 0;
  #isIntended = false;

  constructor(pass: PassContext, from: PassedRequest, reply: ByteReply) {
    this.pass = pass;
    this.from = from;
    this.reply = reply;
  }

  abstract onHead(head: RawHead): void;
  abstract onData(piece: Buffer): void;
  abstract onEnd(): void;
  abstract onError(error: AppError): void;
  abstract onGone(): void;
  abstract onDeadline(): void;

  onDrain(): void {
    this.exchange?.resume();
  }

  /** The intent is safe: the upstream may be asked. */
  protected abstract begin(): void;
  /** Answers the client with what went wrong. */
  protected abstract fail(error: unknown): void;

  /** @throws AppError AUDIT_UNAVAILABLE; where that is found out later, `fail` hears of it. */
  protected intend(era: Era, method: string, params: JsonObject | undefined): void {
    const { ctx } = this.pass;
    const { instance, origin } = this.from;
    this.#callId = ctx.newId();
    this.#method = method;
    const recorded = recordIntent(ctx, { era, instance, origin, method, params }, this.#callId);
    if (recorded === undefined) return this.#begin();
    recorded.then(
      () => this.#begin(),
      (error: unknown) => this.fail(error),
    );
  }

  #begin(): void {
    this.#isIntended = true;
    this.#startedAt = performance.now();
    this.pass.ctx.metrics.overhead.observe((this.#startedAt - this.from.origin.arrivedAt) / 1_000);
    this.begin();
  }

  /** Takes facts, an error or `resumedElsewhere`; once for each intent, and nothing without one. */
  protected record(how: unknown): void {
    if (!this.#isIntended) return;
    this.#isIntended = false;
    const { ctx } = this.pass;
    const callId = this.#callId;
    if (how instanceof AnswerFacts) {
      recordOutcome(ctx, this.#method, this.#startedAt, toPassedOutcome(callId, how), toErrorType(how));
    } else if (how === resumedElsewhere) {
      recordOutcome(ctx, this.#method, this.#startedAt, { callId, outcome: 'unknown' }, '');
    } else {
      recordOutcome(ctx, this.#method, this.#startedAt, toFailedOutcome(callId, how), failureTypeOf(how));
    }
  }
}
