/**
 * The load generator: a number of clients, each with its own URL, session and credential, one call at a time, for a
 * while. Every response is checked for the caller's own credential; one wrong answer fails the run.
 */
import { Client } from 'undici';

export interface Caller {
  readonly origin: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The body of one call. */
  readonly body: string;
  /** What the answer has to hold: the caller's own credential. */
  readonly expected: string;
  /** What is done again and again; absent: one POST of the body. */
  readonly turn?: (client: Client, caller: Caller) => Promise<void>;
}

export interface LoadResult {
  readonly calls: number;
  readonly seconds: number;
  /** Latencies of the calls in ms, sorted. */
  readonly latencies: Float64Array;
}

/** Calls until `durationMs` is over. @throws when an answer is not a 200 with the caller's credential. */
export async function runLoad(callers: readonly Caller[], durationMs: number): Promise<LoadResult> {
  const latencies: number[] = [];
  const start = performance.now();
  await Promise.all(
    callers.map(async (caller) => {
      const client = new Client(caller.origin, { pipelining: 1 });
      const turn = caller.turn ?? callOnce;
      try {
        while (performance.now() - start < durationMs) {
          const before = performance.now();
          await turn(client, caller);
          latencies.push(performance.now() - before);
        }
      } finally {
        await client.close();
      }
    }),
  );
  const seconds = (performance.now() - start) / 1_000;
  return { calls: latencies.length, seconds, latencies: Float64Array.from(latencies).sort() };
}

/** One POST of the caller's body. @throws when the answer is not a 200 with its credential. */
export async function callOnce(
  client: Client,
  { path, headers, body, expected }: Omit<Caller, 'origin'>,
): Promise<void> {
  const answer = await client.request({ method: 'POST', path, headers, body });
  const text = await answer.body.text();
  if (answer.statusCode !== 200 || !text.includes(expected))
    throw new Error(`a call was answered with ${answer.statusCode}, not with its caller's credential`);
}

/** The value below which a share of the sorted values lies. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
}
