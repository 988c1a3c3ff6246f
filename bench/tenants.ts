/**
 * One tenant who calls ten times as much as each of the others, or as fast as answers come: what the others notice. The
 * same through a bare proxy, which knows no tenants, in the same rounds.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { median, type Caller } from './load.js';
import type { PacedResult, PacedRun } from './programs/pacedCallers.js';

export interface TenantsSubject {
  readonly name: string;
  /** Of as many users as there are callers; the first is the heavy one. */
  readonly callers: readonly Caller[];
}

export interface TenantsLine {
  readonly name: string;
  /** Of the light tenants' calls, in ms. */
  readonly alone: { readonly p50Ms: number; readonly p99Ms: number };
  readonly besideTenfold: { readonly p50Ms: number; readonly p99Ms: number };
  readonly besideFlood: { readonly p50Ms: number; readonly p99Ms: number };
  /** Calls of light tenants that were not answered with their own credential. */
  readonly failed: number;
  readonly floodCallsPerSecond: number;
}

export interface TenantsOptions {
  readonly rounds: number;
  readonly roundMs: number;
  readonly lightPerSecond: number;
  /** Starts a process of `pacedCallers`. */
  readonly startCallers: () => Promise<ChildProcess>;
}

const floodAtOnce = 64;

async function ask(of: ChildProcess, wish: PacedRun): Promise<PacedResult> {
  of.send(wish);
  const [result] = (await once(of, 'message')) as [PacedResult];
  return result;
}

export async function measureTenants(
  subjects: readonly TenantsSubject[],
  { rounds, roundMs, lightPerSecond, startCallers }: TenantsOptions,
): Promise<TenantsLine[]> {
  const [light, heavy] = [await startCallers(), await startCallers()];
  const seen = new Map(subjects.map(({ name }) => [name, [] as Round[]]));
  for (let round = 0; round <= rounds; round += 1) {
    for (const { name, callers } of subjects) {
      const [loud, ...quiet] = callers;
      if (loud === undefined) throw new Error('a subject has no callers');
      const paced = { callers: quiet, perSecond: lightPerSecond, atOnce: 8, durationMs: roundMs };
      const alone = await ask(light, paced);
      const tenfold = { callers: [loud], perSecond: lightPerSecond * 10, atOnce: 32, durationMs: roundMs };
      const [besideTenfold] = await Promise.all([ask(light, paced), ask(heavy, tenfold)]);
      const flooding = { callers: [loud], perSecond: null, atOnce: floodAtOnce, durationMs: roundMs };
      const [besideFlood, flood] = await Promise.all([ask(light, paced), ask(heavy, flooding)]);
      // The first round warms up.
      if (round > 0) seen.get(name)?.push({ alone, besideTenfold, besideFlood, flood });
    }
  }
  return subjects.map(({ name }) => toLine(name, seen.get(name) ?? [], roundMs));
}

interface Round {
  readonly alone: PacedResult;
  readonly besideTenfold: PacedResult;
  readonly besideFlood: PacedResult;
  readonly flood: PacedResult;
}

function toLine(name: string, rounds: readonly Round[], roundMs: number): TenantsLine {
  const lightOf = (of: 'alone' | 'besideTenfold' | 'besideFlood') => ({
    p50Ms: median(rounds.map((round) => round[of].p50Ms)),
    p99Ms: median(rounds.map((round) => round[of].p99Ms)),
  });
  const failed = rounds
    .flatMap(({ alone, besideTenfold, besideFlood }) => [alone, besideTenfold, besideFlood])
    .flatMap(({ refused }) => Object.values(refused))
    .reduce((sum, count) => sum + count, 0);
  return {
    name,
    alone: lightOf('alone'),
    besideTenfold: lightOf('besideTenfold'),
    besideFlood: lightOf('besideFlood'),
    failed,
    floodCallsPerSecond: median(rounds.map(({ flood }) => (flood.calls / roundMs) * 1_000)),
  };
}

const ms = (value: number): string => `${value.toFixed(2)} ms`;

export function toTenantsTable(lines: readonly TenantsLine[]): string[] {
  return [
    '',
    '## Tenants',
    '',
    'What light tenants see of their own calls: alone, beside one with ten times their rate, and beside one who floods.',
    '',
    '| | p50 alone | p99 alone | p99 beside tenfold | of alone | p99 beside a flood | of alone | failed | flood, calls/s |',
    '|---|---:|---:|---:|---:|---:|---:|---:|---:|',
    ...lines.map(({ name, alone, besideTenfold, besideFlood, failed, floodCallsPerSecond }) => {
      const cells = [
        name,
        ms(alone.p50Ms),
        ms(alone.p99Ms),
        ms(besideTenfold.p99Ms),
        (besideTenfold.p99Ms / alone.p99Ms).toFixed(2),
        ms(besideFlood.p99Ms),
        (besideFlood.p99Ms / alone.p99Ms).toFixed(2),
        String(failed),
        floodCallsPerSecond.toFixed(0),
      ];
      return `| ${cells.join(' | ')} |`;
    }),
  ];
}
