/**
 * The answer to a passed call on its way back: JSON that is held until it is whole, where it is not too large, and then
 * sent in one write; larger JSON as it comes; events frame by frame. Its account is told from the same bytes.
 */
import { AppError } from '../../../../errors/appError.js';
import type { JsonRpcRequest } from '../../protocol/jsonRpc.js';
import type { Era } from '../../protocol/revisions.js';
import type { RawHead } from '../../upstream/remote/rawUpstream.js';
import { FrameRelay } from '../frames/frameRelay.js';
import type { InstanceRoom } from '../instanceRooms.js';
import type { ByteReply } from '../reply.js';
import { AnswerFacts, isMessage, readQuestionId, readAnswerFacts, readFactsInPieces } from './answerFacts.js';
import { isSessionLost } from './lostSession.js';
import type { PassContext, PassedRequest } from './passContext.js';
import { PassedExchange, resumedElsewhere } from './passedExchange.js';
import { unusable } from './passedFailure.js';
import type { PassedSession } from './passedSession.js';
import { isLookedAt, showAnswer } from './shownAnswer.js';
import { mayPass } from './strayMessages.js';

/** JSON answers up to here are held until they are whole: then their account is exact, and a broken one is told as such. */
const heldBytesMax = 256 * 1024;
/** Of an answer that tells a failure by its status. */
const failureBytesMax = 64 * 1024;
/** A large answer that passed and was no response: there is nobody left to tell but the audit. */
const unreadable = new AnswerFacts('error', -32603);

export abstract class AnsweringCall extends PassedExchange {
  readonly era: Era;
  readonly request: JsonRpcRequest;
  session: PassedSession | null = null;
  protected room: InstanceRoom;
  protected relay: FrameRelay | null = null;
  /** The upstream session that the call was sent in. */
  protected sentIn: string | null = null;
  /** The response was sent to the client. */
  protected isAnswered = false;
  #isRetried = false;
  #status = 0;
  #form: RawHead['form'] = 'other';
  #upstreamId: string | null = null;
  #pieces: Buffer[] = [];
  #bytes = 0;
  #isStreaming = false;

  constructor(pass: PassContext, from: PassedRequest, era: Era, request: JsonRpcRequest, reply: ByteReply) {
    super(pass, from, reply);
    this.era = era;
    this.request = request;
    this.room = pass.rooms.of(from.instance);
  }

  /** The server waits for an answer of the client. */
  protected abstract onQuestion(id: unknown): void;
  /** Asks the upstream, in a session that it has. */
  protected abstract join(): void;
  /** The exchange is over and its client was answered. */
  protected abstract settle(errorType: string): void;

  onHead(head: RawHead): void {
    this.#status = head.status;
    this.#form = head.form;
    this.#upstreamId = head.sessionId;
    if (head.status !== 200) return;
    if (head.form === 'events') return this.#beginEvents();
    if (head.form === 'json' && head.contentLength !== null && head.contentLength > heldBytesMax)
      this.#beginStreaming(head.contentLength);
  }

  onData(piece: Buffer): void {
    if (this.relay !== null) {
      try {
        this.relay.push(piece);
      } catch (error) {
        this.fail(error);
      }
      return;
    }
    if (this.#isStreaming) return this.#passPiece(piece);
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    if (this.#status !== 200 && this.#bytes > failureBytesMax) return this.fail(unusable(this.#status));
    if (this.#bytes > heldBytesMax) this.#beginStreaming(null);
  }

  onEnd(): void {
    this.exchange = null;
    if (this.relay !== null) return this.#endEvents(this.relay);
    if (this.#isStreaming) {
      this.reply.end();
      return this.#finish(readFactsInPieces(this.#pieces) ?? unreadable);
    }
    try {
      this.#finishWhole();
    } catch (error) {
      this.fail(error);
    }
  }

  onError(error: AppError): void {
    this.exchange = null;
    this.fail(error);
  }

  // ── Whole answers ────────────────────────────────────────────────────────────────────────────────────────────────

  #finishWhole(): void {
    if (this.#status !== 200 || this.#form !== 'json') return this.#finishOther();
    const facts = readFactsInPieces(this.#pieces);
    if (facts === null || !this.#mayPass(this.#pieces)) return this.fail(unusable(this.#status));
    const sessionId = this.#clientSessionId(facts);
    if (this.#passesUntouched(facts)) {
      this.reply.sendWhole(200, this.#pieces, this.#bytes, sessionId);
    } else {
      const shown = showAnswer(this.pass.ctx, this.room, this.#toAnswered(), joined(this.#pieces));
      this.reply.sendWhole(200, [shown], shown.length, sessionId);
    }
    this.#finish(facts);
  }

  /** Where tools are pinned, nothing passes that could be a list of tools in disguise. */
  #mayPass(pieces: readonly Buffer[]): boolean {
    const { pins } = this.pass.ctx;
    return (
      pins === null ||
      mayPass({ pins, instanceId: this.from.instance.id, id: this.request.id }, joined(pieces))
    );
  }

  #passesUntouched({ outcome }: AnswerFacts): boolean {
    return outcome === 'error' || (this.era === 'legacy' && !isLookedAt('legacy', this.request.method));
  }

  /** A status other than 200: a lost session, a failure in the protocol's own words, or nothing that can be passed on. */
  #finishOther(): void {
    const body = joined(this.#pieces);
    const { session } = this;
    if (session !== null && this.sentIn !== null && isSessionLost(this.#status, body))
      return this.#renew(session);
    const facts = this.#form === 'json' && this.#status >= 400 ? readAnswerFacts(body) : null;
    if (facts?.outcome !== 'error' || !this.#mayPass([body])) return this.fail(unusable(this.#status));
    this.reply.sendWhole(this.#status, [body], body.length, null);
    this.#finish(facts);
  }

  /** Nothing of the call was done, and nothing was answered: it may be sent again, once. */
  #renew(session: PassedSession): void {
    if (this.#isRetried)
      return this.fail(new AppError('SESSION_NOT_FOUND', 'the upstream loses its sessions'));
    this.#isRetried = true;
    this.#pieces = [];
    this.#bytes = 0;
    session.lose(this.sentIn);
    this.join();
  }

  #toAnswered() {
    return { era: this.era, instance: this.from.instance, request: this.request, session: this.session };
  }

  /** The id that goes to the client with its `initialize`; null elsewhere. */
  #clientSessionId(facts: AnswerFacts | null): string | null {
    if (this.request.method !== 'initialize' || this.era === 'modern' || facts?.outcome === 'error')
      return null;
    return this.pass.sessions.create(this.from.instance, this.request.params ?? {}, this.#upstreamId);
  }

  // ── Large answers ────────────────────────────────────────────────────────────────────────────────────────────────

  /** Lets a large answer pass as it comes; not where all of it has to be looked at. */
  #beginStreaming(bytes: number | null): void {
    if (this.#status !== 200 || this.#form !== 'json' || isLookedAt(this.era, this.request.method)) return;
    if (this.pass.ctx.pins !== null) return;
    this.#isStreaming = true;
    this.reply.beginJson(200, bytes);
    const held = this.#pieces;
    this.#pieces = [];
    for (const piece of held) this.#passPiece(piece);
  }

  #passPiece(piece: Buffer): void {
    // The first and the last say how the call came out; those between are not kept.
    if (this.#pieces.length > 1) this.#pieces.pop();
    this.#pieces.push(piece);
    if (!this.reply.write(piece)) this.exchange?.pause();
  }

  // ── Events ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #beginEvents(): void {
    const { maxResponseBytes } = this.pass.ctx.definition.limits;
    const relay = new FrameRelay(this.reply, maxResponseBytes, (data) => this.#watch(data));
    relay.exchange = this.exchange;
    this.relay = relay;
    this.reply.beginEvents(this.#clientSessionId(null), false);
  }

  /** Of many messages one is the response; there is no second one. */
  #watch(data: Buffer): Buffer | null {
    const facts = readAnswerFacts(data);
    if (facts === null) {
      if (!isMessage(data)) throw unusable(this.#status);
      if (!this.#mayPass([data])) return null;
      const questionId = this.era === 'legacy' ? readQuestionId(data) : undefined;
      if (questionId !== undefined) this.onQuestion(questionId);
      return data;
    }
    if (this.isAnswered || !this.#mayPass([data])) return null;
    this.isAnswered = true;
    this.record(facts);
    if (this.#passesUntouched(facts)) return data;
    return showAnswer(this.pass.ctx, this.room, this.#toAnswered(), data);
  }

  #endEvents(relay: FrameRelay): void {
    try {
      relay.finish();
    } catch (error) {
      return this.fail(error);
    }
    // A stream whose events have ids may end early: its client resumes it (MCP 2025-11-25, "Resumability").
    if (!this.isAnswered && !relay.hasIds)
      return this.fail(new AppError('UPSTREAM_FAILED', 'the stream ended without a response'));
    this.record(resumedElsewhere);
    this.reply.end();
    this.settle('');
  }

  #finish(facts: AnswerFacts): void {
    this.record(facts);
    this.settle('');
  }
}

function joined(pieces: readonly Buffer[]): Buffer {
  const [only] = pieces;
  return pieces.length === 1 && only !== undefined ? only : Buffer.concat(pieces);
}
