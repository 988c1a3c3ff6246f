import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { ask, callTool, openApi, termsOf, type OpenedApi } from '../../../support/anApiService.js';
import { startRecordingUpstream, type RecordingUpstream } from '../../../support/recordingUpstream.js';
import { aNotesService } from './notesService.js';

describe('tools of an api service', () => {
  let site: RecordingUpstream;
  let opened: OpenedApi;
  const alice = termsOf('alice');

  beforeAll(async () => {
    site = await startRecordingUpstream();
    opened = await openApi(aNotesService(site.origin));
  });
  afterAll(async () => {
    await opened[Symbol.asyncDispose]();
    await site[Symbol.asyncDispose]();
  });
  beforeEach(() => site.clear());

  describe('U01 declared tools', () => {
    it('U01 says what it is, lists its tools and answers ping', async () => {
      const connection = await opened.upstream.connect(alice, new AbortController().signal);
      expect(connection.server).toMatchObject({
        capabilities: { tools: {} },
        serverInfo: { name: 'notes', title: 'Notes' },
      });
      const listed = (await ask(opened.upstream, alice, 'tools/list')) as {
        result: { tools: { name: string }[] };
      };
      expect(listed.result.tools).toHaveLength(10);
      expect(listed.result.tools[0]).toMatchObject({
        name: 'get_file',
        title: 'Get file',
        annotations: { readOnlyHint: true },
        inputSchema: { type: 'object', required: ['file_key'] },
      });
      expect(await ask(opened.upstream, alice, 'ping')).toMatchObject({ result: {} });
      expect(await ask(opened.upstream, alice, 'prompts/list')).toMatchObject({ error: { code: -32601 } });
    });

    it('U01 sends the request that the templates describe, with the caller’s own credential', async () => {
      const result = await callTool(opened.upstream, alice, 'get_file', {
        file_key: 'k 1',
        ids: ['a', 'b/c'],
      });
      expect(result.isError).toBeUndefined();
      const [request] = site.requests;
      expect(request?.method).toBe('GET');
      expect(request?.target).toBe(
        '/base/v1/files/k%201/raw?tenant=blue%20%26%20green&depth=2&ids=a&ids=b%2Fc',
      );
      expect(request?.headers).toMatchObject({
        authorization: 'Bearer key-of-alice',
        'x-fixed': 'always',
        accept: 'application/json',
      });
      expect(request?.headers).not.toHaveProperty('x-region');
      expect(JSON.parse(result.content[0]?.text ?? '')).toMatchObject({ method: 'GET' });
    });

    it('D07 sends nothing but what the definition names', async () => {
      await callTool(opened.upstream, termsOf('bob', 'key-of-bob', {}, { region: 'eu' }), 'get_file', {
        file_key: 'k',
      });
      expect(Object.keys(site.requests[0]?.headers ?? {}).sort()).toEqual([
        'accept',
        'accept-encoding',
        'authorization',
        'connection',
        'host',
        'user-agent',
        'x-fixed',
        'x-region',
      ]);
      expect(site.requests[0]?.target).toContain('key=eu');
    });

    it('U01 puts the rest of the arguments into the body', async () => {
      await callTool(opened.upstream, alice, 'post_note', { id: '7', text: 'hi', silent: true, tags: ['x'] });
      expect(site.requests[0]).toMatchObject({ method: 'POST', body: '{"text":"hi","tags":["x"]}' });
      expect(site.requests[0]?.target).toBe('/base/notes/7?tenant=blue%20%26%20green&silent=true');
      expect(site.requests[0]?.headers['content-type']).toBe('application/json');
      await callTool(opened.upstream, alice, 'put_all', { a: 1, b: { c: [] } });
      expect(site.requests[1]?.body).toBe('{"a":1,"b":{"c":[]}}');
    });

    it('U01 fills a body template, leaving out what is absent', async () => {
      await callTool(opened.upstream, termsOf('bob', 'k', {}, { region: 'e"u' }), 'templated', {
        text: '{{token}} $x',
      });
      expect(JSON.parse(site.requests[0]?.body ?? '')).toEqual({
        kind: 'note',
        nested: { text: '{{token}} $x' },
        list: [1],
        key: 'e"u',
      });
      expect(site.requests[0]?.headers).toMatchObject({
        'x-fixed': 'here',
        'content-type': 'application/vnd.notes+json',
      });
    });

    it('U01 sends forms', async () => {
      await callTool(opened.upstream, alice, 'form', {
        a: 'x y&z',
        n: 3,
        list: ['1', '2'],
        nothing: null,
        deep: { b: 1 },
      });
      expect(site.requests[0]?.headers['content-type']).toBe('application/x-www-form-urlencoded');
      expect(site.requests[0]?.body).toBe('a=x+y%26z&n=3&list=1&list=2&deep=%7B%22b%22%3A1%7D');
    });
  });

  describe('U01 arguments', () => {
    it('U01 names what is wrong and what is expected, and sends nothing', async () => {
      const wrong = await callTool(opened.upstream, alice, 'get_file', { depth: 'deep', extra: 1 });
      expect(wrong.isError).toBe(true);
      const text = wrong.content[0]?.text ?? '';
      expect(text).toContain('/file_key is required (expected: {"type":"string"})');
      expect(text).toContain('/depth must be integer (expected: {"type":"integer","minimum":1})');
      expect(text).toContain('/extra is not known; known are file_key, depth, ids, word');
      expect(
        (await callTool(opened.upstream, alice, 'get_file', { file_key: 'k', word: 'no mail' })).isError,
      ).toBe(true);
      expect(site.requests).toHaveLength(0);
    });

    it('U01 answers an unknown tool with −32602, as MCP "Tools" has it', async () => {
      await expect(callTool(opened.upstream, alice, 'get_nothing')).rejects.toThrow(
        '-32602 Unknown tool: get_nothing',
      );
      await expect(callTool(opened.upstream, alice, '__proto__')).rejects.toThrow('-32602');
    });

    it('U01 does not change the arguments that it was given', async () => {
      const given = { file_key: 'k' };
      await callTool(opened.upstream, alice, 'get_file', given);
      expect(given).toEqual({ file_key: 'k' });
    });
  });
});
