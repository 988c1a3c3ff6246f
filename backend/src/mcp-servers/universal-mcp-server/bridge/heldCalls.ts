/**
 * The calls that wait for their client's input: a legacy server asks in the middle of a call, a modern client is asked by
 * the answer to its request and comes back with another one. In between the upstream call stays open here, for a while
 * and within bounds; what the client carries is only a sealed name of it (spec 04, "hold").
 */
import { AppError } from '../../../errors/appError.js';
import { callAgeMsMax } from './callDeadline.js';
import type { HeldCall } from './heldCall.js';

/**
 * How long a client has for one round. People read, look something up and decide within it; the SDKs' own servers wait
 * one minute for an answer by default and ten at most.
 */
export const heldMsMax = 5 * 60_000;
/** An instance's own calls, and all of a process's; far above what people answer at once. */
export const heldPerInstanceMax = 64;
export const heldInAllMax = 1_024;
/** Questions and answers that are kept; sampling may carry pictures. */
export const heldBytesMax = 64 * 1024 * 1024;

const sweepMs = 1_000;

export interface HeldCallsBounds {
  readonly perInstance: number;
  readonly inAll: number;
  readonly bytes: number;
}

export class HeldCalls implements Disposable {
  /** Names this process in what it seals: another one, or this one after a restart, holds none of its calls. */
  readonly processId: string;
  readonly #now: () => number;
  readonly #bounds: HeldCallsBounds;
  readonly #calls = new Map<string, HeldCall>();
  readonly #sweep: NodeJS.Timeout;

  constructor(
    now: () => number,
    processId: string,
    bounds: HeldCallsBounds = {
      perInstance: heldPerInstanceMax,
      inAll: heldInAllMax,
      bytes: heldBytesMax,
    },
  ) {
    this.#now = now;
    this.processId = processId;
    this.#bounds = bounds;
    this.#sweep = setInterval(() => this.sweep(), sweepMs).unref();
  }

  get size(): number {
    return this.#calls.size;
  }

  /**
   * Keeps a call until it is ended or its time is up.
   * @returns until when, in milliseconds since the epoch
   * @throws AppError RATE_LIMIT_EXCEEDED when the instance holds too many, SERVICE_SATURATED when all together do,
   * UPSTREAM_TIMEOUT when the call is too old
   */
  keep(call: HeldCall): number {
    const others = [...this.#calls.values()].filter((one) => one !== call);
    const ofInstance = others.filter(({ instanceId }) => instanceId === call.instanceId).length;
    if (ofInstance >= this.#bounds.perInstance) {
      throw new AppError('RATE_LIMIT_EXCEEDED', 'the instance holds too many calls', {
        publicDetail: `${this.#bounds.perInstance} calls of this instance wait for input already. Answer one first.`,
        retryAfterSeconds: 5,
      });
    }
    const bytes = others.reduce((sum, one) => sum + one.bytes, call.bytes);
    if (others.length >= this.#bounds.inAll || bytes > this.#bounds.bytes) {
      throw new AppError('SERVICE_SATURATED', 'the process holds too many calls', {
        publicDetail: 'Too many calls of this service wait for input. Try again in a moment.',
        retryAfterSeconds: 5,
      });
    }
    const now = this.#now();
    const until = Math.min(now + heldMsMax, call.beganAt + callAgeMsMax);
    if (until <= now) throw new AppError('UPSTREAM_TIMEOUT', 'a call goes on asking its client');
    this.#calls.set(call.id, call);
    return until;
  }

  find(callId: string): HeldCall | null {
    return this.#calls.get(callId) ?? null;
  }

  forget(call: HeldCall): void {
    this.#calls.delete(call.id);
  }

  /** Whether what is kept fits. */
  get hasRoom(): boolean {
    let sum = 0;
    for (const { bytes } of this.#calls.values()) sum += bytes;
    return sum <= this.#bounds.bytes;
  }

  /** Ends what nobody came back for. */
  sweep(): void {
    const now = this.#now();
    for (const call of Array.from(this.#calls.values())) if (call.isOverdue(now)) call.abandon();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#sweep);
    for (const call of Array.from(this.#calls.values())) call.abandon();
  }
}
