/**
 * Callers in a process of their own, so that a flood of calls does not delay whoever measures beside it. A message
 * `{callers, perSecond, atOnce, durationMs}` begins a run and is answered with its `PacedResult`. With a rate, a call's time
 * counts from when it was due: a late one makes those behind it late as well, rather than fewer.
 */
import { Pool } from 'undici';
import { quantile, type Caller } from '../load.js';

export interface PacedRun {
  readonly callers: readonly Caller[];
  /** Of each caller; null: as fast as answers come. */
  readonly perSecond: number | null;
  /** Calls of one caller under way at once, at most. */
  readonly atOnce: number;
  readonly durationMs: number;
}

export interface PacedResult {
  readonly calls: number;
  /** By the status of the answer; 0: no answer, or another's credential. */
  readonly refused: Readonly<Record<string, number>>;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Calls of one session that are under way at once have ids of their own. */
let calls = 0;
const withOwnId = (body: string): string => body.replace('"id":1,', () => `"id":${(calls += 1)},`);

async function run({ callers, perSecond, atOnce, durationMs }: PacedRun): Promise<PacedResult> {
  const latencies: number[] = [];
  const refused: Record<string, number> = {};
  await Promise.all(
    callers.map(async ({ origin, path, headers, body, expected }, index) => {
      const pool = new Pool(origin, { connections: atOnce, pipelining: 1 });
      const callAt = async (due: number): Promise<void> => {
        const answer = await pool
          .request({ method: 'POST', path, headers, body: withOwnId(body) })
          .catch(() => null);
        const text = (await answer?.body.text().catch(() => '')) ?? '';
        if (answer?.statusCode === 200 && text.includes(expected)) {
          latencies.push(performance.now() - due);
          return;
        }
        const status = answer === null || answer.statusCode === 200 ? 0 : answer.statusCode;
        refused[status] = (refused[status] ?? 0) + 1;
      };
      const start = performance.now();
      const end = start + durationMs;
      if (perSecond === null) {
        const worker = async (): Promise<void> => {
          while (performance.now() < end) await callAt(performance.now());
        };
        await Promise.all(Array.from({ length: atOnce }, worker));
      } else {
        const everyMs = 1_000 / perSecond;
        const sent: Promise<void>[] = [];
        // Callers do not start in step.
        for (let due = start + (everyMs * index) / callers.length; due < end; due += everyMs) {
          const waitMs = due - performance.now();
          if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
          sent.push(callAt(due));
        }
        await Promise.all(sent);
      }
      await pool.close();
    }),
  );
  const sorted = Float64Array.from(latencies).sort();
  return { calls: sorted.length, refused, p50Ms: quantile(sorted, 0.5), p99Ms: quantile(sorted, 0.99) };
}

process.on('message', (wish: PacedRun) => {
  run(wish).then(
    (result) => process.send?.(result),
    () => process.exit(1),
  );
});
process.on('disconnect', () => process.exit(0));
process.send?.({ port: 0 });
