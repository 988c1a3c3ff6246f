/**
 * Asks for many things at once when many are wanted at once: a question goes out by itself while few are under way, and
 * those that come meanwhile go together. So a herd after a restart costs the database hundreds of queries rather than
 * thousands, and no more than a few of its connections (R19).
 */
import { AppError } from '../errors/appError.js';

export interface BatchesOptions<Question, Answer> {
  /** Gives the answers in the order of the questions. When it fails, so does whatever waits: it would fail as well. */
  readonly load: (questions: readonly Question[]) => Promise<readonly Answer[]>;
  /** Loads under way at once. */
  readonly loadsMax?: number;
  /** Questions in one load. */
  readonly sizeMax?: number;
  /** Questions that may wait; the next one is refused at once. */
  readonly waitingMax?: number;
  /** How long a question may wait for its load to begin. */
  readonly waitMsMax?: number;
  /** From 0 up to 1. */
  readonly random?: () => number;
  /** Monotonic, in ms. */
  readonly now?: () => number;
}

interface Waiting<Question, Answer> {
  readonly question: Question;
  readonly since: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

const retrySecondsMax = 5;

/** @returns a function that rejects with SERVICE_SATURATED when too much waits, and with whatever `load` rejects with. */
export function createBatches<Question, Answer>(
  options: BatchesOptions<Question, Answer>,
): (question: Question) => Promise<Answer> {
  const { load, loadsMax = 2, sizeMax = 128, waitingMax = 8_192, waitMsMax = 1_500 } = options;
  const { random = Math.random, now = () => performance.now() } = options;
  let waiting: Waiting<Question, Answer>[] = [];
  let loads = 0;

  const tooMany = (): AppError =>
    new AppError('SERVICE_SATURATED', 'too many lookups wait for the database', {
      publicDetail: 'The service has more to do than it can. Try again in a moment.',
      retryAfterSeconds: 1 + Math.floor(random() * retrySecondsMax),
    });

  const begin = (): void => {
    const late = now() - waitMsMax;
    const first = waiting.findIndex(({ since }) => since >= late);
    for (const { reject } of waiting.splice(0, first === -1 ? waiting.length : first)) reject(tooMany());
    if (waiting.length > 0) void run(waiting.splice(0, sizeMax));
  };

  const run = async (asked: readonly Waiting<Question, Answer>[]): Promise<void> => {
    loads += 1;
    try {
      const answers = await load(asked.map(({ question }) => question));
      asked.forEach(({ resolve }, at) => resolve(answers[at] as Answer));
    } catch (error) {
      const others = waiting;
      waiting = [];
      for (const { reject } of [...asked, ...others]) reject(error);
    } finally {
      loads -= 1;
    }
    begin();
  };

  return (question) =>
    new Promise((resolve, reject) => {
      if (waiting.length >= waitingMax) return reject(tooMany());
      waiting.push({ question, since: now(), resolve, reject });
      if (loads < loadsMax) begin();
    });
}
