/** What the documents name is there: files, commands, variables, rooms, programs, services (row X05). */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { envNames } from '../../backend/src/config/env.js';
import { projectRoot } from './sourceFiles.js';

const read = (path: string): string => readFileSync(join(projectRoot, path), 'utf8');
const foldersIn = (path: string): string[] =>
  readdirSync(join(projectRoot, path), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);

/** Every page that people read: at the root, below docs, and the database's. */
const pages = [
  ...readdirSync(projectRoot).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(projectRoot, 'docs'), { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
  join('db', 'README.md'),
].map((path) => ({ path, text: read(path) }));

describe('the documents', () => {
  it('X05 are all there, and link to files that are there', () => {
    const expected = ['README.md', 'ARCHITECTURE.md', 'GLOSSARY.md', 'SECURITY.md', 'docs/operations.md'];
    expect(pages.map(({ path }) => path)).toEqual(expect.arrayContaining(expected));
    const broken = pages.flatMap(({ path, text }) =>
      [...text.matchAll(/\]\((?!https?:|mailto:|#)([^)#\s]+)[^)]*\)/g)]
        .map(([, target = '']) => target)
        .filter((target) => !existsSync(join(projectRoot, dirname(path), target)))
        .map((target) => `${path}: ${target}`),
    );
    expect(broken).toEqual([]);
  });

  it('X05 name commands that there are', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = pages.flatMap(({ path, text }) =>
      [...text.matchAll(/(?:^|`|\| )npm (?:run )?([a-z][a-z0-9-]*)/gm)].map(([, name = '']) => ({
        path,
        name,
      })),
    );
    const ofNpm = new Set(['ci', 'install']);
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter(({ name }) => scripts[name] === undefined && !ofNpm.has(name))).toEqual([]);
  });

  it('X05 name variables that are read', () => {
    const known = new Set<string>(envNames);
    const named = ['README.md', 'docs/operations.md'].flatMap((path) =>
      [...read(path).matchAll(/`([A-Z][A-Z0-9]*_[A-Z0-9_]+)(?:=[^`]*)?`/g)].map(([, name = '']) => name),
    );
    const ofPm2 = new Set(['PM2_HOME']);
    expect(named.length).toBeGreaterThan(5);
    expect(named.filter((name) => !known.has(name) && !ofPm2.has(name))).toEqual([]);
  });

  it('X05 ARCHITECTURE has every room and every program', () => {
    const text = read('ARCHITECTURE.md');
    for (const room of foldersIn('backend/src')) {
      expect({ room, isThere: text.includes(`| \`${room}/`) }).toEqual({ room, isThere: true });
    }
    for (const room of ['downstream', 'bridge', 'upstream', 'protocol']) expect(text).toContain(room);
    const drawn = [...text.matchAll(/^\| `([a-z-]+)\/(?:[a-z-]+\/)?` \|/gm)].map(([, room]) => room);
    expect(new Set(drawn)).toEqual(new Set(foldersIn('backend/src')));
  });

  it('X05 README says of every shipped service what it needs', () => {
    const table = read('README.md');
    for (const service of foldersIn('mcp-ports')) expect(table).toContain(`\`${service}\``);
  });

  it('X05 GLOSSARY has one row for a word', () => {
    const words = [...read('GLOSSARY.md').matchAll(/^\| ([^|]+) \|/gm)].flatMap(([, cell = '']) =>
      cell.split(',').map((word) => word.trim().toLowerCase()),
    );
    expect(words.length).toBeGreaterThan(50);
    expect(words.filter((word, at) => words.indexOf(word) !== at)).toEqual([]);
  });
});
