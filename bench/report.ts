/** The benchmark's figures as markdown for people, or as JSON. */
import { availableParallelism, cpus } from 'node:os';
import type { Measured, Row } from './measuring.js';
import { toVaultTable, type VaultFigures } from './vault.js';
import type { SessionFigures } from './openSessions.js';
import { toTenantsTable, type TenantsLine } from './tenants.js';

export interface Line {
  readonly row: string;
  readonly callsPerSecond: number;
  readonly shareOfDirect: number;
  /** Calls a second and CPU time a call, as parts of the bare yardstick's. */
  readonly shareOfBare: number;
  readonly cpuOfBare: number;
  readonly cpuMicrosPerCall: number;
  readonly addedP50Ms: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface Section {
  readonly name: string;
  /** The yardstick's name that `shareOfBare` refers to. */
  readonly bare: string;
  readonly lines: readonly Line[];
}

export interface Report {
  readonly rounds: number;
  readonly roundMs: number;
  readonly clients: number;
  readonly idleMiB: number;
  readonly sections: readonly Section[];
  readonly sessions: SessionFigures | null;
  /** Null when they were not measured. */
  readonly tenants: readonly TenantsLine[] | null;
  readonly vault: VaultFigures | null;
}

/** @param yardsticks how many of the rows, from the first, are there to be compared with. */
export function toSection(
  name: string,
  rows: readonly Row[],
  yardsticks: number,
  alone: ReadonlyMap<string, Measured>,
  together: ReadonlyMap<string, Measured>,
): Section {
  const direct = rows[0];
  const bare = rows[yardsticks - 1];
  const lines = rows.map((row): Line => {
    const [one, many] = [of(alone, row), of(together, row)];
    return {
      row: row.name,
      callsPerSecond: many.callsPerSecond,
      shareOfDirect: many.callsPerSecond / of(together, direct).callsPerSecond,
      shareOfBare: many.callsPerSecond / of(together, bare).callsPerSecond,
      cpuOfBare: many.cpuMicrosPerCall / of(together, bare).cpuMicrosPerCall,
      cpuMicrosPerCall: many.cpuMicrosPerCall,
      addedP50Ms: one.p50Ms - of(alone, direct).p50Ms,
      p50Ms: many.p50Ms,
      p99Ms: many.p99Ms,
    };
  });
  return { name, bare: bare?.name ?? '', lines };
}

export function toReport(report: Report, asJson: boolean): string {
  const machine = `${cpus()[0]?.model ?? 'unknown'}, ${availableParallelism()} cores, Node ${process.versions.node}`;
  if (asJson) return JSON.stringify({ machine, ...report }, null, 2);
  const { rounds, roundMs, clients, idleMiB, sections, sessions, tenants, vault } = report;
  return [
    `${machine}; ${rounds} rounds of ${roundMs} ms, ${clients} clients, each with its own credential`,
    ...sections.flatMap(toTable),
    ...(sessions === null ? [] : toSessionLines(sessions)),
    ...(tenants === null ? [] : toTenantsTable(tenants)),
    ...(vault === null ? [] : toVaultTable(vault)),
    '',
    `A universal server before its first call: ${idleMiB.toFixed(0)} MiB resident.`,
  ].join('\n');
}

function toTable({ name, bare, lines }: Section): string[] {
  const titles = [
    'calls/s',
    'of direct',
    `of ${bare}`,
    'CPU µs a call',
    `of ${bare}'s`,
    'added p50',
    'p50',
    'p99',
  ];
  return [
    '',
    `## ${name}`,
    '',
    `| | ${titles.join(' | ')} |`,
    `|---|${titles.map(() => '---:').join('|')}|`,
    ...lines.map((line) => {
      const cells = [
        line.row,
        line.callsPerSecond.toFixed(0),
        line.shareOfDirect.toFixed(2),
        line.shareOfBare.toFixed(2),
        line.cpuMicrosPerCall.toFixed(0),
        line.cpuOfBare.toFixed(2),
        `${line.addedP50Ms.toFixed(2)} ms`,
        `${line.p50Ms.toFixed(2)} ms`,
        `${line.p99Ms.toFixed(2)} ms`,
      ];
      return `| ${cells.join(' | ')} |`;
    }),
  ];
}

function toSessionLines(figures: SessionFigures): string[] {
  const { opened, kibPerSession, upstreamBefore, upstreamAfter, secondsUntilGone } = figures;
  return [
    '',
    '## Sessions',
    '',
    `${opened} sessions with a stream: ${kibPerSession.toFixed(0)} KiB each in the gateway; upstream held ` +
      `${upstreamBefore.sessions} sessions and ${upstreamBefore.streams} streams.`,
    `${secondsUntilGone.toFixed(0)} s after their clients vanished, upstream holds ${upstreamAfter.sessions} sessions ` +
      `and ${upstreamAfter.streams} streams.`,
  ];
}

function of(measured: ReadonlyMap<string, Measured>, row: Row | undefined): Measured {
  const found = measured.get(row?.name ?? '');
  if (found === undefined) throw new Error('a row was not measured');
  return found;
}
