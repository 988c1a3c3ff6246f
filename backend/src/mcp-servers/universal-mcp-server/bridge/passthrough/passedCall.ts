/**
 * One request on its way through: judged once, then bytes. What `callUpstream` promises holds here as well: policy, limits
 * and a deadline, an intent with the audit before the upstream hears anything, exactly one outcome, an end of the call
 * upstream when the client goes.
 */
import { AppError } from '../../../../errors/appError.js';
import type { JsonRpcId, JsonRpcRequest, JsonRpcResponse } from '../../protocol/jsonRpc.js';
import type { Era } from '../../protocol/revisions.js';
import { CallerGone, failureTypeOf } from '../callAccount.js';
import { callAgeMsMax } from '../callDeadline.js';
import type { Abortable } from '../instanceRooms.js';
import { deaf } from '../listAllTools.js';
import { isCredentialFailure } from '../missingCredential.js';
import { toModernForm } from '../modernBridge.js';
import { toPinRefusal } from '../pinnedCall.js';
import type { ByteReply, ReplyForm } from '../reply.js';
import { showList } from '../shownLists.js';
import { refuseAmbiguous } from './ambiguity.js';
import { AnswerFacts, succeeded } from './answerFacts.js';
import { AnsweringCall } from './answeringCall.js';
import { cancelUpstream } from './cancelUpstream.js';
import type { PassContext, PassedRequest } from './passContext.js';
import { answerWithout, toPassedFailure } from './passedFailure.js';
import type { Asking, PassedSession } from './passedSession.js';
import { toAskedConnection } from './pinnedList.js';
import { withToolName } from './renamedTool.js';
import { toMessageHeaders } from './requestHeaders.js';
import { findToolRefusal, isCallable, type ToolRefusal } from './toolChecks.js';

export class PassedCall extends AnsweringCall implements Abortable, Asking {
  #body: Buffer;
  /** The upstream's name of the tool, where it is another one. */
  #renamed: string | null = null;
  /** Ends what is asked about the tool before it may be called. */
  #checking: AbortController | null = null;
  #isCounted = false;
  #isSettled = false;
  /** What the client was asked and has not answered. */
  readonly #questions = new Set<unknown>();
  /** Of the monotonic clock, in ms: however often its client is asked, a call ends. */
  #endsAt = Infinity;

  constructor(
    pass: PassContext,
    from: PassedRequest,
    era: Era,
    request: JsonRpcRequest,
    body: Buffer,
    reply: ByteReply,
  ) {
    super(pass, from, era, request, reply);
    this.#body = body;
  }

  /** Takes the request on its way; failures are answers too. Never throws. */
  start(): void {
    try {
      this.#admit();
    } catch (error) {
      this.fail(error);
    }
  }

  #admit(): void {
    const { ctx, sessions, deadlines } = this.pass;
    const { instance, sessionId } = this.from;
    const { method, params } = this.request;
    const { room } = this;
    room.limits.takeRequest();
    ctx.noteUse(instance.id);
    if (this.era === 'legacy' && method !== 'initialize') {
      this.session = sessions.find(instance, sessionId);
      if (method === 'ping') return this.#answerSelf({ jsonrpc: '2.0', id: this.request.id, result: {} });
    }
    refuseAmbiguous(this.#body, this.request);
    if (method === 'tools/call' && !ctx.gate.isOpen && !this.#applyPolicy(params?.['name'])) return;
    room.limits.beginCall();
    this.#isCounted = true;
    this.session?.beginCall();
    room.calls.add(this);
    deadlines.add(this);
    this.reply.listener = this;
    const taken = ctx.daily.take(instance, method);
    if (taken === undefined) return this.intend(this.era, method, params);
    void this.#intendWhen(taken, method, params);
  }

  async #intendWhen(taken: Promise<void>, method: string, params: JsonRpcRequest['params']): Promise<void> {
    try {
      await taken;
      if (!this.#isSettled) this.intend(this.era, method, params);
    } catch (error) {
      this.fail(error);
    }
  }

  /** @returns false when the policy hides the tool and the client was told so. */
  #applyPolicy(tool: unknown): boolean {
    const name = typeof tool === 'string' ? this.pass.ctx.gate.toUpstreamName(tool) : null;
    if (name === null) {
      this.#refuseTool('hidden');
      return false;
    }
    if (name === tool) return true;
    this.#renamed = name;
    this.#body = withToolName(this.#body, name);
    return true;
  }

  #refuseTool(why: ToolRefusal): void {
    this.#answerSelf(toPinRefusal(this.era, this.request, why === 'hidden' ? 'unlisted' : why));
  }

  protected override begin(): void {
    if (this.#isSettled) return this.record(new CallerGone('the client is gone'));
    const { gate, pins } = this.pass.ctx;
    const { method, params } = this.request;
    if (method === 'tools/list' && pins !== null) return void this.#listPinned();
    if (method !== 'tools/call' || (gate.isOpen && pins === null)) return this.join();
    const name = this.#renamed ?? String(params?.['name']);
    if (isCallable(this.pass, this.from.instance.id, name)) return this.join();
    void this.#checkTool(name);
  }

  async #checkTool(name: string): Promise<void> {
    this.#checking = new AbortController();
    const { signal } = this.#checking;
    let refusal: ToolRefusal | null;
    try {
      refusal = await findToolRefusal(this.pass, this.from, this, this.room, name, signal);
    } catch (error) {
      return this.fail(error);
    }
    if (this.#isSettled || refusal === null) return this.join();
    this.record(new AnswerFacts('refused', null, refusal === 'hidden' ? null : 'TOOL_QUARANTINED'));
    this.#refuseTool(refusal);
  }

  async #listPinned(): Promise<void> {
    this.#checking = new AbortController();
    const headers = toMessageHeaders(this.era, this.from, null);
    const connection = toAskedConnection(this.pass, this.from, this, headers);
    try {
      const response = await connection.request(this.request, deaf, this.#checking.signal);
      if (this.#isSettled) return;
      if ('error' in response) {
        this.record(new AnswerFacts('error', response.error.code));
        return this.#answerSelf(
          response,
          this.era === 'modern' ? toModernForm({ status: 200 }, response.error.code) : {},
        );
      }
      const shown = showList(this.pass.ctx, this.room, this.from.instance, this.request, response.result);
      const result = 'cacheScope' in shown ? { ...shown, cacheScope: 'private' } : shown;
      this.record(succeeded);
      this.#answerSelf({ ...response, result });
    } catch (error) {
      this.fail(error);
    }
  }

  protected override join(): void {
    if (this.session === null || this.session.upstream !== null) return this.#send();
    this.pass.sessions.renew(this.session, this.from.origin).then(
      () => this.#send(),
      (error: unknown) => this.fail(error),
    );
  }

  #send(): void {
    if (this.#isSettled) return;
    const headers = toMessageHeaders(this.era, this.from, this.#renamed);
    const sessionId = this.session?.upstream?.id ?? null;
    this.sentIn = sessionId;
    const request = { lane: 'call', method: 'POST', body: this.#body, sessionId, headers } as const;
    this.exchange = this.pass.raw.exchange(this.from.instance, request, this);
  }

  // ── What ends it early ───────────────────────────────────────────────────────────────────────────────────────────

  onGone(): void {
    this.#giveUp(new CallerGone('the client is gone'));
  }

  onDeadline(): void {
    const { timeoutMs } = this.pass.ctx.definition.limits;
    this.#giveUp(new AppError('UPSTREAM_TIMEOUT', `no answer within ${timeoutMs} ms`));
  }

  protected override onQuestion(id: unknown): void {
    if (this.session === null || this.#isSettled) return;
    const { deadlines, patience } = this.pass;
    if (this.#endsAt === Infinity) this.#endsAt = performance.now() + callAgeMsMax;
    this.session.questions.set(id, this);
    this.#questions.add(id);
    deadlines.remove(this);
    patience.add(this);
  }

  /** The upstream has its answer, and as long as any other call for what is left. */
  onAnswered(id: unknown): void {
    this.session?.questions.delete(id);
    if (!this.#questions.delete(id) || this.#questions.size > 0 || this.#isSettled) return;
    const { deadlines, patience } = this.pass;
    patience.remove(this);
    if (performance.now() >= this.#endsAt) return this.onDeadline();
    deadlines.add(this);
  }

  abort(reason: Error): void {
    this.#giveUp(reason);
  }

  /** Whether this is the call that a client of that session means. */
  isOf(session: PassedSession, id: JsonRpcId): boolean {
    return this.session === session && this.request.id === id;
  }

  /** The client said that it waits no longer; the upstream heard it too. */
  cancel(): void {
    this.fail(new CallerGone('the client cancelled the call'));
  }

  #giveUp(why: Error): void {
    if (this.#isSettled) return;
    // Whoever can resume the stream has cancelled nothing.
    const isResumable = why instanceof CallerGone && this.relay?.hasIds === true;
    if (this.exchange !== null && this.session !== null && !this.isAnswered && !isResumable)
      cancelUpstream(this.pass.raw, this.session, this.from.revision, this.request.id);
    this.fail(why);
  }

  // ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #answerSelf(response: JsonRpcResponse, form: ReplyForm = { status: 200 }): void {
    this.reply.sendMessage(response, form);
    this.settle('');
  }

  protected override fail(error: unknown): void {
    if (this.#isSettled) return;
    this.#checking?.abort(error);
    this.exchange?.abort();
    this.exchange = null;
    if (error instanceof AppError && error.code === 'AUDIT_UNAVAILABLE')
      this.pass.ctx.metrics.auditWriteFailures.inc();
    this.record(error);
    this.settle(failureTypeOf(error));
    if (this.reply.isGone) return;
    if (this.reply.isFresh && isCredentialFailure(error)) return void this.#answerWithout(error);
    this.#sendFailure(error);
  }

  #sendFailure(error: unknown): void {
    const { response, form } = toPassedFailure(this.era, this.request.id, error, this.pass.ctx.log);
    if (this.reply.isFresh) return this.reply.sendMessage(response, form);
    // Half an answer must not be taken for a whole one; between two events there is room for a last one.
    if (this.relay === null) return this.reply.cut();
    if (!this.isAnswered) this.reply.write(`event: message\ndata: ${JSON.stringify(response)}\n\n`);
    this.reply.end();
  }

  async #answerWithout(error: AppError): Promise<void> {
    const { ctx, sessions } = this.pass;
    const { instance } = this.from;
    const { id, method, params = {} } = this.request;
    try {
      const result = await answerWithout(ctx, this.era, instance, this.request, error);
      const form = method === 'initialize' ? { sessionId: sessions.create(instance, params, undefined) } : {};
      this.reply.sendMessage({ jsonrpc: '2.0', id, result }, form);
    } catch (thrown) {
      this.#sendFailure(thrown);
    }
  }

  #forgetQuestions(): void {
    this.pass.patience.remove(this);
    for (const id of this.#questions) this.session?.questions.delete(id);
    this.#questions.clear();
  }

  protected override settle(errorType: string): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    const { ctx, deadlines } = this.pass;
    this.reply.listener = null;
    if (this.#isCounted) {
      deadlines.remove(this);
      if (this.#questions.size > 0) this.#forgetQuestions();
      this.room.calls.delete(this);
      this.room.limits.endCall();
      this.session?.endCall();
    }
    const { method, params } = this.request;
    const tool = method === 'tools/call' ? String(params?.['name']) : undefined;
    const seconds = (performance.now() - this.from.origin.arrivedAt) / 1_000;
    ctx.metrics.served.observe(seconds, { method, tool, errorType });
  }
}
