/**
 * Which eras an upstream speaks, learned by asking it once and remembered across restarts (spec 04, "Era registry").
 * A verdict is dated and belongs to one service, one upstream and one authorization context. Only what a server says of
 * the protocol is evidence; a refusal, a fault or silence is none, and leaves no verdict.
 */
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

export interface EraRegistry {
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
