/**
 * What the requests of modern clients of one instance and one set of capabilities share: connections to its upstream,
 * which is told of exactly these capabilities, so that it asks for nothing else (spec 04, "keyed (principal, capability
 * set)").
 *
 * Where a server's question names no call (one pipe for everything), a call that may be asked is alone on its connection:
 * the next waits for it. Only when the one before waits for its client does the next get a connection of its own, so that
 * a person who thinks holds nobody up (docs/decisions/0007).
 */
import { AppError } from '../../../errors/appError.js';
import type { SealedInstance } from '../../../services/instanceResolver.js';
import { abortable } from '../protocol/abortable.js';
import type { JsonObject, JsonRpcRequest, JsonRpcResponse } from '../protocol/jsonRpc.js';
import type { Era } from '../protocol/revisions.js';
import type { ServerTerms, UpstreamConnection } from '../upstream/upstream.js';
import type { BridgeContext } from './bridgeContext.js';
import { ConversationStreams } from './conversationStreams.js';
import type { HeldCall } from './heldCall.js';
import { heldPerInstanceMax } from './heldCalls.js';
import type { HeldConnectionOptions } from './heldConnection.js';
import type { InstanceRoom, OpenThing } from './instanceRooms.js';
import { ModernLane, toConversationName, toUpstreamTerms } from './modernLane.js';
import { toLegacyCapabilities } from './translate/inputRequests.js';

/**
 * Connections of one conversation: one, and more while the calls before wait for their client. Children are bounded
 * sooner, by the service's own `maxPerUser` and `maxProcesses`.
 */
const lanesMax = heldPerInstanceMax;
/** A client that has not come back for so long may have gone for good, and gives way where there is no room. */
const yieldAfterMs = 30_000;

export interface TakenLane {
  readonly connection: UpstreamConnection;
  /** Takes a question to the one call that it can be of, or to none. */
  readonly ask: (question: JsonRpcRequest) => Promise<JsonRpcResponse>;
  /** To be called when the call begins or ends to wait for its client: others may go on. */
  changed(): void;
  /** To be called once, when the call is over. */
  release(): void;
}

/** Sets of capabilities that one instance may have conversations for; a client has one, and a user few clients. */
const conversationsMax = 8;

/**
 * The conversation of a room for clients of these capabilities, made when there is none. One that nobody uses gives way.
 * @throws AppError RATE_LIMIT_EXCEEDED when all there may be are in use
 */
export function findConversation(
  ctx: BridgeContext,
  room: InstanceRoom,
  declared: JsonObject,
): ModernConversation {
  // An API asks nobody anything.
  const capabilities = ctx.definition.kind === 'api' ? {} : toLegacyCapabilities(declared);
  const name = toConversationName(capabilities);
  const known = room.open.get(name);
  if (known instanceof ModernConversation) return known;
  const others = Array.from(room.open).filter(([, thing]) => thing instanceof ModernConversation);
  if (others.length >= conversationsMax) {
    const [idle] = others.filter(([, { usedAt }]) => usedAt < Infinity).sort(byUse);
    if (idle === undefined) {
      throw new AppError('RATE_LIMIT_EXCEEDED', 'an instance has clients of too many kinds', {
        publicDetail: `Clients with ${conversationsMax} different sets of capabilities use this instance now.`,
        retryAfterSeconds: 5,
      });
    }
    room.open.delete(idle[0]);
    idle[1].close();
  }
  const conversation = new ModernConversation(ctx, capabilities);
  room.open.set(name, conversation);
  return conversation;
}

const byUse = ([, one]: [string, OpenThing], [, other]: [string, OpenThing]): number =>
  one.usedAt - other.usedAt;

export class ModernConversation implements OpenThing {
  /** The listen streams that hear this conversation's upstream. */
  readonly streams = new ConversationStreams();
  readonly #ctx: BridgeContext;
  readonly #capabilities: JsonObject;
  readonly #lanes: ModernLane[] = [];
  readonly #waiting = new Set<() => void>();
  #usedAt = performance.now();
  #users = 0;
  #isClosed = false;

  constructor(ctx: BridgeContext, capabilities: JsonObject) {
    this.#ctx = ctx;
    this.#capabilities = capabilities;
    this.#addLane();
  }

  get usedAt(): number {
    // A call that waits for its client has no POST here, and still needs its connection.
    const isBusy = this.#users > 0 || this.#lanes.some(({ calls }) => calls.size > 0);
    return isBusy ? Infinity : this.#usedAt;
  }

  /** What the upstream said of itself, once it was reached. */
  get server(): ServerTerms | null {
    return this.#first.held.server;
  }

  /** The era that the upstream answered in, once it was reached. */
  get era(): Era | null {
    return this.#first.era;
  }

  /** How a stream that a modern upstream answers itself joins it. */
  get joining(): Pick<HeldConnectionOptions, 'client' | 'sessionId'> {
    return toUpstreamTerms(this.#capabilities, 0);
  }

  /** The conversation is in use until the returned function is called, so it is not put away. */
  use(): () => void {
    this.#users += 1;
    return () => {
      this.#users -= 1;
      this.#usedAt = performance.now();
    };
  }

  /** The connection for what is never asked about anything; a question that comes meanwhile goes to the call it can be of. */
  async connect(
    instance: SealedInstance,
    logLevel: string | null,
    signal: AbortSignal,
  ): Promise<UpstreamConnection> {
    return await this.#first.connect(instance, logLevel, signal);
  }

  /**
   * A connection for a call that may be asked.
   * @throws AppError RATE_LIMIT_EXCEEDED or SERVICE_SATURATED when there is no room for another beside those whose calls
   * wait for their clients
   */
  async take(
    instance: SealedInstance,
    call: HeldCall,
    logLevel: string | null,
    signal: AbortSignal,
  ): Promise<TakenLane> {
    const connection = await this.#first.connect(instance, logLevel, signal);
    const isOnePipe = connection.attribution === 'none' || this.#ctx.definition.kind === 'sse';
    if (connection.era === 'modern' || !isOnePipe) return this.#takeLane(this.#first, call, connection);
    for (;;) {
      const lane = this.#findLane();
      if (lane === null) {
        await this.#nextChange(signal);
        continue;
      }
      // Taken before it is connected, so that nobody else takes it meanwhile.
      const taken = this.#takeLane(lane, call, connection);
      try {
        return { ...taken, connection: await lane.connect(instance, logLevel, signal) };
      } catch (error) {
        taken.release();
        const isSaturated = error instanceof AppError && error.code === 'SERVICE_SATURATED';
        if (!isSaturated || !this.#endOldest()) throw error;
      }
    }
  }

  /** A question that a server asked on a connection without saying during what. */
  ask(question: JsonRpcRequest): Promise<JsonRpcResponse> {
    return this.#first.ask(question);
  }

  onInstanceChange(now: SealedInstance | null): void {
    if (now === null) this.close();
  }

  close(): void {
    this.#isClosed = true;
    for (const lane of this.#lanes) lane.held.close();
    this.#changed();
  }

  get #first(): ModernLane {
    const [lane] = this.#lanes;
    if (lane === undefined) throw new Error('a conversation has a connection');
    return lane;
  }

  #addLane(): ModernLane {
    let index = 0;
    while (this.#lanes.some((one) => one.index === index)) index += 1;
    const lane = new ModernLane(this.#ctx, this.#capabilities, index, index === 0 ? this.streams : null);
    this.#lanes.push(lane);
    return lane;
  }

  #takeLane(lane: ModernLane, call: HeldCall, connection: UpstreamConnection): TakenLane {
    lane.calls.add(call);
    return {
      connection,
      ask: (question) => lane.ask(question),
      changed: () => this.#changed(),
      release: () => {
        lane.calls.delete(call);
        this.#usedAt = performance.now();
        if (lane.index > 0) {
          this.#lanes.splice(this.#lanes.indexOf(lane), 1);
          lane.held.close();
        }
        this.#changed();
      },
    };
  }

  /** The first free one, or a new one when all calls before wait for their client; null when one of them just runs. */
  #findLane(): ModernLane | null {
    if (this.#isClosed) throw new AppError('UPSTREAM_FAILED', 'the conversation is over');
    const free = this.#lanes.find(({ calls }) => calls.size === 0);
    if (free !== undefined) return free;
    if (!this.#lanes.every(({ calls }) => [...calls].every(({ isHeld }) => isHeld))) return null;
    if (this.#lanes.length < lanesMax) return this.#addLane();
    if (this.#endOldest()) return null;
    throw new AppError('RATE_LIMIT_EXCEEDED', 'all connections of a conversation wait for its client', {
      publicDetail: `${lanesMax} calls wait for input already. Answer one first.`,
      retryAfterSeconds: 5,
    });
  }

  /** Ends the call that has waited longest, if that is long; its connection is free then. */
  #endOldest(): boolean {
    const [oldest] = this.#lanes.flatMap(({ calls }) => Array.from(calls)).sort(byWaiting);
    if (oldest === undefined || performance.now() - heldSince(oldest) < yieldAfterMs) return false;
    oldest.abandon();
    return true;
  }

  async #nextChange(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = newSignal();
    this.#waiting.add(resolve);
    try {
      await abortable(promise, signal);
    } finally {
      this.#waiting.delete(resolve);
    }
  }

  #changed(): void {
    for (const wake of Array.from(this.#waiting)) wake();
  }
}

const heldSince = (call: HeldCall): number => call.heldSince ?? Infinity;
const byWaiting = (one: HeldCall, other: HeldCall): number => heldSince(one) - heldSince(other);

function newSignal(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let wake: (() => void) | null = null;
  const promise = new Promise<void>((resolve) => {
    wake = resolve;
  });
  return { promise, resolve: () => wake?.() };
}
