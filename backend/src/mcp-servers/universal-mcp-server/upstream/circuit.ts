/**
 * One circuit breaker: closed, open for a while, then closed again by one good trial. The states are cockatiel's; the
 * times are kept here, by the monotonic clock, since the library's own follow the wall clock, and a clock that is set
 * back would hold a circuit open (R16).
 */
import { circuitBreaker, CircuitState, handleAll, type IBreaker } from 'cockatiel';

export type CircuitAnswer = 'answered' | 'failed';

/** Told to the library as a result's kind; what is thrown inside never leaves this file. */
const fault = new Error('a fault of the upstream');

export interface CircuitRule {
  success(): void;
  /** Whether the circuit opens after this one. */
  failure(): boolean;
}

export interface CircuitOptions {
  readonly rule: CircuitRule;
  /** The first pause; each failed trial doubles it. */
  readonly pauseMs: number;
  readonly pauseMsMax: number;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
}

export class Circuit {
  readonly #options: CircuitOptions;
  readonly #policy;
  #pauseMs: number;
  /** Null while it was not opened since it was last closed. */
  #openUntil: number | null = null;
  #endTrial: ((how: CircuitAnswer) => void) | null = null;
  #isAbandoned = false;

  constructor(options: CircuitOptions) {
    this.#options = options;
    this.#pauseMs = options.pauseMs;
    const { rule } = options;
    const breaker: IBreaker = {
      state: null,
      success: () => rule.success(),
      failure: () => rule.failure(),
    };
    // Whether the pause is over is asked before (`waitMs`); to the library it is over at once.
    this.#policy = circuitBreaker(handleAll, { breaker, halfOpenAfter: -Infinity });
    this.#policy.onBreak(() => this.#onBreak());
    this.#policy.onReset(() => {
      this.#pauseMs = options.pauseMs;
      this.#openUntil = null;
    });
  }

  get isClosed(): boolean {
    return this.#policy.state === CircuitState.Closed;
  }

  /** Milliseconds until a trial may be made; 0 when a request may go. While a trial is under way none other goes. */
  get waitMs(): number {
    if (this.isClosed) return 0;
    if (this.#policy.state === CircuitState.HalfOpen) return this.#pauseMs;
    return Math.max(0, (this.#openUntil ?? 0) - this.#options.now());
  }

  /** Begins the trial of an open circuit; it has to be ended. */
  beginTrial(): void {
    const answer = new Promise<void>((resolve, reject) => {
      this.#endTrial = (how) => (how === 'answered' ? resolve() : reject(fault));
    });
    this.#run(() => answer);
  }

  endTrial(how: CircuitAnswer | 'abandoned'): void {
    // Somebody who went away says nothing of the upstream: the next request is the trial.
    this.#isAbandoned = how === 'abandoned';
    const end = this.#endTrial;
    this.#endTrial = null;
    end?.(how === 'answered' ? 'answered' : 'failed');
  }

  /** What came of a request that went through the closed circuit; later than its opening, it counts no more. */
  record(how: CircuitAnswer): void {
    if (!this.isClosed) return;
    this.#run(() => {
      if (how === 'failed') throw fault;
    });
  }

  #run(work: () => void | Promise<void>): void {
    this.#policy.execute(work).catch(() => {
      // The result was told to the library; whoever made the request hears of it by itself.
    });
  }

  #onBreak(): void {
    const { now, pauseMsMax } = this.#options;
    if (this.#openUntil !== null && !this.#isAbandoned) {
      this.#pauseMs = Math.min(this.#pauseMs * 2, pauseMsMax);
    }
    this.#openUntil = this.#isAbandoned ? now() : now() + this.#pauseMs;
    this.#isAbandoned = false;
  }
}
