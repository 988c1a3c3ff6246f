/** Files stay small and lie where their name says (spec 02 §2, §4, §13). */
import { describe, expect, it } from '@jest/globals';
import { readSources } from './sourceFiles.js';

const linesMax = { source: 300, test: 400 };
const own = ['backend/src', 'scripts', 'tests', 'bench'].flatMap(readSources);

const maxOf = (path: string) => (path.startsWith('tests/') ? linesMax.test : linesMax.source);

describe('source files', () => {
  it(`have at most ${linesMax.source} lines, tests ${linesMax.test}`, () => {
    const long = own.map(({ path, text }) => ({ path, lines: text.trimEnd().split('\n').length }));
    expect(long.filter(({ path, lines }) => lines > maxOf(path))).toEqual([]);
  });

  it('live in no folder or file for leftovers', () => {
    const leftover = /(?:^|\/)(?:utils?|helpers?|common|misc|shared)(?:\/|\.ts$)/i;
    expect(own.map(({ path }) => path).filter((path) => leftover.test(path))).toEqual([]);
  });

  it('have no default export', () => {
    const places = own.flatMap(({ path, text }) =>
      text
        .split('\n')
        .flatMap((line, index) => (/^export default\b/.test(line) ? [`${path}:${index + 1}`] : [])),
    );
    expect(places).toEqual([]);
  });

  it('promise nothing for later', () => {
    const later = /\b(?:TODO|FIXME|XXX|HACK)\b|not (?:yet )?implemented/i;
    const places = own
      .filter(({ path }) => path !== 'tests/architecture/fileShape.test.ts')
      .flatMap(({ path, text }) =>
        text.split('\n').flatMap((line, index) => (later.test(line) ? [`${path}:${index + 1}`] : [])),
      );
    expect(places).toEqual([]);
  });
});
