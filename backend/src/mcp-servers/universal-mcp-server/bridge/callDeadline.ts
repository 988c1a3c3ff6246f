/**
 * The time that an upstream has for one call. It stands still while the upstream waits for an answer of the client: a
 * person who reads is no upstream that hangs.
 */

/** However often the client is asked, a call ends after this: it keeps a child or an upstream session busy. */
export const callAgeMsMax = 30 * 60_000;

export class CallDeadline {
  readonly #onEnd: () => void;
  readonly #endsAt = performance.now() + callAgeMsMax;
  #leftMs: number;
  #since = performance.now();
  #asked = 0;
  #isCleared = false;
  #timer: NodeJS.Timeout;

  constructor(timeoutMs: number, onEnd: () => void) {
    this.#onEnd = onEnd;
    this.#leftMs = timeoutMs;
    this.#timer = setTimeout(onEnd, timeoutMs);
  }

  /** The clock stands still until the work, an answer of the client, is done. */
  async whileAsked<T>(work: Promise<T>): Promise<T> {
    if (this.#asked === 0) {
      this.#leftMs -= performance.now() - this.#since;
      this.#restart(this.#endsAt - performance.now());
    }
    this.#asked += 1;
    try {
      return await work;
    } finally {
      this.#asked -= 1;
      if (this.#asked === 0) {
        this.#since = performance.now();
        this.#restart(Math.min(this.#leftMs, this.#endsAt - this.#since));
      }
    }
  }

  clear(): void {
    this.#isCleared = true;
    clearTimeout(this.#timer);
  }

  #restart(ms: number): void {
    clearTimeout(this.#timer);
    if (!this.#isCleared) this.#timer = setTimeout(this.#onEnd, Math.max(0, ms));
  }
}
