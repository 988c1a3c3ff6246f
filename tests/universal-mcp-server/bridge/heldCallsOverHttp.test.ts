/* eslint-disable typescript/no-explicit-any -- what comes over the wire has the form that each test asserts */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { ElicitResultSchema } from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import { aRemoteService } from '../../support/aRemoteUpstream.js';
import { waitUntil } from '../../support/eventually.js';
import { modern, openEvents, send, startRequest, textOf, type RawAnswer } from '../../support/mcpHttp.js';
import { openUniversalServer, type UniversalServer } from '../../support/universalServer.js';

const declared = {
  'io.modelcontextprotocol/clientCapabilities': { sampling: {}, elicitation: { form: {} }, roots: {} },
};
const call = (url: string, name: string, params: object = {}): Promise<RawAnswer> =>
  send(url, modern('tools/call', { name, arguments: {}, ...params }, { meta: declared }));
const accept = ({ json }: RawAnswer, value: string) => ({
  requestState: json.result.requestState,
  inputResponses: Object.fromEntries(
    Object.keys(json.result.inputRequests).map((key) => [key, { action: 'accept', content: { value } }]),
  ),
});
const questionsOf = ({ json }: RawAnswer): string[] =>
  Object.values<any>(json.result.inputRequests ?? {}).map(({ params }) => params.message);

const form = (message: string) => ({
  message,
  requestedSchema: { type: 'object' as const, properties: { value: { type: 'string' as const } } },
});
const text = (value: unknown) => ({ content: [{ type: 'text' as const, text: JSON.stringify(value) }] });

/** An SDK v1 server that asks during its calls, on the call's own stream (`mine`) or on the session's (`stray`). */
function anAskingServer(gone: string[], running: string[]): McpServer {
  const server = new McpServer({ name: 'asking-far', version: '1' }, { capabilities: { logging: {} } });
  const question = { question: z.string().default('who?') };
  server.registerTool('mine', { inputSchema: question }, async (given, { sendRequest, signal }) => {
    signal.addEventListener('abort', () => gone.push(given.question));
    const params = form(given.question);
    return text(await sendRequest({ method: 'elicitation/create', params }, ElicitResultSchema));
  });
  server.registerTool('stray', { inputSchema: question }, async (given) => {
    try {
      return text(await server.server.elicitInput(form(given.question)));
    } catch (error) {
      return { ...text(String(error)), isError: true };
    }
  });
  server.registerTool('idle', {}, ({ signal }) => {
    running.push('idle');
    return new Promise((resolve) => signal.addEventListener('abort', () => resolve(text(gone.push('idle')))));
  });
  server.registerTool('grow', {}, () => {
    server.registerTool(`grown-${randomUUID()}`, {}, () => text('grown'));
    return text('growing');
  });
  return server;
}

async function openFar(transport: 'streamable-http' | 'sse') {
  const gone: string[] = [];
  const running: string[] = [];
  const sessions = new Map<string, StreamableHTTPServerTransport | SSEServerTransport>();
  const http: HttpServer = createServer((request, response) => {
    const serve = async (): Promise<void> => {
      const id =
        request.headers['mcp-session-id'] ??
        new URL(request.url ?? '', 'http://far').searchParams.get('sessionId');
      const known = sessions.get(String(id));
      if (known instanceof SSEServerTransport) return await known.handlePostMessage(request, response);
      if (known !== undefined) return await known.handleRequest(request, response);
      if (transport === 'sse') {
        if (request.method !== 'GET') return void response.writeHead(405).end();
        const fresh = new SSEServerTransport('/messages', response);
        sessions.set(fresh.sessionId, fresh);
        return await anAskingServer(gone, running).connect(fresh);
      }
      const fresh = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        onsessioninitialized: (sessionId) => void sessions.set(sessionId, fresh),
        onsessionclosed: (sessionId) => void sessions.delete(sessionId),
      });
      await anAskingServer(gone, running).connect(fresh);
      await fresh.handleRequest(request, response);
    };
    serve().catch(() => response.destroy());
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const { port } = http.address() as AddressInfo;
  return {
    gone,
    running,
    url: `http://127.0.0.1:${port}/${transport === 'sse' ? 'sse' : 'mcp'}`,
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      http.close();
      await once(http, 'close');
    },
  };
}

describe.each(['streamable-http', 'sse'] as const)(
  'calls of modern clients that their legacy server over %s asks about',
  (transport) => {
    let far: Awaited<ReturnType<typeof openFar>>;
    let server: UniversalServer;

    beforeAll(async () => {
      far = await openFar(transport);
      server = await openUniversalServer({
        definition: aRemoteService(
          far.url,
          { headers: {}, auth: 'none' },
          {
            kind: transport,
            credentials: { scope: 'none', methods: [{ id: 'none', type: 'none', label: 'None' }] },
          },
        ),
      });
    });
    afterAll(async () => {
      await server[Symbol.asyncDispose]();
      await far[Symbol.asyncDispose]();
    });

    it('U04 U06 U07 the v2 client is asked by an SDK v1 server', async () => {
      const { url } = await server.aUrl();
      const client = new Client(
        { name: 'v2', version: '1' },
        {
          versionNegotiation: { mode: { pin: '2026-07-28' } },
          capabilities: { elicitation: { form: {} } },
        },
      );
      client.setRequestHandler('elicitation/create', ({ params }) => ({
        action: 'accept',
        content: { value: params.message },
      }));
      await client.connect(new StreamableHTTPClientTransport(new URL(url)));
      for (const name of ['mine', 'stray']) {
        const answer = await client.callTool({ name, arguments: { question: 'who is it?' } });
        expect(answer.content).toEqual(text({ action: 'accept', content: { value: 'who is it?' } }).content);
      }
      await client.close();
    });

    it('U07 parallel calls are each asked their own question', async () => {
      const { url } = await server.aUrl();
      const questions = ['one?', 'two?', 'three?'];
      const firsts = await Promise.all(
        questions.map((question) => call(url, 'mine', { arguments: { question } })),
      );
      expect(firsts.map(questionsOf)).toEqual(questions.map((question) => [question]));
      const lasts = await Promise.all(
        firsts.map((first, at) =>
          call(url, 'mine', {
            arguments: { question: questions[at] },
            ...accept(first, questions[at] ?? ''),
          }),
        ),
      );
      expect(lasts.map((last) => JSON.parse(textOf(last)).content.value)).toEqual(questions);
    });

    it('U07 a question that names no call never reaches another call', async () => {
      const { url } = await server.aUrl();
      const held = await call(url, 'mine', { arguments: { question: 'mine?' } });
      const stray = await call(url, 'stray', { arguments: { question: 'stray?' } });
      // Over one pipe the second call has a connection of its own; else nobody could tell whose question it is.
      expect([questionsOf(stray), stray.json.result.isError]).toEqual(
        transport === 'sse' ? [['stray?'], undefined] : [[], true],
      );
      const last = await call(url, 'mine', { arguments: { question: 'mine?' }, ...accept(held, 'me') });
      expect(JSON.parse(textOf(last)).content.value).toBe('me');
    });

    it('U07 a client that leaves while its call runs cancels it upstream; one that was asked may leave', async () => {
      const { url } = await server.aUrl();
      const wish = { arguments: { question: 'leaving?' } };
      const first = await call(url, 'mine', wish);
      const again = await call(url, 'mine', { ...wish, ...accept(first, 'x'), inputResponses: {} });
      expect(questionsOf(again)).toEqual(['leaving?']);
      expect(far.gone).toEqual([]);
      const waiting = startRequest(
        url,
        modern('tools/call', { name: 'idle', arguments: {} }, { meta: declared }),
      );
      waiting.response.catch(() => undefined);
      await waitUntil('the tool runs', () => far.running.includes('idle'));
      waiting.request.destroy();
      await waitUntil('the server heard of it', () => far.gone.includes('idle'));
      expect(far.gone).toEqual(['idle']);
    });

    it('U07 a listen stream hears of changed lists', async () => {
      const { url } = await server.aUrl();
      const stream = await openEvents(
        url,
        modern('subscriptions/listen', { notifications: { toolsListChanged: true } }, { meta: declared }),
      );
      expect(await stream.next()).toMatchObject({ params: { notifications: { toolsListChanged: true } } });
      await call(url, 'grow');
      expect(await stream.next()).toMatchObject({ method: 'notifications/tools/list_changed' });
      stream.close();
    });
  },
);
