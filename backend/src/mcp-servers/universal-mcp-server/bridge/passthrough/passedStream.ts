/**
 * A stream that stays open: the GET stream of a session, which may resume another one, and `subscriptions/listen` of the
 * modern era. Its opening is limited and accounted for like a call; then events pass until one side ends it, or the
 * instance is another one.
 */
import { AppError } from '../../../../errors/appError.js';
import type { SealedInstance } from '../../../../services/instanceResolver.js';
import type { JsonRpcRequest } from '../../protocol/jsonRpc.js';
import type { RawHead, RawRequest } from '../../upstream/remote/rawUpstream.js';
import { CallerGone } from '../callAccount.js';
import { FrameRelay } from '../frames/frameRelay.js';
import type { InstanceRoom, OpenThing } from '../instanceRooms.js';
import { ListenKeeper } from '../listenKeeper.js';
import { isCredentialFailure } from '../missingCredential.js';
import type { ByteReply } from '../reply.js';
import { toListenNotice, toolsChanged } from '../toolsChanged.js';
import { readAnswerFacts, succeeded } from './answerFacts.js';
import { isSessionLost } from './lostSession.js';
import type { PassContext, PassedRequest } from './passContext.js';
import { PassedExchange } from './passedExchange.js';
import { answerWithout, toPassedFailure, unusable } from './passedFailure.js';
import { type Closable, type PassedSession } from './passedSession.js';
import { toModernHeaders, toStreamHeaders } from './requestHeaders.js';
import { withPrivateScope } from './shownAnswer.js';
import { mayPass } from './strayMessages.js';

/** What asks for the stream: a session's GET, or a modern request with its bytes. */
export type StreamSource =
  | { readonly session: PassedSession }
  | { readonly session: null; readonly request: JsonRpcRequest; readonly body: Buffer };

const streamsMax = 16;
const failureBytesMax = 64 * 1024;

export class PassedStream extends PassedExchange implements OpenThing, Closable {
  /** In use as long as it is open. */
  readonly usedAt = Infinity;
  readonly #source: StreamSource;
  readonly #name: string;
  readonly #method: string;
  readonly #room: InstanceRoom;
  readonly #keeper: ListenKeeper | null;
  #relay: FrameRelay | null = null;
  #isOver = false;
  #isRetried = false;
  #isStandalone = false;
  #lastEventId: string | undefined;
  #sentIn: string | null = null;
  #status = 0;
  #pieces: Buffer[] = [];
  #bytes = 0;

  constructor(pass: PassContext, from: PassedRequest, source: StreamSource, reply: ByteReply) {
    super(pass, from, reply);
    this.#source = source;
    this.#keeper = source.session === null ? ListenKeeper.of(pass.ctx, source.request) : null;
    this.#name = `stream/${pass.ctx.newId()}`;
    this.#method = source.session === null ? source.request.method : 'stream/open';
    this.#lastEventId = from.lastEventId;
    this.#room = pass.rooms.of(from.instance);
  }

  /** Asks the upstream for the stream; failures are answers too. Never throws. */
  start(): void {
    try {
      this.#admit();
    } catch (error) {
      this.fail(error);
    }
  }

  #admit(): void {
    const { ctx, deadlines } = this.pass;
    const { instance } = this.from;
    const { session } = this.#source;
    const room = this.#room;
    room.limits.takeRequest();
    ctx.noteUse(instance.id);
    if (session?.hasStream === true && this.#lastEventId === undefined) {
      throw new AppError('CONFLICT', 'a second stream of one session', {
        publicDetail: 'This session has a stream already.',
      });
    }
    const open = session === null ? countStreams(room.open.values()) : session.streams.size;
    if (open >= streamsMax) {
      throw new AppError('RATE_LIMIT_EXCEEDED', 'too many streams are open', { retryAfterSeconds: 5 });
    }
    if (session === null) room.open.set(this.#name, this);
    else this.#holdSession(session);
    this.reply.listener = this;
    deadlines.add(this);
    const params = session === null && 'request' in this.#source ? this.#source.request.params : undefined;
    this.intend(session === null ? 'modern' : 'legacy', this.#method, params);
  }

  #holdSession(session: PassedSession): void {
    session.addStream(this);
    this.#isStandalone = this.#lastEventId === undefined;
    if (this.#isStandalone) session.hasStream = true;
  }

  protected override begin(): void {
    if (this.#isOver) return this.record(new CallerGone('the client is gone'));
    this.#join();
  }

  #join(): void {
    const { session } = this.#source;
    if (session === null || session.upstream !== null) return this.#send();
    // Event ids of a session that is gone mean nothing to the new one.
    this.#lastEventId = undefined;
    this.pass.sessions.renew(session, this.from.origin).then(
      () => this.#send(),
      (error: unknown) => this.fail(error),
    );
  }

  #send(): void {
    if (this.#isOver) return;
    this.exchange = this.pass.raw.exchange(this.from.instance, this.#toRequest(), this);
  }

  #toRequest(): RawRequest {
    const source = this.#source;
    if (source.session === null) {
      const headers = toModernHeaders(this.from.headers, null);
      return { lane: 'stream', method: 'POST', body: source.body, sessionId: null, headers };
    }
    const headers = toStreamHeaders(this.from.revision, this.#lastEventId);
    const sessionId = source.session.upstream?.id ?? null;
    this.#sentIn = sessionId;
    return { lane: 'stream', method: 'GET', body: null, sessionId, headers };
  }

  // ── What the upstream answers ────────────────────────────────────────────────────────────────────────────────────

  onHead(head: RawHead): void {
    this.#status = head.status;
    if (head.status !== 200 || head.form !== 'events') return;
    const { ctx, deadlines, keepAlive } = this.pass;
    const relay = new FrameRelay(this.reply, ctx.definition.limits.maxResponseBytes, (data) =>
      this.#show(data),
    );
    relay.exchange = this.exchange;
    this.#relay = relay;
    deadlines.remove(this);
    keepAlive.add(relay);
    this.record(succeeded);
    this.reply.beginEvents(null, true);
  }

  onData(piece: Buffer): void {
    if (this.#relay === null) {
      this.#bytes += piece.length;
      if (this.#bytes <= failureBytesMax) this.#pieces.push(piece);
      return;
    }
    try {
      this.#relay.push(piece);
    } catch (error) {
      this.fail(error);
    }
  }

  onEnd(): void {
    this.exchange = null;
    if (this.#relay === null) return this.#finishOther(Buffer.concat(this.#pieces));
    this.#relay.finish();
    if (this.#keeper?.withheld == null) this.close();
  }

  onError(error: AppError): void {
    this.exchange = null;
    this.fail(error);
  }

  #show(data: Buffer): Buffer | null {
    const { pins } = this.pass.ctx;
    const source = this.#source;
    const id = source.session === null ? source.request.id : null;
    if (pins !== null && !mayPass({ pins, instanceId: this.from.instance.id, id }, data)) return null;
    if (source.session !== null) return data;
    return this.#keeper === null ? withPrivateScope(data) : this.#keeper.showFrame(data);
  }

  #finishOther(body: Buffer): void {
    const { session } = this.#source;
    if (session !== null && this.#sentIn !== null && isSessionLost(this.#status, body)) {
      if (this.#isRetried)
        return this.fail(new AppError('SESSION_NOT_FOUND', 'the upstream loses its sessions'));
      this.#isRetried = true;
      this.#pieces = [];
      this.#bytes = 0;
      session.lose(this.#sentIn);
      return this.#join();
    }
    // A server need not offer a stream; its clients do without (MCP 2025-11-25, "Listening for Messages").
    if (session !== null && this.#status === 405) {
      return this.fail(new AppError('METHOD_NOT_ALLOWED', 'the upstream offers no stream'));
    }
    const facts = readAnswerFacts(body);
    if (facts === null || (this.#status !== 200 && facts.outcome !== 'error'))
      return this.fail(unusable(this.#status));
    this.record(facts);
    this.#end();
    this.reply.sendWhole(this.#status, [body], body.length, null);
  }

  // ── What the client and this service do ──────────────────────────────────────────────────────────────────────────

  onGone(): void {
    this.fail(new CallerGone('the client is gone'));
  }

  onDeadline(): void {
    this.fail(new AppError('UPSTREAM_TIMEOUT', 'the stream was not opened in time'));
  }

  onInstanceChange(now: SealedInstance | null): void {
    if (now === null || !this.pass.ctx.mayGoOn(this.from.instance, now)) this.close();
  }

  /** Says so between two of the upstream's own events, where the client listens for it. */
  onToolsChange(): void {
    const source = this.#source;
    const ofSession = this.#isStandalone ? { jsonrpc: '2.0', method: toolsChanged } : null;
    const notice = source.session === null ? toListenNotice(source.request) : ofSession;
    if (notice !== null) this.#relay?.send(`event: message\ndata: ${JSON.stringify(notice)}\n\n`);
  }

  /** Ends it on both sides; a client opens it again, where it may. */
  close(): void {
    if (this.#isOver) return;
    if (this.#relay === null)
      return this.fail(new AppError('NOT_FOUND', 'the session or the instance ended'));
    const last = this.#keeper?.withheld ?? null;
    if (last !== null) this.reply.write(`event: message\ndata: ${last.toString()}\n\n`);
    this.#end();
    this.reply.end();
  }

  protected override fail(error: unknown): void {
    if (this.#isOver) return;
    if (error instanceof AppError && error.code === 'AUDIT_UNAVAILABLE')
      this.pass.ctx.metrics.auditWriteFailures.inc();
    this.record(error);
    this.#end();
    if (this.reply.isGone) return;
    if (!this.reply.isFresh) return this.reply.end();
    const source = this.#source;
    if (source.session === null && isCredentialFailure(error))
      return void this.#answerWithout(source.request, error);
    this.#sendFailure(error);
  }

  #sendFailure(error: unknown): void {
    const source = this.#source;
    const { log } = this.pass.ctx;
    if (source.session === null) {
      const { response, form } = toPassedFailure('modern', source.request.id, error, log);
      return this.reply.sendMessage(response, form);
    }
    const { response, form } = toPassedFailure('legacy', null, error, log);
    // To a request that is no JSON-RPC the status is the answer; one of success would be taken for a stream.
    this.reply.sendMessage(response, form.status === 200 ? { ...form, status: 502 } : form);
  }

  async #answerWithout(request: JsonRpcRequest, error: AppError): Promise<void> {
    try {
      const result = await answerWithout(this.pass.ctx, 'modern', this.from.instance, request, error);
      this.reply.sendMessage({ jsonrpc: '2.0', id: request.id, result }, {});
    } catch (thrown) {
      this.#sendFailure(thrown);
    }
  }

  #end(): void {
    this.#isOver = true;
    this.exchange?.abort();
    this.reply.listener = null;
    const { deadlines, keepAlive } = this.pass;
    deadlines.remove(this);
    if (this.#relay !== null) keepAlive.remove(this.#relay);
    const { session } = this.#source;
    if (session === null) {
      this.#room.open.delete(this.#name);
      return;
    }
    session.removeStream(this);
    if (this.#isStandalone) session.hasStream = false;
  }
}

function countStreams(things: Iterable<OpenThing>): number {
  let count = 0;
  for (const thing of things) if (thing instanceof PassedStream) count += 1;
  return count;
}
