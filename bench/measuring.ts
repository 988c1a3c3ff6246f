/**
 * Rows that are measured against each other: rounds take turns, so that whatever else the machine does hits all rows
 * alike, and the median round of each counts.
 */
import { cpuMicros } from './cpuTime.js';
import { median, quantile, runLoad, type Caller } from './load.js';

/** One way to the same answer. */
export interface Row {
  readonly name: string;
  readonly callers: readonly Caller[];
  /** The process whose CPU time counts: what stands between caller and upstream, or the upstream itself. */
  readonly pid: number;
}

export interface Measured {
  readonly callsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuMicrosPerCall: number;
}

export interface RoundOptions {
  readonly rounds: number;
  readonly roundMs: number;
}

/** @returns what each row came to, by its name. */
export async function measureAll(
  rows: readonly Row[],
  callersMax: number,
  { rounds, roundMs }: RoundOptions,
): Promise<ReadonlyMap<string, Measured>> {
  const measured = new Map<string, Measured[]>(rows.map(({ name }) => [name, []]));
  for (let round = 0; round <= rounds; round += 1) {
    for (const row of rows) {
      const result = await measure(row, row.callers.slice(0, callersMax), roundMs);
      // The first round warms up.
      if (round > 0) measured.get(row.name)?.push(result);
    }
  }
  const middle = (all: readonly Measured[], of: keyof Measured) => median(all.map((one) => one[of]));
  return new Map(
    [...measured].map(([name, all]) => [
      name,
      {
        callsPerSecond: middle(all, 'callsPerSecond'),
        p50Ms: middle(all, 'p50Ms'),
        p99Ms: middle(all, 'p99Ms'),
        cpuMicrosPerCall: middle(all, 'cpuMicrosPerCall'),
      },
    ]),
  );
}

async function measure(row: Row, callers: readonly Caller[], durationMs: number): Promise<Measured> {
  const before = cpuMicros(row.pid);
  const { calls, seconds, latencies } = await runLoad(callers, durationMs);
  return {
    callsPerSecond: calls / seconds,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    cpuMicrosPerCall: (cpuMicros(row.pid) - before) / calls,
  };
}
