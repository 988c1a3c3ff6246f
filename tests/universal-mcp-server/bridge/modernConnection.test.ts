import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { aStdioService, stdioServersDir } from '../../support/aStdioService.js';
import { modern, openEvents, send, textOf } from '../../support/mcpHttp.js';
import { openUniversalServer, type UniversalServer } from '../../support/universalServer.js';

const aModernService = () =>
  aStdioService('everything', {
    command: process.execPath,
    args: [join(stdioServersDir, 'modernServer.mjs'), '--modern-only'],
    package: null,
    protocol: 'auto',
  });

const capabilities = { elicitation: { form: {} } };
const declared = { 'io.modelcontextprotocol/clientCapabilities': capabilities };
const call = (url: string, name: string, params: object = {}, meta: object = {}) =>
  send(url, modern('tools/call', { name, arguments: {}, ...params }, { meta: { ...declared, ...meta } }));

describe('modern clients onto a modern server over stdio', () => {
  let server: UniversalServer;

  beforeAll(async () => {
    server = await openUniversalServer({ definition: aModernService() });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  it('U06 U07 the v2 client connects, lists, calls and is asked', async () => {
    const { url } = await server.aUrl();
    const client = new Client(
      { name: 'v2', version: '1' },
      { versionNegotiation: { mode: { pin: '2026-07-28' } }, capabilities },
    );
    client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { name: 'Ada' } }));
    await client.connect(new StreamableHTTPClientTransport(new URL(url)));
    expect(client.getServerVersion()).toEqual({ name: 'both-eras', version: '1.0.0' });
    expect(client.getInstructions()).toBe('served in the modern era');
    expect((await client.listTools()).tools.map(({ name }) => name)).toContain('ask');
    const asked = await client.callTool({ name: 'ask', arguments: {} });
    expect(asked.content).toEqual([{ type: 'text', text: 'hello Ada' }]);
    await client.close();
  });

  it('U07 a request passes with its own metadata, and a round with the server’s own state', async () => {
    const { url } = await server.aUrl();
    // Nothing is known of the upstream yet, so this state may be its own, and is.
    const retried = await call(url, 'ask', {
      requestState: 'round 1',
      inputResponses: { name: { action: 'accept', content: { name: 'Byron' } } },
    });
    expect(textOf(retried)).toBe('hello Byron');
    const first = await call(url, 'ask');
    expect(first.json.result).toMatchObject({
      resultType: 'input_required',
      requestState: 'round 1',
      inputRequests: { name: { method: 'elicitation/create', params: { message: 'your name?' } } },
    });
    const told = await call(url, 'meta', {}, { 'io.modelcontextprotocol/logLevel': 'error' });
    expect(JSON.parse(textOf(told))).toEqual({
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 'raw', version: '1' },
      'io.modelcontextprotocol/logLevel': 'error',
      ...declared,
    });
  });

  it('U07 D10 results, progress and logs come as they are, but nothing may be kept for others', async () => {
    const { url } = await server.aUrl();
    const progressed = await call(url, 'progress', {}, { progressToken: 'own' });
    expect(progressed.events.map(({ params, result }) => params?.progressToken ?? result.resultType)).toEqual(
      ['own', 'own', 'complete'],
    );
    const line = { arguments: { line: 'a line' } };
    const logged = await call(url, 'log', line, { 'io.modelcontextprotocol/logLevel': 'info' });
    expect(logged.events[0]).toMatchObject({ method: 'notifications/message', params: { data: 'a line' } });
    expect((await call(url, 'log', line)).events).toEqual([]);
    const listed = await send(url, modern('tools/list', {}, { meta: declared }));
    expect(listed.json.result).toMatchObject({ resultType: 'complete', cacheScope: 'private' });
  });

  it('U07 what the server does not know is its own answer, told by status as well', async () => {
    const { url } = await server.aUrl();
    const unknown = await send(url, modern('tasks/get', { taskId: '1' }, { meta: declared }));
    expect([unknown.status, unknown.json.error.code]).toEqual([404, -32601]);
    expect(textOf(await call(url, 'echo', { arguments: { said: 'ahoy' } }))).toBe('ahoy');
    const again = await send(url, modern('tasks/get', { taskId: '1' }, { meta: declared }));
    expect([again.status, again.json.error.code]).toEqual([404, -32601]);
  });

  it('U07 a listen stream is the server’s own, under the client’s id', async () => {
    const { url } = await server.aUrl();
    const wishes = ['one', 'two'].map(() =>
      modern('subscriptions/listen', { notifications: { toolsListChanged: true } }, { meta: declared }),
    );
    const streams = await Promise.all(wishes.map((wish) => openEvents(url, wish)));
    const ids = wishes.map(({ body }) => (body as { id: string }).id);
    for (const [at, stream] of streams.entries()) {
      expect(await stream.next()).toMatchObject({
        method: 'notifications/subscriptions/acknowledged',
        params: {
          notifications: { toolsListChanged: true },
          _meta: { 'io.modelcontextprotocol/subscriptionId': ids[at] },
        },
      });
    }
    await call(url, 'grow');
    for (const [at, stream] of streams.entries()) {
      expect(await stream.next()).toMatchObject({
        method: 'notifications/tools/list_changed',
        params: { _meta: { 'io.modelcontextprotocol/subscriptionId': ids[at] } },
      });
      stream.close();
    }
    // The other streams and calls of the child go on.
    expect(textOf(await call(url, 'echo', { arguments: { said: 'on' } }))).toBe('on');
  });
});
