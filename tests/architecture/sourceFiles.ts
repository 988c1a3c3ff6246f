/** The project's own source files, and what they import, for tests that hold the tree to its rules. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';

export const projectRoot = join(import.meta.dirname, '..', '..');

export interface SourceFile {
  /** Relative to the project root. */
  readonly path: string;
  readonly text: string;
}

export interface Import {
  readonly file: string;
  readonly line: number;
  /** As written. */
  readonly specifier: string;
  /** Relative to the project root, with the ending of the source; null for a package or a part of Node. */
  readonly target: string | null;
  readonly isTypeOnly: boolean;
}

/** All `.ts` files below a folder of the project. */
export function readSources(folder: string): SourceFile[] {
  return readdirSync(join(projectRoot, folder), { recursive: true, withFileTypes: true })
    .filter(
      (entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.parentPath.includes('node_modules'),
    )
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return { path: relative(projectRoot, path), text: readFileSync(path, 'utf8') };
    });
}

/** Statements begin a line in formatted code, so that a comment's line (` * import …`) is none; calls stand anywhere. */
const statement = /^(?:import|export)\s+(type\s+)?(?:[\w*{}\s,$]+?\s+from\s+)?'([^']+)'/gm;
const call = /\b(?:import|require)\(\s*'([^']+)'\s*\)/g;

export function findImports({ path, text }: SourceFile): Import[] {
  const at = (index: number): number => text.slice(0, index).split('\n').length;
  const toImport = (index: number, specifier: string, isTypeOnly: boolean): Import => ({
    file: path,
    line: at(index),
    specifier,
    target: specifier.startsWith('.')
      ? normalize(join(dirname(path), specifier)).replace(/\.js$/, '.ts')
      : null,
    isTypeOnly,
  });
  return [
    ...[...text.matchAll(statement)].map((m) => toImport(m.index, m[2] ?? '', m[1] !== undefined)),
    ...[...text.matchAll(call)].map((m) => toImport(m.index, m[1] ?? '', false)),
  ];
}

/** `file:line` of every place where the pattern matches. */
export function findPlaces({ path, text }: SourceFile, pattern: RegExp): string[] {
  return text
    .split('\n')
    .flatMap((line, index) => (isComment(line) || !pattern.test(line) ? [] : [`${path}:${index + 1}`]));
}

const isComment = (line: string): boolean => /^\s*(?:\*|\/\/|\/\*)/.test(line);
