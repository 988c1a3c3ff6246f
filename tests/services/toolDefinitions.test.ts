/** Definitions of tools as hostile servers write them: what can be pinned, and what an admin sees of a change. */
import { describe, expect, it } from '@jest/globals';
import { toDefinitionDifference } from '../../backend/src/services/toolPins/definitionDifference.js';
import { findOddities, toReadableText } from '../../backend/src/services/toolPins/readableText.js';
import { toToolDefinition } from '../../backend/src/services/toolPins/toolDefinition.js';

const parse = (text: string) => JSON.parse(text) as Record<string, unknown>;
const digestOf = (text: string) => toToolDefinition(parse(text))?.digest;
const nested = (levels: number) => `{"name":"a","x":${'['.repeat(levels)}${']'.repeat(levels)}}`;

const words = (seed: number): string =>
  Array.from({ length: 12_000 }, (_, at) => ((at * seed) % 9_973).toString(36)).join(' ');

describe('the digest of a definition', () => {
  it('is that of RFC 8785: order and form of writing are nothing, every value is something', () => {
    const one = digestOf('{"name":"a","n":1.0,"o":{"b":1,"a":2}}');
    expect(one).toMatch(/^v1:[0-9a-f]{64}$/);
    expect(digestOf('{"o":{"a":2,"b":1},\n "n":1e0, "name":"\\u0061"}')).toBe(one);
    const others = [
      '{"name":"a","n":1,"o":{"b":1,"a":2},"_meta":{}}',
      '{"name":"a","n":1,"o":{"b":1,"a":2},"__proto__":{"x":1}}',
      '{"name":"a","n":1,"o":{"b":1,"a":2,"constructor":1}}',
      '{"name":"a","n":1,"o":{"b":1,"a":2},"d":"\\ud800"}',
      '{"name":"a","n":1,"o":{"b":1,"a":2},"d":"\\ud801"}',
      '{"name":"a\\u200b","n":1,"o":{"b":1,"a":2}}',
    ].map(digestOf);
    expect(new Set([one, ...others]).size).toBe(others.length + 1);
    expect(others).not.toContain(undefined);
  });

  it('is none for what cannot be held to anything, however large or deep it is', () => {
    expect(toToolDefinition(parse(nested(60)))).not.toBeNull();
    for (const text of [
      nested(70),
      nested(100_000),
      `{"name":"a","x":[${'0,'.repeat(30_000)}0]}`,
      `{"name":"a","x":"${'x'.repeat(140_000)}"}`,
      '{"name":"a","n":1e999}',
      '{"name":""}',
      '{"name":7}',
      '{"name":"\\ud800"}',
      '{"name":"a\\u0000"}',
      `{"name":"${'n'.repeat(257)}"}`,
    ])
      expect(toToolDefinition(parse(text))).toBeNull();
  });
});

describe('what an admin reads', () => {
  it.each([
    ['plain, naïve and « quoted »', 'plain, naïve and « quoted »'],
    ['日本語の説明', '日本語の説明'],
    ['zero\u200bwidth', 'zero\\u{200B}width'],
    ['\u202eright to left', '\\u{202E}right to left'],
    ['pаypal', 'p\\u{0430}ypal'],
    ['ｆull and 𝐛old', '\\u{FF46}ull and \\u{1D41B}old'],
    ['tag\u{e0041}ged', 'tag\\u{E0041}ged'],
    ['e\u0301', 'e\\u{0301}'],
    ['no\u00a0break', 'no\\u{00A0}break'],
    ['lone \ud800', 'lone \\u{D800}'],
    ['two\nlines', 'two\nlines'],
  ])('shows %j as what it is', (text, readable) => {
    expect(toReadableText(text)).toBe(readable);
  });

  it('is warned of what hides', () => {
    expect(findOddities('Reads a file.\n\tIndented.')).toEqual([]);
    expect(findOddities('Reads\u200b.')).toEqual(['has invisible characters']);
    expect(findOddities('Rеads.')).toEqual(['mixes letters of several scripts']);
    expect(findOddities('日本語')).toEqual([]);
  });

  it('is each field that differs, in the order in which one asks, and nothing else', () => {
    const before = '{"description":"Reads.","inputSchema":{"a":1,"b":2},"name":"read","title":"Read"}';
    const after =
      '{"__proto__":{"x":1},"description":"Reads all.","inputSchema":{"a":1,"b":3},"name":"read"}';
    expect(toDefinitionDifference(before, after)).toEqual([
      { field: 'title', change: 'removed', parts: [{ kind: 'removed', text: 'Read' }], oddities: [] },
      {
        field: 'description',
        change: 'changed',
        parts: [
          { kind: 'same', text: 'Reads' },
          { kind: 'added', text: ' all' },
          { kind: 'same', text: '.' },
        ],
        oddities: [],
      },
      {
        field: 'inputSchema',
        change: 'changed',
        parts: [
          { kind: 'same', text: '{\n  "a": 1,\n' },
          { kind: 'removed', text: '  "b": 2\n' },
          { kind: 'added', text: '  "b": 3\n' },
          { kind: 'same', text: '}' },
        ],
        oddities: [],
      },
      expect.objectContaining({ field: '__proto__', change: 'added' }),
    ]);
    expect(toDefinitionDifference(before, before)).toEqual([]);
    expect(toDefinitionDifference(null, before).map(({ change }) => change)).toEqual(Array(4).fill('added'));
  });

  it('ends for two texts that nobody can compare, and shows both', () => {
    const [one, other] = [words(7_919), words(6_151)];
    const [difference] = toDefinitionDifference(
      JSON.stringify({ description: one }),
      JSON.stringify({ description: other }),
    );
    expect(difference?.parts).toEqual([
      { kind: 'removed', text: one },
      { kind: 'added', text: other },
    ]);
  });
});
