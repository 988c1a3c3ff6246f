/** Ids in the names of tests and the page that lists them (`docs/requirements.md`) tell the same story (12.8). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSync } from '@swc/core';
import { describe, expect, it } from '@jest/globals';
import { projectRoot, readSources } from './sourceFiles.js';

interface Requirement {
  readonly id: string;
  readonly isCase: boolean;
  readonly status: string;
  /** Relative to the project root. */
  readonly tests: readonly string[];
}

const page = readFileSync(join(projectRoot, 'docs/requirements.md'), 'utf8');
const idPattern = /\b[A-Z]\d{2}\b/g;

const requirements: readonly Requirement[] = page.split('\n## ').flatMap((part) =>
  [...part.matchAll(/^\| ([A-Z]\d{2}) \| [^|]+ \| ([^|]+) \| ([^|]*) \|$/gm)].map(
    ([, id = '', status = '', tests = '']) => ({
      id,
      isCase: part.startsWith('Attack cases'),
      status: status.trim(),
      tests: [...tests.matchAll(/`([^`]+)`/g)].map(([, path]) => `tests/${path}`),
    }),
  ),
);

/** The names that a file gives to its tests and groups of tests; what is computed in them is left out. */
function findTestNames(text: string): string[] {
  const names: string[] = [];
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) return node.forEach(visit);
    if (typeof node !== 'object' || node === null) return;
    const { type, callee, arguments: given } = node as Record<string, unknown>;
    if (type === 'CallExpression' && isTestFunction(callee))
      names.push(toText((given as Given)[0]?.expression));
    Object.values(node).forEach(visit);
  };
  visit(parseSync(text, { syntax: 'typescript', target: 'es2022' }).body);
  return names;
}

type Given = readonly { readonly expression: Record<string, unknown> }[];

/** `it`, `it.each(…)`, `describe.skip` and so on. */
function isTestFunction(callee: unknown): boolean {
  const { type, value, object, callee: inner } = (callee ?? {}) as Record<string, unknown>;
  if (type === 'Identifier') return ['it', 'test', 'describe'].includes(String(value));
  return type === 'MemberExpression'
    ? isTestFunction(object)
    : type === 'CallExpression' && isTestFunction(inner);
}

function toText(expression: Record<string, unknown> | undefined): string {
  if (expression?.['type'] === 'StringLiteral') return String(expression['value']);
  if (expression?.['type'] !== 'TemplateLiteral') return '';
  return (expression['quasis'] as { raw: string }[]).map(({ raw }) => raw).join(' ');
}

const idsByFile = new Map(
  readSources('tests')
    .filter(({ path }) => path.endsWith('.test.ts') && path !== 'tests/architecture/requirements.test.ts')
    .map(({ path, text }) => [
      path,
      new Set(findTestNames(text).flatMap((name) => name.match(idPattern) ?? [])),
    ]),
);

const series = (letter: string, count: number): string[] =>
  Array.from({ length: count }, (_, at) => `${letter}${String(at + 1).padStart(2, '0')}`);

const all = (counts: Readonly<Record<string, number>>): string[] =>
  Object.entries(counts).flatMap(([letter, count]) => series(letter, count));
const listed = (isCase: boolean): string[] =>
  requirements.filter((one) => one.isCase === isCase).map(({ id }) => id);

describe('docs/requirements.md', () => {
  it('lists every row, every fault and every case, each once', () => {
    const rows = { P: 7, I: 12, U: 9, C: 11, X: 5, R: 30 };
    const cases = { A: 9, B: 11, C: 8, D: 10, E: 11, F: 11, G: 11, H: 5, I: 4 };
    expect(listed(false)).toEqual(all(rows));
    expect(listed(true)).toEqual(all(cases));
  });

  it('says of each one that it is held, what is missing, or what it comes with', () => {
    const parts = ['pass-through & remote upstreams', 'tenancy under attack', 'control plane', 'console'];
    const form = new RegExp(`^(?:held|partly: .{10,}|later: (?:${parts.join('|')}|comes with .{5,}))$`);
    expect(requirements.filter(({ status }) => !form.test(status))).toEqual([]);
  });

  it('has a test for each one that is held', () => {
    const bare = requirements.filter(({ status, tests }) => status === 'held' && tests.length === 0);
    expect(bare.map(({ id }) => id)).toEqual([]);
  });

  it('names only tests that carry the id', () => {
    const wrong = requirements.flatMap(({ id, tests }) =>
      tests.filter((path) => idsByFile.get(path)?.has(id) !== true).map((path) => `${id}: ${path}`),
    );
    expect(wrong).toEqual([]);
  });

  it('knows every id that a test carries, and does not put off what a test shows', () => {
    const statuses = new Map<string, string[]>();
    for (const { id, status } of requirements) statuses.set(id, [...(statuses.get(id) ?? []), status]);
    const found = [...idsByFile].flatMap(([path, ids]) => Array.from(ids, (id) => ({ id, path })));
    expect(found.length).toBeGreaterThan(150);
    expect(found.filter(({ id }) => !statuses.has(id))).toEqual([]);
    const early = found.filter(({ id }) => statuses.get(id)?.every((status) => status.startsWith('later')));
    expect(early).toEqual([]);
  });
});
