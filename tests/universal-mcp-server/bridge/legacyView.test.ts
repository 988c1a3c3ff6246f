/* eslint-disable typescript/no-explicit-any -- results have the form that each test asserts */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type {
  JsonRpcRequest,
  JsonRpcResponse,
} from '../../../backend/src/mcp-servers/universal-mcp-server/protocol/jsonRpc.js';
import { aLegacyView, cannedAnswers, firstText, sentBy } from '../../support/aLegacyView.js';
import { waitUntil } from '../../support/eventually.js';
import { oddState } from '../../support/modernFeatures.js';
import { openModernServer, type ModernServer } from '../../support/modernServer.js';

const refuse = ({ id }: JsonRpcRequest): Promise<JsonRpcResponse> =>
  Promise.resolve({ jsonrpc: '2.0', id, error: { code: -32601, message: 'no stream' } });

describe('a modern upstream as a legacy session sees it', () => {
  let server: ModernServer;
  beforeEach(async () => {
    server = await openModernServer();
  });
  afterEach(async () => {
    await server[Symbol.asyncDispose]();
  });

  it('U07 shows what was discovered as what initialize would have said, without tasks', async () => {
    using session = await aLegacyView(server);
    const { view } = session;
    expect(view.era).toBe('legacy');
    expect(view.server).toEqual({
      protocolVersion: '2025-11-25',
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { listChanged: true, subscribe: true },
        completions: {},
        logging: {},
        extensions: { 'com.example/maps': { zoom: 3 } },
      },
      serverInfo: { name: 'modern-fixture', version: '3.1.4', title: 'A modern server' },
      instructions: 'Ask it anything.',
    });
  });

  it('U07 stamps every request from the session, and takes no envelope from the client', async () => {
    using session = await aLegacyView(server);
    const { send } = session;
    const forged = {
      'io.modelcontextprotocol/protocolVersion': '1900-01-01',
      'io.modelcontextprotocol/clientCapabilities': { sampling: { forged: true } },
    };
    const params = {
      name: 'meta',
      _meta: { ...forged, traceparent: '00-1' },
      requestState: 'forged',
      task: {},
    };
    const response = await send('tools/call', params);
    expect(response.id).toBe('mine');
    const [{ params: sent } = { params: {} }] = sentBy(server, 'meta');
    expect(sent).toEqual({
      name: 'meta',
      _meta: {
        traceparent: '00-1',
        'io.modelcontextprotocol/protocolVersion': '2026-07-28',
        'io.modelcontextprotocol/clientInfo': { name: 'old', version: '1' },
        'io.modelcontextprotocol/clientCapabilities': {
          sampling: {},
          elicitation: { form: {}, url: {} },
          roots: {},
        },
        'io.modelcontextprotocol/logLevel': 'info',
      },
    });
  });

  it('U07 lists, templates, prompts, completion and pages come without what the modern era added', async () => {
    using session = await aLegacyView(server);
    const { send } = session;
    for (const [method, params] of [
      ['tools/list', {}],
      ['prompts/list', {}],
      ['prompts/get', { name: 'greet', arguments: { who: 'Ada' } }],
      ['resources/list', {}],
      ['resources/templates/list', {}],
      ['resources/read', { uri: 'test://one' }],
      [
        'completion/complete',
        { ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'who', value: 'A' } },
      ],
    ] as const) {
      const { result } = await send(method, params);
      expect(Object.keys(result)).not.toEqual(expect.arrayContaining(['resultType']));
      expect(JSON.stringify(result)).not.toMatch(/ttlMs|cacheScope|io\.modelcontextprotocol/);
    }
    const second = await send('resources/list', { cursor: 'second page' });
    expect(second.result).toEqual({ resources: [{ uri: 'test://two', name: 'two' }] });
  });

  it('U07 structured content that is no object is wrapped, as its schema says', async () => {
    using session = await aLegacyView(server);
    const { send, call } = session;
    const { result } = await send('tools/list');
    const schemaOf = (name: string) => result.tools.find((tool: any) => tool.name === name).outputSchema;
    expect(schemaOf('sum')).toMatchObject({ type: 'object', required: ['sum'] });
    expect(schemaOf('list')).toEqual({
      type: 'object',
      properties: {
        result: {
          type: 'array',
          items: { $ref: '#/properties/result/$defs/one' },
          $defs: { one: { type: 'number' } },
        },
      },
      required: ['result'],
    });
    expect(schemaOf('either')).toBeUndefined();
    const contents = [];
    for (const name of ['sum', 'list', 'either', 'nothing'])
      contents.push((await call(name)).result.structuredContent);
    expect(contents).toEqual([{ sum: 3 }, { result: [1, 2] }, { a: 1 }, { result: null }]);
  });

  it('U07 asks the client in its own words, and calls again with its answers', async () => {
    using session = await aLegacyView(server);
    const { call, asked } = session;
    expect(JSON.parse(firstText(await call('askAll'))).answers).toEqual({
      said: cannedAnswers['sampling/createMessage'],
      name: cannedAnswers['elicitation/create'],
      where: cannedAnswers['roots/list'],
    });
    expect(asked.map(({ method }) => method)).toEqual([
      'sampling/createMessage',
      'elicitation/create',
      'roots/list',
    ]);
    expect(new Set(sentBy(server, 'askAll').map(({ id }) => id)).size).toBe(2);
  });

  it('U07 gives the upstream its state back byte by byte, in two rounds of different answers', async () => {
    using session = await aLegacyView(server);
    const { call } = session;
    await call('elicit');
    expect(sentBy(server, 'elicit').map(({ params }) => params['requestState'])).toEqual([
      undefined,
      oddState,
    ]);
    const { state, answers } = JSON.parse(firstText(await call('twice')));
    expect(state).toBe(`two ${JSON.stringify({ first: cannedAnswers['elicitation/create'] })}`);
    expect(answers).toEqual({ second: cannedAnswers['elicitation/create'] });
    expect(firstText(await call('later'))).toBe('again');
  });

  it('U07 a page to open gets the id that its revision wants', async () => {
    using session = await aLegacyView(server);
    const { call, asked } = session;
    await call('open');
    expect(asked[0]).toMatchObject({
      method: 'elicitation/create',
      params: { mode: 'url', url: 'https://example.com/consent', elicitationId: expect.any(String) },
    });
  });

  it('U07 prompts and resources may ask too', async () => {
    using session = await aLegacyView(server);
    const { send } = session;
    const prompt = await send('prompts/get', { name: 'asking' });
    expect(prompt.result.messages[0].content.text).toContain('Ada');
    const read = await send('resources/read', { uri: 'test://asking' });
    expect(read.result.contents[0].text).toContain('file:///home/ada');
  });

  it('ends a call that asks without end, after ten rounds', async () => {
    using session = await aLegacyView(server);
    const { call } = session;
    const { result } = await call('forever');
    expect(result).toMatchObject({ isError: true });
    expect(firstText({ result })).toContain('10 rounds');
    expect(sentBy(server, 'forever')).toHaveLength(11);
  });

  it('U07 a capability that the client lacks: a result that says so, or invalid params', async () => {
    using session = await aLegacyView(server, {});
    const { send, call, asked } = session;
    for (const tool of ['sample', 'elicit', 'open', 'roots', 'demanding']) {
      const response = await call(tool);
      expect([tool, response.result?.isError, firstText(response)]).toEqual([
        tool,
        true,
        expect.stringMatching(/supports (sampling|elicitation|roots)/),
      ]);
    }
    expect((await send('prompts/get', { name: 'demanding' })).error).toEqual({
      code: -32602,
      message: expect.stringContaining('elicitation'),
    });
    expect(asked).toEqual([]);
  });

  it('U07 a question that nobody answers ends the call with a result that says why', async () => {
    using session = await aLegacyView(server);
    const { send } = session;
    const response = await send('tools/call', { name: 'sample' }, refuse);
    expect(response.result.isError).toBe(true);
    expect(firstText(response)).toContain('sampling/createMessage: no stream');
    expect((await send('prompts/get', { name: 'asking' }, refuse)).error.code).toBe(-32603);
  });

  it.each([
    ['mismatch', -32603, 'The server behind did not understand the request.'],
    ['broken', -32603, 'it broke'],
    ['no such tool', -32602, 'Unknown tool: no such tool'],
  ])(
    'U07 the error of %s is told as %d, and never in codes of the modern era',
    async (tool, code, message) => {
      using session = await aLegacyView(server);
      expect((await session.call(tool)).error).toMatchObject({ code, message });
    },
  );

  it('U07 a resource that is not there has the code that its era gives it', async () => {
    using session = await aLegacyView(server);
    const response = await session.send('resources/read', { uri: 'test://none' });
    expect(response.error).toMatchObject({ code: -32002, data: { uri: 'test://none' } });
  });

  it('U07 progress keeps the client’s token and never goes back, over all rounds', async () => {
    using session = await aLegacyView(server);
    const { send, heard } = session;
    await send('tools/call', { name: 'progressAndAsk', _meta: { progressToken: 7 } });
    expect(heard.map(({ params }) => [params?.['progressToken'], params?.['progress']])).toEqual([
      [7, 1],
      [7, 2],
      [7, 3],
      [7, 4],
    ]);
  });

  it('U07 logs of the level that was set', async () => {
    using session = await aLegacyView(server);
    const { send, call, heard } = session;
    await call('log', { level: 'info' });
    expect(heard.map(({ method }) => method)).toEqual(['notifications/message']);
    expect((await send('logging/setLevel', { level: 'error' })).result).toEqual({});
    await call('log', { level: 'info' });
    expect(heard).toHaveLength(1);
    await call('log', { level: 'critical' });
    expect(heard).toHaveLength(2);
    expect((await send('logging/setLevel', { level: 'loud' })).error.code).toBe(-32602);
  });

  it('R23 cancelling reaches the upstream, and ends a question that is open', async () => {
    using session = await aLegacyView(server);
    const { send, asked } = session;
    const [hanging, waiting] = [new AbortController(), new AbortController()];
    const hung = send('tools/call', { name: 'hang' }, undefined, hanging.signal);
    await waitUntil('it runs', () => sentBy(server, 'hang').length === 1);
    hanging.abort(new Error('not wanted'));
    await expect(hung).rejects.toThrow('not wanted');
    await waitUntil('the upstream stopped', () => server.cancelled.length === 1);
    const unanswered = send(
      'tools/call',
      { name: 'sample' },
      (request) => {
        asked.push(request);
        waiting.abort(new Error('not wanted either'));
        return new Promise(() => {});
      },
      waiting.signal,
    );
    await expect(unanswered).rejects.toThrow('not wanted either');
    expect(sentBy(server, 'sample')).toHaveLength(1);
  });

  it('answers a ping itself, and knows no tasks and nothing unheard of', async () => {
    using session = await aLegacyView(server);
    const { send, view } = session;
    const before = server.received.length;
    expect((await send('ping')).result).toEqual({});
    for (const method of [
      'tasks/list',
      'tasks/get',
      'server/discover',
      'subscriptions/listen',
      'x/y',
      'toString',
    ])
      expect((await send(method)).error.code).toBe(-32601);
    view.notify({ jsonrpc: '2.0', method: 'notifications/roots/list_changed' });
    expect(server.received).toHaveLength(before);
  });
});
