/** Schemas and arguments that cost a processor for minutes (R28): the event loop stands for none of them. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { toOpenApiTools } from '../../../../backend/src/catalog/openApiTools.js';
import type { JsonObject } from '../../../../backend/src/mcp-servers/universal-mcp-server/protocol/jsonRpc.js';
import {
  isPlainPattern,
  isPlainSchema,
} from '../../../../backend/src/mcp-servers/universal-mcp-server/upstream/api/checkCost.js';
import { anApiService, aTool, callTool, openApi, termsOf } from '../../../support/anApiService.js';
import { json, startRecordingUpstream, type RecordingUpstream } from '../../../support/recordingUpstream.js';

/** What a check may cost, with the machine under load. */
const standsMsMax = 1_000;

let site: RecordingUpstream;

const aPost = (name: string, properties: JsonObject, more: JsonObject = {}): JsonObject =>
  aTool(name, { method: 'POST', path: `/${name}` }, { inputSchema: { type: 'object', properties, ...more } });

const open = (...tools: JsonObject[]) => openApi(anApiService({ baseUrl: site.origin, tools }));

/** Runs it, with the longest time that the event loop stood meanwhile. */
async function standing<T>(work: () => Promise<T>): Promise<{ stoodMs: number; value: T }> {
  let last = performance.now();
  let stoodMs = 0;
  const look = (): void => {
    const now = performance.now();
    stoodMs = Math.max(stoodMs, now - last);
    last = now;
  };
  const timer = setInterval(look, 5);
  try {
    const value = await work();
    look();
    return { stoodMs, value };
  } finally {
    clearInterval(timer);
  }
}

const ambiguous = '^(a+)+$';
const bait = `${'a'.repeat(60)}!`;
/** So deep, and no object at the end. */
const deep = (depth: number): unknown => (depth === 0 ? 7 : { n: deep(depth - 1) });

describe('R28 a schema that burns CPU', () => {
  beforeAll(async () => {
    site = await startRecordingUpstream();
  });
  afterAll(async () => {
    await site[Symbol.asyncDispose]();
  });
  beforeEach(() => site.clear());

  it.each<[string, JsonObject, JsonObject, JsonObject]>([
    ['a pattern that backtracks', { text: { type: 'string', pattern: ambiguous } }, {}, { text: bait }],
    ['a pattern over names', {}, { patternProperties: { [ambiguous]: { type: 'string' } } }, { [bait]: 'x' }],
    [
      'items that are all compared',
      { items: { type: 'array', uniqueItems: true } },
      {},
      { items: Array.from({ length: 100_000 }, (_, at) => ({ at })) },
    ],
    [
      'references that branch and recurse',
      { tree: { $ref: '#/$defs/node' } },
      {
        $defs: {
          node: {
            type: 'object',
            anyOf: [
              { properties: { n: { $ref: '#/$defs/node' } } },
              { properties: { n: { $ref: '#/$defs/node' } } },
            ],
          },
        },
      },
      { tree: deep(60) },
    ],
    [
      'a pattern without a group on a long text',
      { text: { type: 'string', pattern: 'a*a*b' } },
      {},
      { text: 'a'.repeat(1_000_000) },
    ],
  ])('%s ends in time, nothing is sent, and others go on', async (_what, properties, more, given) => {
    await using opened = await open(aPost('burn', properties, more), aPost('plain', { text: {} }));
    const { stoodMs, value } = await standing(() =>
      callTool(opened.upstream, termsOf('mallory'), 'burn', given).then(
        () => 'answered',
        (error: unknown) => (error as { code: string }).code,
      ),
    );
    expect(value).toBe('RATE_LIMIT_EXCEEDED');
    expect(stoodMs).toBeLessThan(standsMsMax);
    expect(site.requests).toEqual([]);
    // Who did it waits before anything costly is tried again; what is cheap goes on, and so does everybody else.
    const again = await standing(() =>
      Promise.allSettled(
        Array.from({ length: 50 }, () => callTool(opened.upstream, termsOf('mallory'), 'burn', given)),
      ),
    );
    expect(new Set(again.value.map(({ status }) => status))).toEqual(new Set(['rejected']));
    expect(again.stoodMs).toBeLessThan(standsMsMax);
    await callTool(opened.upstream, termsOf('mallory'), 'plain', { text: 'x' });
    await callTool(opened.upstream, termsOf('alice'), 'burn', {});
    expect(site.requests.map(({ target }) => target)).toEqual(['/plain', '/burn']);
  });

  it('still fills defaults and names each problem under a costly schema', async () => {
    const properties = {
      code: { type: 'string', pattern: '^([a-z]+-?)+$' },
      size: { type: 'integer', default: 7 },
    };
    const query = { code: '{code}', size: '{size}' };
    await using opened = await open(
      aTool(
        'checked',
        { method: 'GET', path: '/checked', query },
        { inputSchema: { type: 'object', properties } },
      ),
    );
    await callTool(opened.upstream, termsOf('alice'), 'checked', { code: 'ab-cd' });
    expect(site.requests[0]?.target).toBe('/checked?code=ab-cd&size=7');
    const refused = await callTool(opened.upstream, termsOf('alice'), 'checked', { code: 'AB', size: 'x' });
    expect(refused.isError).toBe(true);
    expect(refused.content[0]?.text).toContain('/code');
    expect(refused.content[0]?.text).toContain('/size');
  });

  it('an answer that takes too long to check has not the declared form', async () => {
    const outputSchema = { type: 'object', properties: { text: { type: 'string', pattern: ambiguous } } };
    await using opened = await open(
      aTool('read', { method: 'GET', path: '/read' }, { outputSchema }),
      aTool('other', { method: 'GET', path: '/other' }),
    );
    site.on('/read', json(200, { text: bait }));
    const { stoodMs, value } = await standing(() => callTool(opened.upstream, termsOf('alice'), 'read'));
    expect(value.isError).toBe(true);
    expect(stoodMs).toBeLessThan(standsMsMax);
    expect((await callTool(opened.upstream, termsOf('alice'), 'other')).isError).not.toBe(true);
  });

  it('a schema that takes too long to compile is refused and not tried again', async () => {
    const anyOf = Array.from({ length: 60_000 }, (_, at) => ({ properties: { [`p${at}`]: { const: at } } }));
    const definition = anApiService({ baseUrl: site.origin, tools: [aPost('vast', {}), aPost('plain', {})] });
    const tools = definition.api?.tools.map((tool) =>
      tool.name === 'vast' ? { ...tool, inputSchema: { type: 'object', anyOf } } : tool,
    );
    await using opened = await openApi({ ...definition, api: { ...definition.api!, tools: tools ?? [] } });
    const call = () => callTool(opened.upstream, termsOf('alice'), 'vast').catch((error: unknown) => error);
    const first = await standing(call);
    expect(first.value).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(first.stoodMs).toBeLessThan(5_000);
    const again = await standing(call);
    expect(again.value).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(again.stoodMs).toBeLessThan(standsMsMax);
  });
});

/** Each schema holds the next one so often. */
const laughs = (depth: number, width: number) => ({
  openapi: '3.1.0',
  info: { title: 'Laughs', version: '1' },
  paths: {
    '/laugh': {
      post: {
        operationId: 'laugh',
        requestBody: { content: { 'application/json': { schema: { $ref: '#/components/schemas/S0' } } } },
        responses: {
          200: {
            description: 'Fine.',
            content: { 'application/json': { schema: { $ref: '#/components/schemas/Answer' } } },
          },
        },
      },
    },
  },
  components: {
    schemas: Object.fromEntries([
      ['Answer', { $ref: '#/components/schemas/Nowhere' }],
      [`S${depth}`, { type: 'string' }],
      ...Array.from({ length: depth }, (_, at) => {
        const next = { $ref: `#/components/schemas/S${at + 1}` };
        const members = Array.from({ length: width }, (__, name) => [`p${name}`, next]);
        return [`S${at}`, { type: 'object', properties: Object.fromEntries(members) }];
      }),
    ]),
  },
});

describe('R28 an OpenAPI document that unfolds without end', () => {
  const choice = {
    include: [{ operationId: 'laugh', tag: null, methods: [], path: null }],
    exclude: [],
    rename: {},
    maxTools: 60,
  };
  it('is refused before it is resolved', async () => {
    const { stoodMs, value } = await standing(() =>
      toOpenApiTools(laughs(20, 8), choice).catch((error: unknown) => error),
    );
    expect(value).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(stoodMs).toBeLessThan(standsMsMax);
  });

  it('becomes a tool of a bounded size where it ends, whatever its answers are', async () => {
    const { tools } = await toOpenApiTools(laughs(9, 3), choice);
    expect(tools.map(({ name }) => name)).toEqual(['laugh']);
    expect(JSON.stringify(tools).length).toBeLessThan(2_000_000);
    expect(JSON.stringify(tools)).toContain('p2');
  });
});

describe('R28 what is surely cheap', () => {
  it.each([
    ['^[a-z0-9-]+$', true],
    ['^\\d{4}-\\d{2}-\\d{2}$', true],
    ['[a-z]+', true],
    ['^(?:yes|no)$', true],
    ['^[()*+]+x*$', true],
    ['^(a+)+$', false],
    ['^([a-z]+-)*x$', false],
    ['(a|a)*b', false],
    ['^(a)\\1$', false],
    ['a*a*b', false],
    ['^a*a*a*b', false],
    ['(?=a*)b', false],
    ['^(.{1,9}){1,9}$', false],
  ])('%s is told from its text: %s', (pattern, isPlain) => {
    expect(isPlainPattern(pattern)).toBe(isPlain);
    expect(isPlainSchema({ properties: { text: { pattern } } })).toBe(isPlain);
  });
});
