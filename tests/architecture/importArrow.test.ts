/** Rooms import to the right only (spec 01 "Rooms"), and some things may be done in some rooms only (spec 02 §1). */
import { describe, expect, it } from '@jest/globals';
import { findImports, findPlaces, readSources, type Import, type SourceFile } from './sourceFiles.js';

const universal = 'mcp-servers/universal-mcp-server';
const ground = ['config', 'errors', 'telemetry'];
const ofUrls = 'addresses';
const keepers = ['stores', 'vault', 'database', ...ground];
const workers = ['jobs', 'events', 'spool', 'egress', 'catalog'];
const inner = ['lifecycle', ...workers, ofUrls, ...keepers];
const behindRoutes = ['middleware', 'services', ...inner];
const behindUpstream = [`${universal}/protocol`, 'services', ...inner];

/** What each room may import besides itself. A room that is not drawn here is a failure too. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  config: ['errors'],
  telemetry: ['config', 'errors'],
  vault: ['errors'],
  [ofUrls]: [],
  catalog: [ofUrls, 'config', 'errors'],
  database: ground,
  stores: ['database', ...ground],
  egress: [ofUrls, ...keepers],
  spool: ['egress', 'catalog', ...keepers],
  events: ['spool', 'egress', 'catalog', ...keepers],
  jobs: ['events', 'spool', 'egress', 'catalog', ...keepers],
  lifecycle: [ofUrls, ...ground],
  supervisor: ground,
  services: inner,
  middleware: ['services', ...inner],
  front: ['services', ...inner],
  'health-monitor': ['supervisor', 'services', ...inner],
  'main-api/routes': behindRoutes,
  'main-api': ['main-api/routes', ...behindRoutes],
  [`${universal}/protocol`]: ['config', 'errors'],
  [`${universal}/upstream`]: behindUpstream,
  [`${universal}/bridge`]: [`${universal}/upstream`, ...behindUpstream],
  [`${universal}/downstream`]: [`${universal}/bridge`, `${universal}/upstream`, ...behindUpstream],
  [universal]: [`${universal}/downstream`, `${universal}/bridge`, `${universal}/upstream`, ...behindUpstream],
};

const rooms = Object.keys(mayImport).sort((one, other) => other.length - one.length);

/** What routes are written against lies beside them, and belongs to their room. */
const routeContract = new Set([
  'backend/src/main-api/defineRoute.ts',
  'backend/src/main-api/openApiDocument.ts',
]);

function roomOf(path: string): string | null {
  if (routeContract.has(path)) return 'main-api/routes';
  const inside = /^backend\/src\/(.+)\/[^/]+$/.exec(path)?.[1];
  if (inside === undefined) return null;
  return rooms.find((room) => inside === room || inside.startsWith(`${room}/`)) ?? null;
}

function breaks({ file, line, specifier, target }: Import): string[] {
  if (target === null) return [];
  const [from, to] = [roomOf(file), roomOf(target)];
  if (from === null) return [`${file}: lies in no room that the arrow draws`];
  if (from === to || (to !== null && mayImport[from]?.includes(to))) return [];
  return [`${file}:${line}: ${from} may not import ${specifier} (${to ?? 'outside of the rooms'})`];
}

const backend = readSources('backend/src');
const scripts = readSources('scripts');
const imports = backend.flatMap(findImports);
const inRoom = (file: SourceFile, ...names: string[]): boolean =>
  names.some((name) => file.path.startsWith(`backend/src/${name}/`));

describe('imports', () => {
  it('point one way, from the programs to the ground', () => {
    expect(imports.length).toBeGreaterThan(50);
    expect(imports.flatMap(breaks)).toEqual([]);
  });

  it('form no circle of files', () => {
    const next = new Map<string, string[]>();
    for (const { file, target, isTypeOnly } of imports) {
      if (target !== null && !isTypeOnly) next.set(file, [...(next.get(file) ?? []), target]);
    }
    const done = new Set<string>();
    const visit = (file: string, path: readonly string[]): string[] => {
      if (path.includes(file)) return [[...path.slice(path.indexOf(file)), file].join(' → ')];
      if (done.has(file)) return [];
      const found = (next.get(file) ?? []).flatMap((target) => visit(target, [...path, file]));
      done.add(file);
      return found;
    };
    expect([...next.keys()].flatMap((file) => visit(file, []))).toEqual([]);
  });

  it('lead to files that exist', () => {
    const known = new Set(backend.map(({ path }) => path));
    expect(imports.filter(({ target }) => target !== null && !known.has(target))).toEqual([]);
  });

  it('name no barrel', () => {
    const barrels = [...backend, ...scripts].filter(
      ({ path, text }) =>
        path.endsWith('/index.ts') ||
        text
          .split('\n')
          .filter((line) => line !== '' && !/^\s*(?:\*|\/\/|\/\*)/.test(line))
          .every((line) => /^export .* from '/.test(line)),
    );
    expect(barrels.map(({ path }) => path)).toEqual([]);
  });
});

describe('what only some rooms may do', () => {
  it('SQL and connections of pg stay in stores and database', () => {
    const outside = backend.filter((file) => !inRoom(file, 'stores', 'database'));
    const sql =
      /['"`]\s*(?:select\s.+\sfrom\s|select \w+\(|insert into |update \w+ set |delete from |listen |notify )|\.query(?:<[^(]*>)?\(\s*['"`]/i;
    expect(outside.flatMap((file) => findPlaces(file, sql))).toEqual([]);
    const values = outside
      .flatMap(findImports)
      .filter(({ specifier, isTypeOnly }) => specifier === 'pg' && !isTypeOnly);
    expect(values.map(({ file, line }) => `${file}:${line}`)).toEqual([]);
  });

  it('ciphers stay in the vault', () => {
    const outside = backend.filter((file) => !inRoom(file, 'vault'));
    expect(
      outside.flatMap((file) => findPlaces(file, /\bcreate(?:Cipher|Decipher)iv\b|\bhkdf(?:Sync)?\b/)),
    ).toEqual([]);
  });

  it('the environment is read in config/env.ts alone', () => {
    const others = [...backend, ...scripts].filter(({ path }) => path !== 'backend/src/config/env.ts');
    expect(others.flatMap((file) => findPlaces(file, /(?<![.\w])process\.env\b/))).toEqual([]);
  });

  it('child processes start where upstreams live, in the embedded database and in the room that drives PM2', () => {
    const outside = backend.filter(
      (file) => !inRoom(file, `${universal}/upstream`, 'database', 'supervisor'),
    );
    const found = outside.flatMap(findImports).filter(({ specifier }) => specifier === 'node:child_process');
    expect(found.map(({ file, line }) => `${file}:${line}`)).toEqual([]);
  });

  it('PM2 is run, never imported (its licence is the AGPL)', () => {
    const found = [...backend, ...scripts]
      .flatMap(findImports)
      .filter(({ specifier }) => /^pm2(?:\/|$)/.test(specifier));
    expect(found.map(({ file, line }) => `${file}:${line}`)).toEqual([]);
  });
});
