/** The official suites say the same of an instance URL as of the server behind it (04 "How it is checked"). */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startFixture, type FixtureEra, type RemoteFixture } from './fixtureProcess.js';
import {
  findLost,
  readExpected,
  runSuite,
  succeeded,
  suites,
  writeLost,
  type SuiteResult,
} from './suites.js';
import { openRow, upstreamRows, type OpenRow } from './upstreamRows.js';

const limitMs = 120_000;
const direct = new Map<string, SuiteResult>();

describe('directly at the fixture servers', () => {
  const fixtures = new Map<FixtureEra, RemoteFixture>();
  beforeAll(async () => {
    for (const era of ['legacy', 'modern'] as const)
      fixtures.set(era, await startFixture(era, 'streamable-http'));
  });
  afterAll(async () => {
    for (const fixture of fixtures.values()) await fixture[Symbol.asyncDispose]();
  });

  it.each(suites)(
    'the suite $name passes with its $checks checks',
    async (suite) => {
      const result = await runSuite(suite, fixtures.get(suite.era)?.url ?? '');
      direct.set(suite.name, result);
      const failed = [...result].filter(([, { status }]) => !['SUCCESS', 'SKIPPED', 'INFO'].includes(status));
      // The extension for tasks is scored by no revision; the fixtures have none.
      expect(failed.filter(([check]) => !check.startsWith('tasks-'))).toEqual([]);
      expect(succeeded(result)).toHaveLength(suite.checks);
    },
    limitMs,
  );
});

describe.each(upstreamRows)('U06 U07 through the instance URL of $name', (row) => {
  let open: OpenRow;
  beforeAll(async () => {
    open = await openRow(row);
  }, 60_000);
  afterAll(async () => {
    await open?.[Symbol.asyncDispose]();
  });

  it.each(suites)(
    'the suite $name loses exactly what expected/ says',
    async (suite) => {
      const known = direct.get(suite.name);
      if (known === undefined)
        throw new Error('the direct run of this suite is missing: it has to come first');
      const lost = findLost(known, await runSuite(suite, await open.aUrl()));
      writeLost(row.name, suite.name, lost);
      const expected = readExpected(row.name, suite.name);
      const unexpected = [...lost].filter(([check]) => !expected.has(check));
      const stale = [...expected.keys()].filter((check) => !lost.has(check));
      if (unexpected.length > 0) process.stdout.write(open.output());
      expect({ unexpected, stale }).toEqual({ unexpected: [], stale: [] });
    },
    limitMs,
  );
});
