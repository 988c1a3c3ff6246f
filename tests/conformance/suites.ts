/**
 * The official conformance suites, run with Node 24 against a URL, and what a run through an instance URL loses against
 * the same run directly at the fixture. A check is lost when it succeeds directly and does not here, be it that it is not
 * made at all; where the suite itself only notes what it sees (INFO: JSON in the place of a stream), nothing is lost.
 */
import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { projectRoot } from '../support/universalServer.js';
import type { FixtureEra } from './fixtureProcess.js';

export interface Suite {
  readonly name: string;
  /** The era whose clients the suite plays. */
  readonly era: FixtureEra;
  /** Folder of the suite's package below tools/node24/node_modules. */
  readonly package: string;
  readonly args: readonly string[];
  /** Checks that succeed at the fixture directly. */
  readonly checks: number;
}

export const suites: readonly Suite[] = [
  { name: '0.1.16', era: 'legacy', package: 'conformance-0.1', args: [], checks: 40 },
  {
    name: '0.2-2025-11-25',
    era: 'legacy',
    package: 'conformance-0.2',
    args: ['--requirements', '2025-11-25'],
    checks: 84,
  },
  {
    name: '0.2-2026-07-28',
    era: 'modern',
    package: 'conformance-0.2',
    args: ['--requirements', '2026-07-28'],
    checks: 163,
  },
];

/** Scenario and check, such as `ping/ping#1` (a check may be made several times) → its status and message. */
export type SuiteResult = ReadonlyMap<string, { readonly status: string; readonly message: string }>;

const node24Folder = join(projectRoot, 'tools', 'node24', 'node_modules');

/** @throws when the tools are not installed, or the suite could not run. */
export async function runSuite(suite: Suite, url: string): Promise<SuiteResult> {
  const node = join(node24Folder, 'node', 'bin', 'node');
  if (!existsSync(node)) throw new Error('Node 24 is not installed: run npm ci --prefix tools/node24');
  const folder = mkdtempSync(join(tmpdir(), 'conformance-'));
  try {
    const script = join(node24Folder, suite.package, 'dist', 'index.js');
    const output = await new Promise<string>((resolve) => {
      execFile(
        node,
        [script, 'server', '--url', url, '-o', folder, ...suite.args],
        { cwd: folder, timeout: 120_000, maxBuffer: 64 << 20 },
        // The exit code says that a check failed; which ones is read from the files.
        (_error, stdout, stderr) => resolve(stdout + stderr),
      );
    });
    const result = readChecks(folder);
    if (result.size === 0) throw new Error(`the suite ${suite.name} made no check: ${output.slice(-2_000)}`);
    return result;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface WrittenCheck {
  readonly id: string;
  readonly status: string;
  readonly errorMessage?: string;
}

function readChecks(folder: string): SuiteResult {
  const found = new Map<string, { status: string; message: string }>();
  for (const run of readdirSync(folder).toSorted()) {
    const file = join(folder, run, 'checks.json');
    if (!existsSync(file)) continue;
    const scenario = run.replace(/^server-/, '').replace(/-\d{4}-\d\d-\d\dT[\d-]+Z$/, '');
    const times = new Map<string, number>();
    for (const { id, status, errorMessage } of JSON.parse(readFileSync(file, 'utf8')) as WrittenCheck[]) {
      const nth = (times.get(id) ?? 0) + 1;
      times.set(id, nth);
      found.set(`${scenario}/${id}#${nth}`, { status, message: errorMessage ?? '' });
    }
  }
  return found;
}

export const succeeded = (result: SuiteResult): string[] =>
  [...result].flatMap(([check, { status }]) => (status === 'SUCCESS' ? [check] : []));

/** The checks that succeed directly and not here, each with what became of it. */
export function findLost(direct: SuiteResult, here: SuiteResult): Map<string, string> {
  const lost = succeeded(direct).flatMap((check): [string, string][] => {
    const found = here.get(check);
    if (found?.status === 'SUCCESS' || found?.status === 'INFO') return [];
    return [[check, found === undefined ? 'was not made' : `${found.status}: ${found.message}`]];
  });
  return new Map(lost);
}

/** The checks that a row is known to lose, and why, as `expected/<row>.yml` has them for a suite. */
export function readExpected(row: string, suite: string): Map<string, string> {
  const file = join(import.meta.dirname, 'expected', `${row}.yml`);
  const all = parse(readFileSync(file, 'utf8')) as Record<string, Record<string, string> | null> | null;
  return new Map(Object.entries(all?.[suite] ?? {}));
}

/** Leaves what was lost in `dist/conformance/`, with the suite's own words, for whoever looks for the cause. */
export function writeLost(row: string, suite: string, lost: ReadonlyMap<string, string>): void {
  const folder = join(projectRoot, 'dist', 'conformance');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${row}.${suite}.json`);
  writeFileSync(file, `${JSON.stringify(Object.fromEntries(lost), null, 2)}\n`);
}
