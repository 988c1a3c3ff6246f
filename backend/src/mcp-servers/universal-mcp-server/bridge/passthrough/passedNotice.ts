/**
 * A message of a client that has no response: a notification, or its answer to what the server asked. It is accounted for
 * like a call, for it is sent with the owner's credential; its client is told 202 as soon as the upstream took it.
 */
import { AppError } from '../../../../errors/appError.js';
import type { JsonRpcNotification, JsonRpcResponse } from '../../protocol/jsonRpc.js';
import type { RawHead } from '../../upstream/remote/rawUpstream.js';
import { CallerGone } from '../callAccount.js';
import type { Abortable, InstanceRoom } from '../instanceRooms.js';
import type { ByteReply } from '../reply.js';
import { succeeded } from './answerFacts.js';
import type { PassContext, PassedRequest } from './passContext.js';
import { PassedExchange } from './passedExchange.js';
import { toPassedFailure } from './passedFailure.js';
import type { PassedSession } from './passedSession.js';
import { toLegacyHeaders } from './requestHeaders.js';

export class PassedNotice extends PassedExchange implements Abortable {
  readonly #room: InstanceRoom;
  readonly #session: PassedSession;
  readonly #method: string;
  readonly #body: Buffer;
  readonly #answers: unknown;
  #isOver = false;
  #sentIn: string | null = null;
  #status = 0;

  constructor(
    pass: PassContext,
    from: PassedRequest,
    session: PassedSession,
    message: JsonRpcNotification | JsonRpcResponse,
    body: Buffer,
    reply: ByteReply,
  ) {
    super(pass, from, reply);
    this.#room = pass.rooms.of(from.instance);
    this.#session = session;
    this.#method = 'method' in message ? message.method : 'response';
    this.#body = body;
    this.#answers = 'method' in message ? undefined : message.id;
  }

  /** Sends it; failures are answers too. Never throws. */
  start(): void {
    const { deadlines } = this.pass;
    try {
      this.#room.limits.takeRequest();
      // A session that has yet to be joined, or is to be joined anew, begins without what was said to the one before.
      if (this.#session.upstream === null) return this.reply.sendEmpty(202);
      this.#session.beginCall();
      this.#room.calls.add(this);
      deadlines.add(this);
      this.reply.listener = this;
      this.intend('legacy', this.#method, undefined);
    } catch (error) {
      this.fail(error);
    }
  }

  protected override begin(): void {
    if (this.#isOver) return this.record(new CallerGone('the client is gone'));
    const headers = toLegacyHeaders(this.from.revision);
    const sessionId = this.#session.upstream?.id ?? null;
    this.#sentIn = sessionId;
    const request = { lane: 'call', method: 'POST', body: this.#body, sessionId, headers } as const;
    this.exchange = this.pass.raw.exchange(this.from.instance, request, this);
  }

  onHead(head: RawHead): void {
    this.#status = head.status;
  }

  onData(): void {}

  onEnd(): void {
    this.exchange = null;
    // What was lost with the upstream's session has no meaning in the next one.
    if (this.#status === 404 && this.#sentIn !== null) this.#session.lose(this.#sentIn);
    this.record(succeeded);
    this.#session.questions.get(this.#answers)?.onAnswered(this.#answers);
    this.#end();
    this.reply.sendEmpty(202);
  }

  /** The upstream did not take it: nobody waits for it, and its client can do nothing about it. */
  onError(error: AppError): void {
    this.exchange = null;
    this.record(error);
    this.#session.questions.get(this.#answers)?.onAnswered(this.#answers);
    this.#end();
    this.reply.sendEmpty(202);
  }

  onGone(): void {
    this.fail(new CallerGone('the client is gone'));
  }

  onDeadline(): void {
    this.fail(new AppError('UPSTREAM_TIMEOUT', 'the upstream takes a message too slowly'));
  }

  abort(reason: Error): void {
    this.fail(reason);
  }

  protected override fail(error: unknown): void {
    if (this.#isOver) return;
    this.record(error);
    this.#end();
    if (this.reply.isGone) return;
    const { response, form } = toPassedFailure('legacy', null, error, this.pass.ctx.log);
    this.reply.sendMessage(response, form);
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.exchange?.abort();
    this.reply.listener = null;
    if (this.deadlineAt === 0) return;
    this.pass.deadlines.remove(this);
    this.#room.calls.delete(this);
    this.#session.endCall();
  }
}
