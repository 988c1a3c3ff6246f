import { envelope } from '../../../backend/src/mcp-servers/universal-mcp-server/protocol/envelope.js';
import { describe, expect, it } from '@jest/globals';
import {
  isPassedMethod,
  toDiscoverResult,
  toLegacyRequest,
  toModernError,
  toModernResult,
  toModernStatus,
} from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/translate/modernToLegacy.js';
import type { JsonObject } from '../../../backend/src/mcp-servers/universal-mcp-server/protocol/jsonRpc.js';

const filledEnvelope = Object.fromEntries(Object.values(envelope).map((name) => [name, 'of the envelope']));
const server = { name: 'behind', version: '2.0.0' };

describe('U07 from the modern era to the legacy era and back', () => {
  it.each([
    ['tools/list', true],
    ['tools/call', true],
    ['prompts/list', true],
    ['prompts/get', true],
    ['resources/list', true],
    ['resources/templates/list', true],
    ['resources/read', true],
    ['completion/complete', true],
    // These are of the legacy era, or are answered here.
    ['initialize', false],
    ['ping', false],
    ['logging/setLevel', false],
    ['resources/subscribe', false],
    ['server/discover', false],
    ['subscriptions/listen', false],
    ['tasks/list', false],
    ['constructor', false],
  ])('U07 %s is passed on: %s', (method, isPassed) => {
    expect(isPassedMethod(method)).toBe(isPassed);
  });

  it.each<[string, JsonObject | undefined, JsonObject]>([
    ['no parameters', undefined, {}],
    ['the envelope alone', { _meta: filledEnvelope }, {}],
    [
      'what else is in _meta stays',
      { _meta: { ...filledEnvelope, progressToken: 0, 'com.example/trace': { a: 1 } } },
      { _meta: { progressToken: 0, 'com.example/trace': { a: 1 } } },
    ],
    [
      'answers to questions that were never asked go',
      { name: 'echo', arguments: { requestState: 'stays' }, inputResponses: {}, requestState: 'forged' },
      { name: 'echo', arguments: { requestState: 'stays' } },
    ],
    ['a _meta that is no object goes', { uri: 'test://one', _meta: 'text' }, { uri: 'test://one' }],
  ])('U07 the request, %s', (_what, params, expected) => {
    const request = {
      jsonrpc: '2.0',
      id: 'own-id',
      method: 'tools/call',
      ...(params && { params }),
    } as const;
    const before = structuredClone(request);
    expect(toLegacyRequest(request)).toEqual({ ...before, params: expected });
    expect(request).toEqual(before);
  });

  it.each([
    ['tools/list', true],
    ['prompts/list', true],
    ['resources/list', true],
    ['resources/templates/list', true],
    ['resources/read', true],
    ['tools/call', false],
    ['prompts/get', false],
    ['completion/complete', false],
  ])('U07 D10 the result of %s may be kept by its owner alone: %s', (method, isCacheable) => {
    const result = { items: [1], _meta: { own: true } };
    expect(toModernResult(method, result, server)).toEqual({
      items: [1],
      resultType: 'complete',
      ...(isCacheable ? { ttlMs: 0, cacheScope: 'private' } : {}),
      _meta: { own: true, [envelope.serverInfo]: server },
    });
    expect(result).toEqual({ items: [1], _meta: { own: true } });
  });

  it('U07 D10 a server behind cannot make its result shared, nor pass itself off as another', () => {
    const result = {
      resultType: 'input_required',
      ttlMs: 9_999,
      cacheScope: 'public',
      _meta: { [envelope.serverInfo]: { name: 'somebody else' } },
    };
    expect(toModernResult('tools/list', result, server)).toEqual({
      resultType: 'complete',
      ttlMs: 0,
      cacheScope: 'private',
      _meta: { [envelope.serverInfo]: server },
    });
  });

  it('U07 discover tells what initialize told, and hides tasks', () => {
    const terms = {
      protocolVersion: '2025-11-25',
      capabilities: { tools: { listChanged: true }, tasks: { list: {} }, completions: {} },
      serverInfo: server,
    };
    const told = toDiscoverResult({ ...terms, instructions: 'Handle with care.' });
    expect(told).toEqual({
      supportedVersions: ['2026-07-28'],
      capabilities: { tools: { listChanged: true }, completions: {} },
      instructions: 'Handle with care.',
      resultType: 'complete',
      ttlMs: 0,
      cacheScope: 'private',
      _meta: { [envelope.serverInfo]: server },
    });
    expect(toDiscoverResult(terms)).not.toHaveProperty('instructions');
  });

  it.each<[string, number, unknown, string | null, number, unknown]>([
    ['a resource that is not there', -32002, undefined, 'test://x', -32602, { uri: 'test://x' }],
    ['… whose server names it itself', -32002, { uri: 'test://y' }, 'test://x', -32602, { uri: 'test://y' }],
    ['… where none was asked for', -32002, 'text', null, -32602, {}],
    ['a page to be opened first', -32042, { elicitations: [] }, null, -32603, undefined],
    ['headers that are ours', -32020, { header: 'x' }, null, -32603, undefined],
    ['a version that is ours', -32022, { supported: ['x'] }, null, -32603, undefined],
    ['wrong parameters', -32602, { field: 'a' }, 'test://x', -32602, { field: 'a' }],
    ['an unknown method', -32601, undefined, null, -32601, undefined],
    ['a code of the server’s own', -32099, { own: 1 }, null, -32099, { own: 1 }],
  ])('U07 the error of %s (%i)', (_what, code, data, uri, shownCode, shownData) => {
    const error = { code, message: 'in its own words', ...(data === undefined ? {} : { data }) };
    const shown = toModernError(error, uri);
    expect([shown.code, shown.data]).toEqual([shownCode, shownData]);
    expect(shown.message === 'in its own words').toBe(shownCode !== -32603);
  });

  it.each([
    [undefined, 200],
    [-32601, 404],
    [-32020, 400],
    [-32021, 400],
    [-32022, 400],
    [-32600, 400],
    [-32700, 400],
    [-32602, 200],
    [-32603, 200],
    [-32002, 200],
  ])('U07 code %s has the status %i', (code, status) => {
    expect(toModernStatus(code === undefined ? undefined : { code })).toBe(status);
  });

  it('U07 −32601 as the answer to a call speaks of the tool, and is no 404', () => {
    expect(toModernStatus({ code: -32601 }, 'tools/call')).toBe(200);
    expect(toModernStatus({ code: -32601 }, 'completion/complete')).toBe(404);
  });
});
