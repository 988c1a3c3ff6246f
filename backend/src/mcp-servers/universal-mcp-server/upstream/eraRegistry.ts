/**
 * Which eras an upstream speaks, learned by asking it once and remembered across restarts (spec 04, "Era registry").
 * A verdict is dated and belongs to one service, one upstream and one authorization context. Only what a server says of
 * the protocol is evidence; a refusal, a fault or silence is none, and leaves no verdict.
 */
import { LRUCache } from 'lru-cache';
import type { Queryable } from '../../../database/queryable.js';
import { AppError } from '../../../errors/appError.js';
import { findEraVerdict, forgetEraVerdict, storeEraVerdict } from '../../../stores/eraVerdictsStore.js';
import type { Logger } from '../../../telemetry/logger.js';
import { abortable } from '../protocol/abortable.js';
import type { Era } from '../protocol/revisions.js';

/** Names an upstream under an authorization context by digests; made by `eraKeys`, which makes equal keys one object. */
export interface EraKey {
  /** Lower-case hex. */
  readonly upstream: string;
  /** Lower-case hex. */
  readonly authorization: string;
}

export interface EraFacts {
  /** Null: not known yet. */
  readonly modern: boolean | null;
  /** Null: not known yet. */
  readonly legacy: boolean | null;
  /** How the legacy era is reached over HTTP; null when not known, not spoken, or not HTTP. */
  readonly legacyTransport: 'streamable-http' | 'sse' | null;
}

export interface EraVerdict extends EraFacts {
  /** When the upstream was last asked, in ms since the epoch. */
  readonly askedAt: number;
}

/**
 * Puts the question to the upstream, so that `preferred` is settled at least. Rejects when there is no evidence (401, 403,
 * 429, 5xx, timeouts, refused connections), with the error that the caller shall see.
 */
export type AskEra = (preferred: Era, signal: AbortSignal) => Promise<EraFacts>;

export interface EraRegistry extends AsyncDisposable {
  /**
   * What is known at once, without waiting; null when nothing is. With `ask`, a verdict older than a day is examined again
   * behind the call, which goes on with the old one.
   */
  known(key: EraKey, ask?: AskEra): EraVerdict | null;
  /**
   * The era to speak: `preferred` where the upstream speaks it. From memory, else the database, else by asking; callers
   * for one key share one question. The caller's signal ends its own wait alone. Rejects as `ask` does.
   */
  find(key: EraKey, preferred: Era, ask: AskEra, signal: AbortSignal): Promise<Era>;
  /**
   * Says that an answer looks as if the upstream had been changed: what is known of it is examined again behind the call,
   * twice a minute at most. Without effect while nothing is known or it is being asked.
   */
  doubt(key: EraKey, ask: AskEra): void;
  /** Adds what a connection learned by itself, for instance which legacy transport answered. Null says nothing. */
  note(key: EraKey, facts: Partial<EraFacts>): void;
  /**
   * Voids a verdict that proved wrong (the upstream was changed). True when the upstream should be asked anew and the
   * request, if it was refused for its era alone, be sent once more; false when the verdict is so young that asking again
   * would tell the same.
   */
  refute(key: EraKey): boolean;
}

/** The era to speak by these facts; null when the preferred one has to be asked about first. */
export function chooseEra(facts: EraFacts, preferred: Era): Era | null {
  const isSpoken = facts[preferred];
  if (isSpoken === null) return null;
  if (isSpoken) return preferred;
  return preferred === 'modern' ? 'legacy' : 'modern';
}

export interface EraRegistryOptions {
  readonly service: string;
  readonly db: Queryable;
  readonly log: Pick<Logger, 'warn'>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** How long one question may take. */
  readonly askTimeoutMs?: number;
}

/** A verdict older than this is examined again. */
const freshMs = 24 * 60 * 60 * 1_000;
/** Between two examinations in the background that bring no evidence. */
const backgroundPauseMs = 5 * 60 * 1_000;
/** A verdict that proves wrong again, or is doubted again, this soon was asked for in vain. */
const refuteAgainMs = 30_000;
const keysMax = 20_000;

interface Question {
  readonly settled: Promise<void>;
  readonly controller: AbortController;
  waiters: number;
}

/** Closing ends the questions under way and waits for what is being written. */
export function createEraRegistry(options: EraRegistryOptions): EraRegistry {
  const { service, db, log, now, askTimeoutMs = 10_000 } = options;
  const verdicts = new LRUCache<string, EraVerdict>({ max: keysMax });
  /** Whose row was read, or made void: the database is asked once for each. */
  const read = new LRUCache<string, true>({ max: keysMax });
  const refutedAt = new LRUCache<string, number>({ max: keysMax });
  const examinedAt = new LRUCache<string, number>({ max: keysMax });
  const questions = new Map<string, Question>();
  // One after the other, so that what is learned of a key later is also written later.
  let written = Promise.resolve();
  let isClosing = false;
  let isDatabaseAway = false;

  const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
    if (isClosing && isDatabaseAway) return;
    try {
      await work();
      isDatabaseAway = false;
    } catch (error) {
      isDatabaseAway = true;
      log.warn(`an era verdict could not be ${what}`, { service, error });
    }
  };
  const write = (what: string, work: () => Promise<void>): void => {
    written = written.then(() => attempt(what, work));
  };
  const keep = (key: EraKey, facts: EraFacts): void => {
    const verdict = { ...facts, askedAt: now() };
    verdicts.set(nameOf(key), verdict);
    write('kept', () => storeEraVerdict(db, { service, ...key, ...verdict }));
  };

  /** What the database remembers, once; a database that is away makes us ask the upstream instead. */
  const recall = async (key: EraKey): Promise<EraVerdict | null> => {
    const name = nameOf(key);
    const inMemory = verdicts.get(name);
    if (inMemory !== undefined || read.has(name)) return inMemory ?? null;
    try {
      const found = await findEraVerdict(db, { service, ...key });
      read.set(name, true);
      if (found !== null && !verdicts.has(name)) verdicts.set(name, found);
    } catch (error) {
      log.warn('an era verdict could not be read', { service, error });
    }
    return verdicts.get(name) ?? null;
  };

  const start = (key: EraKey, work: (signal: AbortSignal) => Promise<void>): Question => {
    const name = nameOf(key);
    const controller = new AbortController();
    const timer = setTimeout(
      () => controller.abort(new AppError('UPSTREAM_TIMEOUT', `said no era within ${askTimeoutMs} ms`)),
      askTimeoutMs,
    );
    const settled = abortable(work(controller.signal), controller.signal).finally(() => {
      clearTimeout(timer);
      if (questions.get(name) === question) questions.delete(name);
    });
    // Everybody who asked may have left.
    settled.catch(() => {});
    const question: Question = { settled, controller, waiters: 0 };
    questions.set(name, question);
    return question;
  };

  const ask = (key: EraKey, preferred: Era, askEra: AskEra): Question =>
    start(key, async (signal) => {
      const before = await recall(key);
      if (before !== null && chooseEra(before, preferred) !== null) return;
      const told = withoutGaps(merge(before, await askEra(preferred, signal)), preferred);
      // A question that was given up has no say.
      signal.throwIfAborted();
      keep(key, told);
    });

  /** Asks anew for everything that the verdict says, and puts the answer in its place. */
  const examine = (key: EraKey, { modern, legacy, legacyTransport }: EraVerdict, askEra: AskEra): void => {
    examinedAt.set(nameOf(key), now());
    const { settled } = start(key, async (signal) => {
      const first: Era = modern === null ? 'legacy' : 'modern';
      let told = withoutGaps(await askEra(first, signal), first);
      if (first === 'modern' && legacy !== null && told.legacy === null)
        told = merge(told, await askEra('legacy', signal));
      signal.throwIfAborted();
      keep(key, { ...told, legacyTransport: told.legacy ? (told.legacyTransport ?? legacyTransport) : null });
    });
    settled.catch((error: unknown) =>
      log.warn('an upstream did not say anew which era it speaks', { service, error }),
    );
  };

  const known = (key: EraKey, askEra?: AskEra): EraVerdict | null => {
    const name = nameOf(key);
    const verdict = verdicts.get(name);
    if (verdict === undefined) return null;
    if (askEra !== undefined && !isWithin(now() - verdict.askedAt, freshMs)) {
      const isDue = !isWithin(now() - (examinedAt.get(name) ?? -Infinity), backgroundPauseMs);
      if (isDue && !questions.has(name)) examine(key, verdict, askEra);
    }
    return verdict;
  };

  return {
    known,
    async find(key, preferred, askEra, signal) {
      for (;;) {
        const verdict = known(key, askEra);
        const era = verdict === null ? null : chooseEra(verdict, preferred);
        if (era !== null) return era;
        const question = questions.get(nameOf(key)) ?? ask(key, preferred, askEra);
        question.waiters += 1;
        try {
          await abortable(question.settled, signal);
        } finally {
          question.waiters -= 1;
          if (question.waiters === 0 && questions.get(nameOf(key)) === question) {
            // Nobody waits for it any more: the next caller asks for itself.
            questions.delete(nameOf(key));
            question.controller.abort(new Error('nobody waits for the answer'));
          }
        }
      }
    },
    doubt(key, askEra) {
      const name = nameOf(key);
      const verdict = verdicts.get(name);
      if (verdict === undefined || questions.has(name)) return;
      if (!isWithin(now() - (examinedAt.get(name) ?? -Infinity), refuteAgainMs))
        examine(key, verdict, askEra);
    },
    note(key, facts) {
      const before = verdicts.get(nameOf(key)) ?? nothing;
      const after = merge(before, { ...nothing, ...facts });
      if (!isSame(before, after)) keep(key, after);
    },
    refute(key) {
      const name = nameOf(key);
      if (isWithin(now() - (refutedAt.get(name) ?? -Infinity), refuteAgainMs)) return false;
      refutedAt.set(name, now());
      const verdict = verdicts.get(name);
      verdicts.delete(name);
      read.set(name, true);
      if (verdict !== undefined)
        write('voided', () => forgetEraVerdict(db, { service, ...key, askedAt: verdict.askedAt }));
      return true;
    },
    async [Symbol.asyncDispose]() {
      const open = [...questions.values()];
      for (const { controller } of open)
        controller.abort(new AppError('SERVICE_UNAVAILABLE', 'the process ends'));
      await Promise.allSettled(open.map(({ settled }) => settled));
      isClosing = true;
      await written;
    },
  };
}

const nothing: EraFacts = { modern: null, legacy: null, legacyTransport: null };

const nameOf = ({ upstream, authorization }: EraKey): string => `${upstream}/${authorization}`;

/** False for a time that lies ahead as well: the clock was set back, and nothing hangs on it for long. */
const isWithin = (ageMs: number, ms: number): boolean => ageMs >= 0 && ageMs < ms;

/** The newer facts, and the older where the newer say nothing. */
function merge(before: EraFacts | null, { modern, legacy, legacyTransport }: EraFacts): EraFacts {
  const spoken = legacy ?? before?.legacy ?? null;
  return {
    modern: modern ?? before?.modern ?? null,
    legacy: spoken,
    legacyTransport: spoken === false ? null : (legacyTransport ?? before?.legacyTransport ?? null),
  };
}

const isSame = (a: EraFacts, b: EraFacts): boolean =>
  a.modern === b.modern && a.legacy === b.legacy && a.legacyTransport === b.legacyTransport;

/** @throws AppError UPSTREAM_FAILED when no era is left to speak. */
function withoutGaps(facts: EraFacts, asked: Era): EraFacts {
  const other: Era = asked === 'modern' ? 'legacy' : 'modern';
  if (facts[asked] === true || (facts[asked] === false && facts[other] !== false)) return facts;
  if (facts[asked] === null && facts[other] === true) return { ...facts, [asked]: false };
  throw new AppError('UPSTREAM_FAILED', 'the upstream speaks no revision of MCP that we know');
}
