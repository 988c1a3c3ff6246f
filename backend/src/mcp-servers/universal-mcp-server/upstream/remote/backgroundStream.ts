/**
 * The stream on which a remote server of the legacy era says what belongs to no request: opened once somebody listens,
 * opened again from the last event that was heard whenever it ends, and done without where the server has none.
 */
import { AppError } from '../../../../errors/appError.js';
import type { Logger } from '../../../../telemetry/logger.js';
import type { StreamPlace } from './messageExchange.js';
import { pause } from './withDeadline.js';

export interface BackgroundStreamOptions {
  /** Resolves with the status when the stream is over; rejects when it broke. */
  readonly open: (place: StreamPlace, signal: AbortSignal) => Promise<number>;
  /** The server does not know the session any more. */
  readonly onLost: () => Promise<void>;
  readonly log: Pick<Logger, 'debug'>;
}

const pauseMsMin = 1_000;
const pauseMsMax = 30_000;
/** A stream that lasted this long was a good one. */
const goodMs = 10_000;

/** The server has no such stream; what else it may say can change. */
const isWithout = (status: number): boolean => [400, 405, 406, 501].includes(status);

/** What no further attempt changes: the next request tells of it. */
const lasting: ReadonlySet<string> = new Set([
  'EXPIRED_CREDENTIALS',
  'CREDENTIAL_MISSING',
  'CREDENTIAL_UNREADABLE',
  'EGRESS_DENIED',
  'SERVICE_UNAVAILABLE',
]);

export class BackgroundStream {
  readonly #options: BackgroundStreamOptions;
  readonly #stopping = new AbortController();
  readonly #place: StreamPlace = { lastEventId: null, retryMs: null };
  #isStarted = false;

  constructor(options: BackgroundStreamOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#isStarted || this.#stopping.signal.aborted) return;
    this.#isStarted = true;
    void this.#run();
  }

  stop(): void {
    this.#stopping.abort(new Error('the session is over'));
  }

  /** The events of another session mean nothing in a new one. */
  forgetPlace(): void {
    this.#place.lastEventId = null;
  }

  async #run(): Promise<void> {
    const { open, onLost, log } = this.#options;
    const { signal } = this.#stopping;
    let failures = 0;
    while (!signal.aborted) {
      const startedAt = performance.now();
      try {
        const status = await open(this.#place, signal);
        if (status === 404) await onLost();
        else if (isWithout(status)) return;
        failures = status >= 300 ? failures + 1 : 0;
      } catch (error) {
        if (signal.aborted) return;
        log.debug('the background stream of a remote server broke', { error });
        if (error instanceof AppError && lasting.has(error.code)) return;
        failures = performance.now() - startedAt > goodMs ? 1 : failures + 1;
      }
      const wait = Math.min(
        Math.max(this.#place.retryMs ?? 0, pauseMsMin * 2 ** Math.min(failures, 5)),
        pauseMsMax,
      );
      await pause(wait, signal);
    }
  }
}
