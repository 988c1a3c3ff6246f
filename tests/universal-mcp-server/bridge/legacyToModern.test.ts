import { describe, expect, it } from '@jest/globals';
import { toLegacyOutputSchema } from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/translate/legacyOutputSchema.js';
import {
  missingCapabilityOf,
  parseInputRequired,
  routeOf,
  toEnvelope,
  toLegacyError,
  toLegacyNotification,
  toLegacyQuestion,
  toLegacyResult,
  toLegacyServerTerms,
  toListenFilter,
  toModernRequest,
  toRetry,
  type Question,
} from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/translate/legacyToModern.js';
import { envelope } from '../../../backend/src/mcp-servers/universal-mcp-server/protocol/envelope.js';
import type { JsonObject } from '../../../backend/src/mcp-servers/universal-mcp-server/protocol/jsonRpc.js';

const filledEnvelope = Object.fromEntries(Object.values(envelope).map((name) => [name, 'of the envelope']));
const toRequest = (method: string, params?: JsonObject) =>
  ({ jsonrpc: '2.0', id: 'own-id', method, ...(params && { params }) }) as const;

describe('U07 from the legacy era to the modern era and back', () => {
  it.each([
    ['tools/list', 'passed'],
    ['tools/call', 'passed'],
    ['prompts/list', 'passed'],
    ['prompts/get', 'passed'],
    ['resources/list', 'passed'],
    ['resources/templates/list', 'passed'],
    ['resources/read', 'passed'],
    ['completion/complete', 'passed'],
    ['ping', 'here'],
    ['logging/setLevel', 'here'],
    ['resources/subscribe', 'here'],
    ['resources/unsubscribe', 'here'],
    ['tasks/list', 'unknown'],
    ['tasks/result', 'unknown'],
    ['server/discover', 'unknown'],
    ['subscriptions/listen', 'unknown'],
    ['constructor', 'unknown'],
    ['', 'unknown'],
  ])('U07 %s is %s', (method, route) => {
    expect(routeOf(method)).toBe(route);
  });

  it.each<[string, JsonObject, JsonObject]>([
    ['none', {}, {}],
    ['tasks', { tasks: { list: {} }, sampling: { tools: {} } }, { sampling: { tools: {} } }],
    ['roots that change', { roots: { listChanged: true } }, { roots: {} }],
    ['the tasks extension', { extensions: { 'io.modelcontextprotocol/tasks': {} } }, {}],
    [
      'other extensions',
      {
        extensions: { 'io.modelcontextprotocol/tasks': {}, 'com.example/a': { b: 1 } },
        experimental: { c: {} },
      },
      { extensions: { 'com.example/a': { b: 1 } }, experimental: { c: {} } },
    ],
  ])('U07 capabilities of a client, %s', (_what, capabilities, expected) => {
    const clientInfo = { name: 'old', version: '1' };
    expect(toEnvelope({ protocolVersion: '2024-11-05', capabilities, clientInfo }, 'error')).toEqual({
      [envelope.protocolVersion]: '2026-07-28',
      [envelope.clientInfo]: clientInfo,
      [envelope.clientCapabilities]: expected,
      [envelope.logLevel]: 'error',
    });
  });

  it.each<[string, JsonObject | undefined, JsonObject]>([
    ['no parameters', undefined, { _meta: { stamp: 1 } }],
    [
      'a forged envelope',
      { _meta: { ...filledEnvelope, progressToken: 0 } },
      { _meta: { progressToken: 0, stamp: 1 } },
    ],
    [
      'what only we may say',
      {
        name: 'a',
        inputResponses: { x: {} },
        requestState: 'forged',
        task: { ttl: 1 },
        arguments: { task: 'stays' },
      },
      { name: 'a', arguments: { task: 'stays' }, _meta: { stamp: 1 } },
    ],
    ['a _meta that is no object', { _meta: [1] }, { _meta: { stamp: 1 } }],
  ])('U07 the request, %s', (_what, params, expected) => {
    const request = toRequest('tools/call', params);
    const before = structuredClone(request);
    expect(toModernRequest(request, { stamp: 1 })).toEqual({ ...request, params: expected });
    expect(request).toEqual(before);
  });

  it.each<[string, string, JsonObject, JsonObject]>([
    [
      'what the era added',
      'tools/list',
      { tools: [], resultType: 'complete', ttlMs: 0, cacheScope: 'private', _meta: filledEnvelope },
      { tools: [] },
    ],
    [
      'other _meta',
      'prompts/list',
      { prompts: [], _meta: { ...filledEnvelope, a: 1 } },
      { prompts: [], _meta: { a: 1 } },
    ],
    [
      'an array',
      'tools/call',
      { content: [], structuredContent: [1] },
      { content: [], structuredContent: { result: [1] } },
    ],
    ['null', 'tools/call', { structuredContent: null }, { structuredContent: { result: null } }],
    ['zero', 'tools/call', { structuredContent: 0 }, { structuredContent: { result: 0 } }],
    ['an object', 'tools/call', { structuredContent: { result: 1 } }, { structuredContent: { result: 1 } }],
    ['an array elsewhere', 'prompts/get', { structuredContent: [1] }, { structuredContent: [1] }],
    [
      'odd tools',
      'tools/list',
      {
        tools: [null, 'x', { name: 'a', outputSchema: true }, { name: 'b', outputSchema: { type: 'null' } }],
      },
      {
        tools: [
          null,
          'x',
          { name: 'a', outputSchema: true },
          {
            name: 'b',
            outputSchema: { type: 'object', properties: { result: { type: 'null' } }, required: ['result'] },
          },
        ],
      },
    ],
  ])('U07 the result, %s', (_what, method, result, expected) => {
    const before = structuredClone(result);
    expect(toLegacyResult(method, result)).toEqual(expected);
    expect(result).toEqual(before);
  });

  it.each<[string, JsonObject, JsonObject | null]>([
    ['an object', { type: 'object', $ref: '#/$defs/a' }, { type: 'object', $ref: '#/$defs/a' }],
    ['what may be an object', { type: ['object', 'null'] }, null],
    ['what says nothing of its type', { anyOf: [{ type: 'array' }] }, null],
    ['no type at all', {}, null],
    ['no known type', { type: [] }, null],
    [
      'references to itself, but not those in data or of another document',
      {
        $schema: 'http://json-schema.org/draft-07/schema#',
        type: 'array',
        items: [{ $ref: '#' }, { $ref: '#/definitions/a' }, { $ref: '#anchor' }, { $ref: 'other.json#/a' }],
        default: [{ $ref: '#' }],
        properties: { default: { $dynamicRef: '#/x' }, $ref: { type: 'string' } },
        definitions: { a: { $id: 'https://example.com/a', $ref: '#/b' } },
      },
      {
        $schema: 'http://json-schema.org/draft-07/schema#',
        type: 'object',
        properties: {
          result: {
            type: 'array',
            items: [
              { $ref: '#/properties/result' },
              { $ref: '#/properties/result/definitions/a' },
              { $ref: '#anchor' },
              { $ref: 'other.json#/a' },
            ],
            default: [{ $ref: '#' }],
            properties: { default: { $dynamicRef: '#/properties/result/x' }, $ref: { type: 'string' } },
            definitions: { a: { $id: 'https://example.com/a', $ref: '#/b' } },
          },
        },
        required: ['result'],
      },
    ],
  ])('U07 an output schema of %s', (_what, schema, expected) => {
    expect(toLegacyOutputSchema(schema)).toEqual(expected);
  });

  it.each<[string, JsonObject, ReturnType<typeof parseInputRequired>]>([
    ['nothing asked and no state', {}, null],
    ['a state alone', { requestState: '' }, { questions: [], requestState: '' }],
    ['a state that is no text', { requestState: 1, inputRequests: {} }, null],
    ['questions that are no map', { inputRequests: [] }, null],
    ['a question of another kind', { inputRequests: { a: { method: 'tools/call', params: {} } } }, null],
    ['a question without its params', { inputRequests: { a: { method: 'sampling/createMessage' } } }, null],
    ['params that are no object', { inputRequests: { a: { method: 'roots/list', params: 1 } } }, null],
    [
      'two questions',
      {
        inputRequests: {
          a: { method: 'roots/list' },
          ['__proto__']: { method: 'elicitation/create', params: { x: 1 } },
        },
      },
      {
        questions: [
          { key: 'a', method: 'roots/list', params: {} },
          { key: '__proto__', method: 'elicitation/create', params: { x: 1 } },
        ],
        requestState: undefined,
      },
    ],
  ])('U07 input required: %s', (_what, result, expected) => {
    expect(parseInputRequired(result)).toEqual(expected);
  });

  it.each<[Question['method'], JsonObject, JsonObject, string | null]>([
    ['roots/list', {}, {}, 'roots'],
    ['roots/list', {}, { roots: {} }, null],
    ['sampling/createMessage', {}, { sampling: {} }, null],
    ['sampling/createMessage', { tools: [] }, { sampling: {} }, 'sampling.tools'],
    ['sampling/createMessage', { tools: [] }, { sampling: { tools: {} } }, null],
    ['elicitation/create', {}, {}, 'elicitation'],
    ['elicitation/create', {}, { elicitation: {} }, null],
    ['elicitation/create', { mode: 'form' }, { elicitation: { url: {} } }, 'elicitation.form'],
    ['elicitation/create', { mode: 'url' }, { elicitation: {} }, 'elicitation.url'],
    ['elicitation/create', { mode: 'url' }, { elicitation: { url: {} } }, null],
  ])('U07 to be asked %s %j a client with %j lacks %s', (method, params, capabilities, expected) => {
    expect(missingCapabilityOf({ key: 'k', method, params }, capabilities)).toBe(expected);
  });

  it.each<[string, Question['method'], JsonObject, JsonObject | undefined]>([
    ['2025-11-25', 'elicitation/create', { mode: 'form', a: 1 }, { mode: 'form', a: 1 }],
    ['2025-06-18', 'elicitation/create', { mode: 'form', a: 1 }, { a: 1 }],
    [
      '2025-11-25',
      'elicitation/create',
      { mode: 'url', url: 'u' },
      { mode: 'url', url: 'u', elicitationId: 'new' },
    ],
    [
      '2025-11-25',
      'elicitation/create',
      { mode: 'url', elicitationId: 'its own' },
      { mode: 'url', elicitationId: 'its own' },
    ],
    ['2024-11-05', 'sampling/createMessage', { maxTokens: 1 }, { maxTokens: 1 }],
    ['2024-11-05', 'roots/list', {}, undefined],
  ])('U07 a client of %s is asked %s %j as %j', (revision, method, params, expected) => {
    expect(toLegacyQuestion({ key: 'k', method, params }, revision, () => 'new')).toEqual(
      expected === undefined ? { method } : { method, params: expected },
    );
  });

  it('U07 the next attempt carries this round alone', () => {
    const request = toRequest('tools/call', { name: 'a' });
    expect(toRetry(request, { k: { x: 1 } }, '').params).toEqual({
      name: 'a',
      inputResponses: { k: { x: 1 } },
      requestState: '',
    });
    expect(toRetry(request, {}, 's').params).toEqual({ name: 'a', requestState: 's' });
    expect(toRetry(request, { k: {} }, undefined).params).toEqual({ name: 'a', inputResponses: { k: {} } });
  });

  const lacks = 'The server behind needs a client that supports sampling; this client did not declare that.';
  const required = { requiredCapabilities: { sampling: {} } };
  it.each<[string, number, unknown, JsonObject]>([
    ['tools/call', -32021, required, { result: { content: [{ type: 'text', text: lacks }], isError: true } }],
    ['prompts/get', -32021, required, { error: { code: -32602, message: lacks } }],
    ['resources/read', -32021, required, { error: { code: -32602, message: lacks } }],
    ['tools/call', -32602, { uri: 'u' }, { error: { code: -32602, message: 'm', data: { uri: 'u' } } }],
    ['resources/read', -32602, { uri: 'u' }, { error: { code: -32002, message: 'm', data: { uri: 'u' } } }],
    [
      'resources/read',
      -32602,
      { uri: 'other' },
      { error: { code: -32602, message: 'm', data: { uri: 'other' } } },
    ],
    ['resources/read', -32602, undefined, { error: { code: -32602, message: 'm' } }],
    ['tools/list', -32601, undefined, { error: { code: -32601, message: 'm' } }],
  ])('U07 %s: %d with %j', (method, code, data, expected) => {
    const error = { code, message: 'm', ...(data === undefined ? {} : { data }) };
    expect(toLegacyError(toRequest(method, { uri: 'u' }), error)).toEqual(expected);
  });

  it.each(['tools/call', 'tools/list', 'prompts/get', 'resources/read', 'completion/complete'])(
    'U07 %s never tells codes of the modern era, nor what they say',
    (method) => {
      for (const code of [-32020, -32021, -32022]) {
        const answer = toLegacyError(toRequest(method), { code, message: 'secret', data: { secret: 1 } });
        expect(JSON.stringify(answer)).not.toMatch(/3202[012]|secret/);
      }
    },
  );

  it.each<[string, JsonObject | undefined, JsonObject | null]>([
    ['notifications/subscriptions/acknowledged', { notifications: {} }, null],
    ['notifications/cancelled', { requestId: 1 }, null],
    ['notifications/tools/list_changed', { _meta: filledEnvelope }, {}],
    ['notifications/tools/list_changed', undefined, {}],
    ['notifications/resources/updated', { uri: 'u', _meta: filledEnvelope }, { params: { uri: 'u' } }],
    [
      'notifications/progress',
      { progressToken: 1, _meta: { a: 1 } },
      { params: { progressToken: 1, _meta: { a: 1 } } },
    ],
  ])('U07 %s with %j', (method, params, expected) => {
    const shown = toLegacyNotification({ jsonrpc: '2.0', method, ...(params && { params }) });
    expect(shown).toEqual(expected === null ? null : { jsonrpc: '2.0', method, ...expected });
  });

  it('U07 what a server discovered as is initialized as, tasks hidden', () => {
    const capabilities = { tools: {}, tasks: {}, extensions: { 'io.modelcontextprotocol/tasks': {} } };
    const server = {
      protocolVersion: '2026-07-28',
      serverInfo: { name: 's', version: '1' },
      instructions: 'Do.',
    };
    expect(toLegacyServerTerms({ ...server, capabilities })).toEqual({
      ...server,
      protocolVersion: '2025-11-25',
      capabilities: { tools: {} },
    });
  });

  it.each<[JsonObject, string[], JsonObject | null]>([
    [{}, ['u'], null],
    [{ tools: {}, resources: { subscribe: true } }, [], null],
    [{ tools: { listChanged: true } }, ['u'], { toolsListChanged: true }],
    [
      { prompts: { listChanged: true }, resources: { listChanged: true, subscribe: true } },
      ['u', 'v'],
      { promptsListChanged: true, resourcesListChanged: true, resourceSubscriptions: ['u', 'v'] },
    ],
  ])('U07 of a server with %j and %j is heard %j', (capabilities, uris, expected) => {
    expect(toListenFilter(capabilities, uris)).toEqual(expected);
  });
});
