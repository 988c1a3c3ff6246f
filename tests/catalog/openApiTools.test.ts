import { describe, expect, it } from '@jest/globals';
import { toOpenApiTools } from '../../backend/src/catalog/openApiTools.js';
import type { OpenApiImport, OperationSelector } from '../../backend/src/catalog/serviceDefinition.js';

type Json = Record<string, unknown>;

const ok = { responses: { 200: { description: 'Fine.' } } };
const id = { name: 'id', in: 'path', required: true, schema: { type: 'string' } };

function aDocument(paths: Json, components: Json = {}, openapi = '3.1.0'): Json {
  return { openapi, info: { title: 'Notes', version: '1' }, paths, components };
}

const select = (selector: Partial<OperationSelector>): OperationSelector => ({
  operationId: null,
  tag: null,
  path: null,
  methods: [],
  ...selector,
});

const toTools = (document: unknown, choice: Partial<OpenApiImport> = {}) =>
  toOpenApiTools(document, { include: [], exclude: [], rename: {}, maxTools: 60, ...choice });

const everyMethod = aDocument({
  '/notes': {
    get: { operationId: 'listNotes', tags: ['read'], summary: 'List notes', ...ok },
    post: { operationId: 'createNote', ...ok },
  },
  '/notes/{id}': {
    parameters: [id],
    get: { operationId: 'getNote', description: 'Gets one.', ...ok },
    put: { operationId: 'replaceNote', ...ok },
    delete: { ...ok },
  },
});

const namesOf = async (include: OperationSelector[]) =>
  (await toTools(everyMethod, { include })).tools.map(({ name }) => name);

const takes = (schema: Json, required = true) => ({
  requestBody: { required, content: { 'application/json': { schema } } },
  ...ok,
});

describe('U01 tools from an OpenAPI document', () => {
  it('U01 takes GET operations only, unless a method or an operationId is named', async () => {
    expect(await namesOf([])).toEqual(['listNotes', 'getNote']);
    expect(await namesOf([select({ path: '/notes/**' })])).toEqual(['getNote']);
    expect(await namesOf([select({ tag: 'read' })])).toEqual(['listNotes']);
    expect(await namesOf([select({ methods: ['put', 'delete'] })])).toEqual([
      'replaceNote',
      'delete_notes_id',
    ]);
    expect(await namesOf([select({ operationId: 'createNote' }), select({ path: '/notes' })])).toEqual([
      'listNotes',
      'createNote',
    ]);
  });

  it('U01 excludes, renames and stops at maxTools, saying what it left out', async () => {
    const { tools, skipped } = await toTools(everyMethod, {
      include: [select({ methods: ['get', 'post', 'put'] })],
      exclude: [select({ path: '/notes', methods: ['get'] })],
      rename: { createNote: 'new_note' },
      maxTools: 2,
    });
    expect(tools.map(({ name }) => name)).toEqual(['new_note', 'getNote']);
    expect(skipped).toEqual([{ operation: 'replaceNote', reason: 'there are 2 tools already' }]);
  });

  it('U01 takes the annotations from the method', async () => {
    const { tools } = await toTools(everyMethod, {
      include: [select({ methods: ['get', 'put', 'delete', 'post'] })],
    });
    expect(
      tools.map(({ request, annotations }) => [
        request.method,
        annotations.readOnlyHint,
        annotations.idempotentHint,
      ]),
    ).toEqual([
      ['GET', true, undefined],
      ['POST', false, undefined],
      ['GET', true, undefined],
      ['PUT', false, true],
      ['DELETE', false, true],
    ]);
  });

  it('U01 makes names that MCP clients accept, each once', async () => {
    const operations = ['get/it all!', 'get_it_all', 'sse', 'ü', 'x'.repeat(90), 'x'.repeat(91)];
    const paths = Object.fromEntries(
      operations.map((operationId, n) => [`/p${n}`, { get: { operationId, ...ok } }]),
    );
    const names = (await toTools(aDocument(paths))).tools.map(({ name }) => name);
    expect(names.slice(0, 4)).toEqual(['get_it_all', 'get_it_all_2', 'sse_operation', 'operation']);
    expect(new Set(names).size).toBe(6);
    expect(names.every((name) => /^[A-Za-z0-9_.-]{1,64}$/.test(name))).toBe(true);
  });

  it('U01 makes one inputSchema of parameters and body, and says where each argument goes', async () => {
    const document = aDocument(
      {
        '/notes/{id}': {
          put: {
            operationId: 'put',
            summary: 'Replace',
            description: 'Replaces a note.',
            parameters: [
              id,
              { name: 'id', in: 'query', schema: { type: 'integer' } },
              {
                name: 'tag',
                in: 'query',
                required: true,
                description: 'A tag.',
                schema: { type: 'array', items: { type: 'string' } },
              },
              { name: 'X-Trace', in: 'header', schema: { type: 'string' } },
            ],
            requestBody: {
              required: true,
              content: {
                'application/json; charset=utf-8': { schema: { $ref: '#/components/schemas/Note' } },
              },
            },
            ...ok,
          },
        },
      },
      {
        schemas: {
          Note: {
            type: 'object',
            required: ['text', 'created'],
            properties: {
              text: { type: 'string', example: 'Hello' },
              created: { type: 'string', readOnly: true },
              author: { $ref: '#/components/schemas/Author' },
            },
          },
          Author: { type: 'object', properties: { name: { type: 'string' }, 'x-note': { type: 'string' } } },
        },
      },
    );
    const [tool] = (await toTools(document, { include: [select({ methods: ['put'] })] })).tools;
    expect(tool).toMatchObject({ title: 'Replace', description: 'Replace\n\nReplaces a note.' });
    expect(tool?.inputSchema).toEqual({
      type: 'object',
      required: ['id', 'tag', 'text'],
      additionalProperties: false,
      properties: {
        id: { type: 'string' },
        query_id: { type: 'integer' },
        tag: { type: 'array', items: { type: 'string' }, description: 'A tag.' },
        text: { type: 'string' },
        author: { type: 'object', properties: { name: { type: 'string' }, 'x-note': { type: 'string' } } },
      },
    });
    expect(tool?.request).toMatchObject({
      bodyFrom: 'rest',
      path: { parts: [{ literal: '/notes/' }, { placeholder: 'id' }] },
      query: { id: { parts: [{ placeholder: 'query_id' }] }, tag: { parts: [{ placeholder: 'tag' }] } },
    });
  });

  it('U01 keeps a body that is no plain object in one argument', async () => {
    const document = aDocument({
      '/list': { post: { operationId: 'list', ...takes({ type: 'array', items: { type: 'string' } }) } },
      '/either': {
        post: { operationId: 'either', ...takes({ oneOf: [{ type: 'string' }, { type: 'object' }] }) },
      },
      '/maybe': {
        post: { operationId: 'maybe', ...takes({ type: 'object', properties: { a: {} } }, false) },
      },
    });
    const { tools } = await toTools(document, { include: [select({ methods: ['post'] })] });
    expect(
      tools.map(({ request, inputSchema }) => [request.body, request.bodyFrom, inputSchema.required]),
    ).toEqual([
      [{ kind: 'argument', name: 'body' }, null, ['body']],
      [{ kind: 'argument', name: 'body' }, null, ['body']],
      [{ kind: 'argument', name: 'body' }, null, undefined],
    ]);
  });

  it('U01 leaves out what it cannot send, with the reason', async () => {
    const multipart = { requestBody: { required: true, content: { 'multipart/form-data': { schema: {} } } } };
    const header = {
      parameters: [{ name: 'X-Must', in: 'header', required: true, schema: { type: 'string' } }],
    };
    const document = aDocument({
      '/file': { post: { operationId: 'upload', ...multipart, ...ok } },
      '/head': { get: { operationId: 'withHeader', ...header, ...ok } },
    });
    const { tools, skipped } = await toTools(document, { include: [select({ methods: ['post', 'get'] })] });
    expect(tools).toEqual([]);
    expect(skipped).toEqual([
      { operation: 'upload', reason: 'takes a body that is neither JSON nor a form' },
      { operation: 'withHeader', reason: 'needs the header parameter X-Must' },
    ]);
  });

  it('U01 rewrites what only OpenAPI 3.0 means', async () => {
    const schema = {
      type: 'integer',
      nullable: true,
      minimum: 1,
      exclusiveMinimum: true,
      maximum: 9,
      exclusiveMaximum: false,
      enum: [2, 3],
    };
    const document = aDocument(
      { '/a': { get: { operationId: 'a', parameters: [{ name: 'n', in: 'query', schema }], ...ok } } },
      {},
      '3.0.3',
    );
    const [tool] = (await toTools(document)).tools;
    expect(tool?.inputSchema.properties).toEqual({
      n: { type: ['integer', 'null'], exclusiveMinimum: 1, maximum: 9, enum: [2, 3, null] },
    });
  });

  it('U01 lets a schema that contains itself pass, and stays finite', async () => {
    const tree = {
      type: 'object',
      properties: { name: { type: 'string' }, child: { $ref: '#/components/schemas/Tree' } },
    };
    const requestBody = {
      required: true,
      content: { 'application/json': { schema: { $ref: '#/components/schemas/Tree' } } },
    };
    const document = aDocument(
      { '/t': { post: { operationId: 'plant', requestBody, ...ok } } },
      { schemas: { Tree: tree } },
    );
    const [tool] = (await toTools(document, { include: [select({ methods: ['post'] })] })).tools;
    expect(JSON.stringify(tool?.inputSchema)).not.toContain('$ref');
    expect(tool?.inputSchema.properties).toEqual({
      name: { type: 'string' },
      child: {},
    });
  });

  it.each([
    ['no object', 'text'],
    ['another version', { swagger: '2.0' }],
    ['no valid document', aDocument({ '/a/{id}': { get: { operationId: 'a', ...ok } } })],
    [
      'a reference to nowhere',
      aDocument({ '/a': { get: { parameters: [{ $ref: '#/components/parameters/Gone' }], ...ok } } }),
    ],
    [
      'a reference to a file',
      aDocument({ '/a': { get: { parameters: [{ $ref: 'file:///etc/passwd' }], ...ok } } }),
    ],
    ['a reference to the network', aDocument({ '/a': { $ref: 'http://127.0.0.1:1/x.json' } })],
  ])('U01 refuses %s', async (_what, document) => {
    await expect(toTools(document)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  it('U01 does not change the document that it is given', async () => {
    const before = structuredClone(everyMethod);
    await toTools(everyMethod);
    expect(everyMethod).toEqual(before);
  });
});
