import { describe, expect, it } from '@jest/globals';
import {
  canBeAsked,
  findMissingCapability,
  isAnswerTo,
  isAskable,
  isPageRefused,
  toInputRequest,
  toLegacyCapabilities,
  toPageRequests,
} from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/translate/inputRequests.js';
import { toPassedResult } from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/translate/modernToLegacy.js';
import type { JsonObject } from '../../../backend/src/mcp-servers/universal-mcp-server/protocol/jsonRpc.js';

const question = (method: string, params?: JsonObject) =>
  ({ jsonrpc: '2.0', id: 'theirs', method, ...(params && { params }) }) as const;

describe('U07 what a legacy server asks, as a modern client is asked it', () => {
  it.each([
    ['tools/call', true],
    ['prompts/get', true],
    ['resources/read', true],
    ['tools/list', false],
    ['completion/complete', false],
    ['server/discover', false],
    ['constructor', false],
  ])('U07 %s may be answered with questions: %s', (method, expected) => {
    expect(isAskable(method)).toBe(expected);
  });

  it.each<[JsonObject, boolean]>([
    [{}, false],
    [{ extensions: {} }, false],
    [{ sampling: {} }, true],
    [{ elicitation: {} }, true],
    [{ roots: {} }, true],
    [{ roots: 'text' }, false],
  ])('U07 a client of %j can be asked: %s', (capabilities, expected) => {
    expect(canBeAsked(capabilities)).toBe(expected);
  });

  const long = 'x'.repeat(3_000);
  it.each<[string, JsonObject, JsonObject]>([
    ['nothing', {}, {}],
    [
      'what it declares',
      { sampling: { tools: {} }, extensions: { a: {} } },
      { sampling: { tools: {} }, extensions: { a: {} } },
    ],
    ['no tasks', { tasks: { list: {} }, elicitation: {} }, { elicitation: {} }],
    ['no change of roots, since none is told', { roots: { listChanged: true } }, { roots: {} }],
    [
      'what decides something, when there is too much of it',
      { sampling: { tools: {}, long }, elicitation: { url: {} }, roots: {}, experimental: { long } },
      { sampling: { tools: {} }, elicitation: { url: {} }, roots: {} },
    ],
  ])('U07 the upstream is told of %s', (_what, declared, told) => {
    expect(toLegacyCapabilities(declared)).toEqual(told);
  });

  it.each<[string, JsonObject | undefined, JsonObject, JsonObject | null]>([
    ['roots/list', undefined, { roots: {} }, null],
    ['roots/list', undefined, {}, { roots: {} }],
    ['sampling/createMessage', {}, { sampling: {} }, null],
    ['sampling/createMessage', { tools: [] }, { sampling: {} }, { sampling: { tools: {} } }],
    ['sampling/createMessage', { tools: [] }, { sampling: { tools: {} } }, null],
    ['elicitation/create', {}, { elicitation: {} }, null],
    ['elicitation/create', { mode: 'form' }, { elicitation: { form: {} } }, null],
    ['elicitation/create', {}, { elicitation: { url: {} } }, { elicitation: { form: {} } }],
    ['elicitation/create', { mode: 'url' }, { elicitation: {} }, { elicitation: { url: {} } }],
    ['elicitation/create', { mode: 'url' }, { elicitation: { form: {}, url: {} } }, null],
    ['tasks/list', {}, { elicitation: {} }, { tasks: {} }],
  ])('U07 %s of %j from a client of %j lacks %j', (method, params, declared, missing) => {
    expect(findMissingCapability(question(method, params), declared)).toEqual(missing);
  });

  it.each<[string, JsonObject | undefined, JsonObject]>([
    ['nothing but a method', undefined, { method: 'roots/list' }],
    ['parameters as they are', { message: 'm' }, { method: 'roots/list', params: { message: 'm' } }],
    [
      'no id of an elicitation, no task',
      { mode: 'url', url: 'https://example.org', elicitationId: 'e', task: { ttl: 1 } },
      { method: 'roots/list', params: { mode: 'url', url: 'https://example.org' } },
    ],
    [
      'no bookkeeping of the connection',
      { _meta: { progressToken: 1, 'io.modelcontextprotocol/related-task': {}, 'com.example/a': 1 } },
      { method: 'roots/list', params: { _meta: { 'com.example/a': 1 } } },
    ],
    ['no metadata that is empty then', { _meta: { progressToken: 1 } }, { method: 'roots/list', params: {} }],
  ])('U07 a question has %s', (_what, params, expected) => {
    expect(toInputRequest(question('roots/list', params))).toEqual(expected);
  });

  it.each<[string, unknown, boolean]>([
    ['elicitation/create', { action: 'accept', content: {} }, true],
    ['elicitation/create', { action: 'decline' }, true],
    ['elicitation/create', { action: 'cancel' }, true],
    ['elicitation/create', { action: 'perhaps' }, false],
    ['elicitation/create', { method: 'elicitation/create', result: { action: 'accept' } }, false],
    ['sampling/createMessage', { role: 'assistant', content: {}, model: 'm' }, true],
    ['sampling/createMessage', { role: 'assistant', content: [{}], model: 'm' }, true],
    ['sampling/createMessage', { role: 'assistant', content: 'text' }, false],
    ['roots/list', { roots: [] }, true],
    ['roots/list', { roots: {} }, false],
    ['roots/list', null, false],
    ['roots/list', undefined, false],
    ['tasks/list', {}, false],
  ])('U07 to %s the answer %j counts: %s', (method, answer, expected) => {
    expect(isAnswerTo(method, answer)).toBe(expected);
  });

  it.each<[string, unknown, unknown]>([
    [
      'each page once',
      {
        elicitations: [
          { url: 'https://a.example', message: 'a', elicitationId: '1' },
          { url: 'https://b.example' },
        ],
      },
      {
        'page-1': {
          method: 'elicitation/create',
          params: { mode: 'url', message: 'a', url: 'https://a.example' },
        },
        'page-2': {
          method: 'elicitation/create',
          params: {
            mode: 'url',
            message: 'The server wants a page to be opened first.',
            url: 'https://b.example',
          },
        },
      },
    ],
    ['nothing without an address', { elicitations: [{ message: 'a' }, 'text'] }, null],
    ['nothing without pages', {}, null],
    ['nothing of text', 'text', null],
  ])('U07 the pages of a −32042: %s', (_what, data, expected) => {
    expect(toPageRequests(data)).toEqual(expected);
  });

  it.each<[unknown, boolean]>([
    [undefined, false],
    [{}, false],
    [{ 'page-1': { action: 'accept' } }, false],
    [{ 'page-1': { action: 'accept' }, 'page-2': { action: 'cancel' } }, true],
    [{ 'page-1': { action: 'decline' } }, true],
  ])('U07 the answers %j refuse a page: %s', (responses, expected) => {
    expect(isPageRefused(responses)).toBe(expected);
  });

  it.each<[JsonObject, JsonObject]>([
    [{ tools: [] }, { tools: [] }],
    [
      { ttlMs: 5, cacheScope: 'private' },
      { ttlMs: 5, cacheScope: 'private' },
    ],
    [
      { ttlMs: 5, cacheScope: 'public' },
      { ttlMs: 5, cacheScope: 'private' },
    ],
  ])('U07 D10 a modern result %j passes as %j', (result, passed) => {
    expect(toPassedResult(result)).toEqual(passed);
  });
});
