/** Client era and transport × upstream kind and era × feature: the table of issue 3, held to a committed one. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { projectRoot } from '../support/universalServer.js';
import { connectMatrixClient, matrixClientNames } from './matrixClients.js';
import { features } from './matrixFeatures.js';
import { openRow, upstreamRows, type OpenRow } from './upstreamRows.js';

const featureMs = 12_000;
/** Client → upstream → feature → what came of it. */
const cells = new Map<string, string>();
const keyOf = (client: string, upstream: string, feature: string): string =>
  [client, upstream, feature].join(' | ');

describe.each(upstreamRows)('U03 U04 U06 U07 onto $name', (row) => {
  let open: OpenRow;
  beforeAll(async () => {
    open = await openRow(row);
  }, 60_000);
  afterAll(async () => {
    await open?.[Symbol.asyncDispose]();
  });

  it.each(matrixClientNames)(
    '%s has every feature, or there is none to have',
    async (name) => {
      const url = await open.aUrl();
      await using client = await connectMatrixClient(name, url);
      const lost: string[] = [];
      for (const [feature, check] of Object.entries(features)) {
        const outcome = await inTime(check(client, url)).catch((error: Error) => {
          lost.push(`${feature}: ${error.message}`);
          return '✗';
        });
        cells.set(keyOf(name, row.name, feature), outcome ?? '✓');
      }
      expect(lost).toEqual([]);
    },
    120_000,
  );
});

describe('the matrix', () => {
  it('U06 U07 is the committed one, without a hole', () => {
    const table = toTable();
    mkdirSync(join(projectRoot, 'dist', 'conformance'), { recursive: true });
    writeFileSync(join(projectRoot, 'dist', 'conformance', 'matrix.md'), table);
    process.stdout.write(`\n${table}\n`);
    expect(table).not.toMatch(/✗|\?/);
    expect(table).toBe(readFileSync(join(import.meta.dirname, 'expected', 'matrix.md'), 'utf8'));
  });
});

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | null = null;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took longer than ${featureMs} ms`)), featureMs);
  });
  return await Promise.race([work, late]).finally(() => {
    if (timer !== null) clearTimeout(timer);
  });
}

function toTable(): string {
  const names = Object.keys(features);
  const lines = matrixClientNames.flatMap((client) =>
    upstreamRows.map(({ name }) => {
      const row = names.map((feature) => cells.get(keyOf(client, name, feature)) ?? '?');
      return `| ${[client, name, ...row].join(' | ')} |`;
    }),
  );
  return [
    `| ${['Client', 'Upstream', ...names].join(' | ')} |`,
    `|${'---|'.repeat(names.length + 2)}`,
    ...lines,
    '',
  ].join('\n');
}
