/**
 * One call of a modern client onto a legacy upstream, from its first POST to its last: whichever POST waits hears its
 * progress and logs; when the server asks, that POST is answered with the questions and the call waits for the next one.
 * It stands as the client of `callUpstream`, so that the whole call has one intent, one outcome and one slot.
 */
import {
  isJsonObject,
  type JsonObject,
  type JsonRpcNotification,
  type JsonRpcRequest,
  type JsonRpcResponse,
} from '../protocol/jsonRpc.js';
import { isAtLeast } from '../protocol/logLevels.js';
import type { RequestListener } from '../upstream/upstream.js';
import { CallerGone } from './callAccount.js';
import type { CallDeadline } from './callDeadline.js';
import type { HeldCalls } from './heldCalls.js';
import { OpenQuestions, toRefusal } from './openQuestions.js';
import type { Reply } from './reply.js';

/** A POST that waits for a call, with what its request said of itself. */
export interface WaitingPost {
  readonly reply: Pick<Reply, 'isGone' | 'onGone' | 'send'>;
  readonly request: JsonRpcRequest;
  readonly capabilities: JsonObject;
  readonly logLevel: string | null;
}

export type CallAnswer =
  | { readonly kind: 'response'; readonly response: JsonRpcResponse }
  | {
      readonly kind: 'input';
      readonly inputRequests: JsonObject;
      readonly round: number;
      readonly until: number;
    };

type Ended = { readonly response: JsonRpcResponse } | { readonly error: unknown };

interface Waiter {
  readonly post: WaitingPost;
  readonly resolve: (answer: CallAnswer) => void;
  readonly reject: (error: unknown) => void;
  readonly stopWatching: () => void;
}

export interface HeldCallOptions {
  readonly id: string;
  readonly instanceId: string;
  readonly held: HeldCalls;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Questions that come together are asked together: a server sends them in one go, the pipe in pieces. */
const gatherMs = 10;

export class HeldCall implements RequestListener {
  readonly id: string;
  readonly instanceId: string;
  readonly beganAt: number;
  /** Ends the upstream call; set when it begins. */
  controller: AbortController | null = null;
  /** Stands still while the client is asked, whatever way the question came. */
  deadline: Pick<CallDeadline, 'whileAsked'> | null = null;
  /** Told when the call begins to wait for its client, and when it no longer does. */
  onHeld: (isHeld: boolean) => void = () => {};
  /** Takes what nothing but the time says to belong to this call. */
  askStray: (request: JsonRpcRequest) => Promise<JsonRpcResponse> = (request) =>
    this.onServerRequest(request);
  /** What the server behind says of itself, once it was reached. */
  serverInfo: JsonObject = {};
  /** What the server asked for although the client had not declared it. */
  missingCapabilities: JsonObject | null = null;
  readonly #held: HeldCalls;
  readonly #questions = new OpenQuestions();
  #answerBytes = 0;
  #round = 0;
  #until = Infinity;
  #waiter: Waiter | null = null;
  #gathering: NodeJS.Timeout | null = null;
  #ended: Ended | null = null;
  #heldSince: number | null = null;
  #isAbandoned = false;

  constructor({ id, instanceId, held, now }: HeldCallOptions) {
    this.id = id;
    this.instanceId = instanceId;
    this.#held = held;
    this.beganAt = now();
  }

  // ── As the client of `callUpstream` ──

  get isGone(): boolean {
    return this.#isAbandoned;
  }

  /** Nobody is told: whoever abandons the call ends it through its controller. */
  onGone(): () => void {
    return () => {};
  }

  /** The server waits for its client, and no POST is here. */
  get isHeld(): boolean {
    return this.#heldSince !== null;
  }

  /** Since when, by the monotonic clock in ms; null when it is not held. */
  get heldSince(): number | null {
    return this.#heldSince;
  }

  /** Whether a POST is here for it. */
  get isWaitedFor(): boolean {
    return this.#waiter !== null;
  }

  get round(): number {
    return this.#round;
  }

  /** Of the questions and of an answer that nobody took yet. */
  get bytes(): number {
    return this.#questions.bytes + this.#answerBytes;
  }

  isOverdue(now: number): boolean {
    return this.#waiter === null && now >= this.#until;
  }

  /** Waits for what comes next: the response, or the server's questions. The POST hears what comes before it. */
  wait(post: WaitingPost): Promise<CallAnswer> {
    return new Promise((resolve, reject) => {
      const stopWatching = post.reply.onGone(() => {
        if (this.#waiter?.post === post) this.abandon();
      });
      this.#waiter = { post, resolve, reject, stopWatching };
      if (post.reply.isGone) return this.abandon();
      if (this.#ended !== null) return this.#deliver();
      this.#setHeld(false);
      if (this.#questions.size > 0) this.#gather();
    });
  }

  /**
   * Hands the client's answers on; what was not answered, or not with an answer, is asked again.
   * @throws AppError INVALID_PARAMS when they are no answers at all
   */
  takeAnswers(responses: unknown): void {
    this.#questions.takeAnswers(responses);
  }

  // ── As the listener of the upstream ──

  onNotification(notification: JsonRpcNotification): void {
    const post = this.#waiter?.post;
    if (post === undefined) return;
    const { method, params } = notification;
    if (method === 'notifications/message') {
      if (post.logLevel !== null && isAtLeast(params?.['level'], post.logLevel))
        post.reply.send(notification);
    } else if (method === 'notifications/progress') {
      const progressToken = tokenOf(post.request);
      if (progressToken !== undefined)
        post.reply.send({ ...notification, params: { ...params, progressToken } });
    }
  }

  onStrayRequest(request: JsonRpcRequest): Promise<JsonRpcResponse> {
    return this.askStray(request);
  }

  onServerRequest(request: JsonRpcRequest): Promise<JsonRpcResponse> {
    if (this.#ended !== null || this.#isAbandoned)
      return Promise.resolve(toRefusal(request, -32601, 'the call is over'));
    const answer = this.#questions.add(request);
    if (this.#waiter !== null) this.#gather();
    return this.deadline?.whileAsked(answer) ?? answer;
  }

  // ── The end ──

  /** The upstream answered. */
  settle(response: JsonRpcResponse): void {
    this.#end({ response });
  }

  /** The call failed here or there. */
  fail(error: unknown): void {
    this.#end({ error });
  }

  /** Nobody waits for the call any more: the upstream hears that it is cancelled, and nothing is kept. */
  abandon(): void {
    if (this.#isAbandoned) return;
    this.#isAbandoned = true;
    this.controller?.abort(new CallerGone('the client did not come back'));
    this.#end({ error: new CallerGone('the client did not come back') });
    this.#held.forget(this);
  }

  #gather(): void {
    this.#gathering ??= setTimeout(() => {
      this.#gathering = null;
      this.#ask();
    }, gatherMs);
  }

  /** Answers the POST that waits with all open questions; what its client cannot be asked is refused upstream. */
  #ask(): void {
    if (this.#waiter === null || this.#ended !== null) return;
    this.missingCapabilities ??= this.#questions.refuseUndeclared(this.#waiter.post.capabilities);
    if (this.#questions.size === 0) return;
    try {
      this.#until = this.#held.keep(this);
    } catch (error) {
      this.controller?.abort(error);
      return this.#end({ error });
    }
    this.#round += 1;
    const inputRequests = this.#questions.toInputRequests();
    const { resolve } = this.#takeWaiter();
    this.#setHeld(true);
    resolve({ kind: 'input', inputRequests, round: this.#round, until: this.#until });
  }

  #end(ended: Ended): void {
    if (this.#ended !== null) return;
    this.#ended = ended;
    this.#setHeld(false);
    if (this.#gathering !== null) clearTimeout(this.#gathering);
    this.#questions.close();
    if (this.#waiter !== null) return this.#deliver();
    // The answer is kept for the client's next POST, unless there is no room for it.
    this.#answerBytes = 'response' in ended ? JSON.stringify(ended.response).length : 0;
    if (!this.#held.hasRoom) this.#held.forget(this);
  }

  #deliver(): void {
    const ended = this.#ended;
    if (ended === null) return;
    this.#held.forget(this);
    const { post, resolve, reject } = this.#takeWaiter();
    if ('error' in ended) return reject(ended.error);
    resolve({ kind: 'response', response: { ...ended.response, id: post.request.id } });
  }

  #takeWaiter(): Waiter {
    const waiter = this.#waiter;
    if (waiter === null) throw new Error('no POST waits for the call');
    this.#waiter = null;
    waiter.stopWatching();
    return waiter;
  }

  #setHeld(isHeld: boolean): void {
    if (this.isHeld === isHeld) return;
    this.#heldSince = isHeld ? performance.now() : null;
    this.onHeld(isHeld);
  }
}

function tokenOf({ params }: JsonRpcRequest): unknown {
  const meta = params?.['_meta'];
  return isJsonObject(meta) ? meta['progressToken'] : undefined;
}
