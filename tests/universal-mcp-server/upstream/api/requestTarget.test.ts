import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { parseArgumentTemplate } from '../../../../backend/src/catalog/template.js';
import { AppError } from '../../../../backend/src/errors/appError.js';
import {
  compilePath,
  compileQuery,
} from '../../../../backend/src/mcp-servers/universal-mcp-server/upstream/api/requestTarget.js';
import { followPointer, parseJsonPointer } from '../../../../backend/src/catalog/jsonPointer.js';
import { compileRequest } from '../../../../backend/src/mcp-servers/universal-mcp-server/upstream/api/requestPlan.js';
import { parseDestination } from '../../../../backend/src/egress/destination.js';
import {
  anApiService,
  aTool,
  callTool,
  openApi,
  termsOf,
  type OpenedApi,
} from '../../../support/anApiService.js';
import { startRecordingUpstream, type RecordingUpstream } from '../../../support/recordingUpstream.js';

const template = (text: string, ...names: string[]) => parseArgumentTemplate(text, new Set(names));

const parse = (url: string) => parseDestination(url, { allowHosts: null, allowPrivate: true });

describe('paths', () => {
  const toPath = compilePath(template('/v1/files/{key}/raw', 'key'));

  it('E07 keeps every argument in one segment of its own', () => {
    const property = fc.property(fc.string({ unit: 'binary', minLength: 1 }), (key) => {
      let path: string;
      try {
        path = toPath({ key });
      } catch (error) {
        // These two are no segments, however they are written.
        return error instanceof AppError && (key === '.' || key === '..');
      }
      const url = new URL(`https://api.example.com/base${path}`);
      const segments = url.pathname.split('/');
      return (
        /^[!-~]*$/.test(path) &&
        url.pathname === `/base${path}` &&
        url.search === '' &&
        url.hash === '' &&
        segments.length === 6 &&
        segments[5] === 'raw' &&
        decodeURIComponent(segments[4] ?? '') === key.replaceAll(/\p{Surrogate}/gu, '\ufffd')
      );
    });
    expect(fc.check(property, { numRuns: 1_000 })).toMatchObject({ failed: false });
  });

  it.each(['', '.', '..'])('E07 refuses %j, which would be no segment', (key) => {
    expect(() => toPath({ key })).toThrow(AppError);
  });

  it('E07 allows dots beside other text, in parts of a segment too', () => {
    const mixed = compilePath(template('/a/{x}.{y}', 'x', 'y'));
    expect(mixed({ x: '.', y: 'b' })).toBe('/a/..b');
    expect(mixed({ x: 'v', y: 2 })).toBe('/a/v.2');
    expect(() => mixed({ x: '', y: '' })).toThrow(AppError);
  });
});

describe('queries', () => {
  it('gives back exactly what was put in', () => {
    const toQuery = compileQuery({
      'a b': template('{a}', 'a'),
      list: template('{list}', 'list'),
      fixed: template('x', 'a'),
    });
    fc.assert(
      fc.property(fc.string(), fc.array(fc.string()), (a, list) => {
        const query = new URLSearchParams(toQuery({ a, list }));
        expect(query.get('a b')).toBe(a);
        expect(query.getAll('list')).toEqual(list);
        expect(query.getAll('fixed')).toEqual(['x']);
      }),
    );
  });

  it('leaves a parameter out whose arguments are all absent', () => {
    const toQuery = compileQuery({
      q: template('from:{from} to:{to}', 'from', 'to'),
      n: template('{n}', 'n'),
    });
    expect(toQuery({})).toBe('');
    expect(toQuery({ to: 'x', n: null })).toBe('q=from%3A%20to%3Ax');
  });
});

describe('JSON pointers', () => {
  it('finds what RFC 6901 says they lead to', () => {
    const document = { foo: ['bar', 'baz'], '': 0, 'a/b': 1, 'm~n': 8, ' ': 7 };
    const at = (pointer: string): unknown => followPointer(document, parseJsonPointer(pointer));
    expect([at(''), at('/foo/0'), at('/'), at('/a~1b'), at('/m~0n'), at('/ ')]).toEqual([
      document,
      'bar',
      0,
      1,
      8,
      7,
    ]);
    expect([at('/foo/01'), at('/foo/-'), at('/foo/length'), at('/__proto__'), at('/toString')]).toEqual(
      Array.from({ length: 5 }, () => undefined),
    );
  });

  it('reads back every name that it was written with', () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { maxLength: 5 }), fc.jsonValue(), (names, leaf) => {
        const document = names.reduceRight<unknown>(
          (inner, name) => Object.fromEntries([[name, inner]]),
          leaf,
        );
        const text = names.map((name) => `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
        expect(followPointer(document, parseJsonPointer(text))).toEqual(leaf);
      }),
    );
  });
});

describe('requests on the wire', () => {
  let site: RecordingUpstream;
  let opened: OpenedApi;
  beforeAll(async () => {
    site = await startRecordingUpstream();
    opened = await openApi(
      anApiService({
        baseUrl: `${site.origin}/api/v1`,
        tools: [
          aTool(
            'get',
            { method: 'GET', path: '/things/{id}' },
            {
              inputSchema: { type: 'object', required: ['id'], properties: { id: { type: 'string' } } },
            },
          ),
        ],
      }),
    );
  });
  afterAll(async () => {
    await opened[Symbol.asyncDispose]();
    await site[Symbol.asyncDispose]();
  });
  beforeEach(() => site.clear());

  it.each([
    '../x',
    '..\\x',
    '%2e%2e%2f',
    '%2e%2e',
    '?admin=1',
    '#f',
    '//evil.example',
    'a b',
    '@evil',
    ';x',
    '\u0000',
    'x\r\nHost: evil',
  ])('E07 stays at the origin and below the prefix with %j', async (id) => {
    await callTool(opened.upstream, termsOf('alice'), 'get', { id });
    const [request] = site.requests;
    expect(request?.target).toBe(`/api/v1/things/${encodeURIComponent(id)}`);
    expect(request?.headers.host).toBe(`127.0.0.1:${site.port}`);
  });

  it.each(['.', '..', ''])('E07 sends nothing for %j', async (id) => {
    const result = await callTool(opened.upstream, termsOf('alice'), 'get', { id });
    expect(result.isError).toBe(true);
    expect(result.content[0]?.text).toContain('/id must not be empty, "." or ".."');
    expect(site.requests).toHaveLength(0);
  });

  it.each(['Host', 'TE', 'Content-Length', 'Connection', 'Transfer-Encoding', 'X-Forwarded-For'])(
    'E09 does not load a template that sets %s',
    (name) => {
      const api = {
        baseUrl: site.origin,
        headers: { [name]: 'x' },
        tools: [aTool('get', { method: 'GET', path: '/' })],
      };
      expect(() => anApiService(api)).toThrow('/api/headers');
      const tool = anApiService({ ...api, headers: {} }).api?.tools[0];
      expect(tool).toBeDefined();
      expect(() =>
        compileRequest({ baseUrl: site.origin, headers: { [name]: 'x' }, query: {} }, tool!, {
          userAgent: 'x',
          parse,
        }),
      ).toThrow(AppError);
    },
  );
});
