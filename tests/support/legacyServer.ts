/**
 * An MCP server of the legacy era on a loopback port, by Streamable HTTP or by HTTP+SSE, built with the SDK's own transports.
 * It keeps each HTTP request as it came, so that tests can say what reached it, and loses its sessions on demand.
 *
 *   await using upstream = await openLegacyServer();
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js';
import {
  StreamableHTTPServerTransport,
  type EventStore,
} from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import {
  CallToolRequestSchema,
  ElicitResultSchema,
  ListToolsRequestSchema,
  SetLevelRequestSchema,
  SubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';

export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** The MCP method of the body, or null. */
  readonly mcp: string | null;
  readonly text: string;
}

export interface LegacyServerWish {
  readonly transport?: 'streamable-http' | 'sse';
  /** Answers by JSON bodies rather than streams. */
  readonly json?: boolean;
  /** Keeps events, so that streams can be taken up again. */
  readonly resumable?: boolean;
  readonly stateless?: boolean;
  /** Asked before each request; true when it has answered itself. */
  readonly intercept?: (request: ReceivedRequest, response: ServerResponse) => boolean;
}

export interface LegacyServer extends AsyncDisposable {
  readonly url: string;
  readonly received: readonly ReceivedRequest[];
  readonly sessions: ReadonlyMap<string, Server>;
  /** Names of tools whose calls were cancelled while they ran. */
  readonly cancelled: readonly string[];
  /** Levels and resources that were settled, in their order. */
  readonly settled: readonly string[];
  /** Forgets every session, as a restart behind a proxy would; connections stay. */
  loseSessions(): void;
  /** Breaks every connection; sessions stay. */
  breakConnections(): void;
  of(mcp: string): ReceivedRequest[];
}

export async function openLegacyServer(wish: LegacyServerWish = {}): Promise<LegacyServer> {
  const { transport = 'streamable-http' } = wish;
  const received: ReceivedRequest[] = [];
  const cancelled: string[] = [];
  const settled: string[] = [];
  const sessions = new Map<string, Server>();
  const transports = new Map<string, StreamableHTTPServerTransport | SSEServerTransport>();

  const serveStreamable = async (
    request: IncomingMessage,
    response: ServerResponse,
    body: unknown,
  ): Promise<void> => {
    const id = request.headers['mcp-session-id'];
    const known = typeof id === 'string' ? transports.get(id) : undefined;
    if (known instanceof StreamableHTTPServerTransport) return known.handleRequest(request, response, body);
    if (id !== undefined) {
      const error = { code: -32001, message: 'Session not found' };
      response.writeHead(404, { 'content-type': 'application/json' });
      return void response.end(JSON.stringify({ jsonrpc: '2.0', error, id: null }));
    }
    const server = createFeatures(cancelled, settled);
    const fresh = new StreamableHTTPServerTransport({
      ...(wish.stateless === true ? {} : { sessionIdGenerator: () => randomUUID() }),
      enableJsonResponse: wish.json ?? false,
      ...(wish.resumable === true ? { eventStore: anEventStore() } : {}),
      onsessioninitialized: (sessionId) => {
        sessions.set(sessionId, server);
        transports.set(sessionId, fresh);
      },
      onsessionclosed: (sessionId) => {
        sessions.delete(sessionId);
        transports.delete(sessionId);
      },
    });
    await server.connect(fresh);
    await fresh.handleRequest(request, response, body);
  };
  const serveSse = async (
    request: IncomingMessage,
    response: ServerResponse,
    body: unknown,
  ): Promise<void> => {
    if (request.method === 'GET') {
      const server = createFeatures(cancelled, settled);
      const fresh = new SSEServerTransport('/messages', response);
      sessions.set(fresh.sessionId, server);
      transports.set(fresh.sessionId, fresh);
      response.on('close', () => {
        sessions.delete(fresh.sessionId);
        transports.delete(fresh.sessionId);
      });
      return server.connect(fresh);
    }
    const id = new URL(request.url ?? '', 'http://upstream').searchParams.get('sessionId') ?? '';
    const known = transports.get(id);
    if (known instanceof SSEServerTransport) return known.handlePostMessage(request, response, body);
    response.writeHead(request.url === '/sse' ? 405 : 404).end();
  };

  const http = createServer((request, response) => {
    const take = async (): Promise<void> => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const text = Buffer.concat(chunks).toString('utf8');
      const body: unknown = text === '' ? undefined : JSON.parse(text);
      const one: ReceivedRequest = {
        method: request.method ?? '',
        path: request.url ?? '',
        headers: request.headers,
        mcp: typeof body === 'object' && body !== null && 'method' in body ? String(body.method) : null,
        text,
      };
      received.push(one);
      if (wish.intercept?.(one, response) === true) return;
      await (transport === 'sse' ? serveSse : serveStreamable)(request, response, body);
    };
    // A client that leaves in the middle of its body is not recorded.
    take().catch(() => response.destroy());
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const { port } = http.address() as AddressInfo;

  return {
    url: `http://127.0.0.1:${port}/${transport === 'sse' ? 'sse' : 'mcp'}`,
    received,
    sessions,
    cancelled,
    settled,
    loseSessions() {
      sessions.clear();
      transports.clear();
    },
    breakConnections: () => http.closeAllConnections(),
    of: (mcp) => received.filter((one) => one.mcp === mcp),
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      http.close();
      await once(http, 'close');
    },
  };
}

/** The SDK's example store cannot tell the stream of its own apart. */
function anEventStore(): EventStore {
  const events: { stream: string; message: Parameters<EventStore['storeEvent']>[1] }[] = [];
  return {
    storeEvent: (stream, message) => Promise.resolve(String(events.push({ stream, message }))),
    getStreamIdForEventId: (id) => Promise.resolve(events[Number(id) - 1]?.stream),
    async replayEventsAfter(id, { send }) {
      const stream = events[Number(id) - 1]?.stream ?? '';
      for (const [at, event] of events.entries())
        if (at >= Number(id) && event.stream === stream) await send(String(at + 1), event.message);
      return stream;
    },
  };
}

const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] });

function createFeatures(cancelled: string[], settled: string[]): Server {
  const server = new Server(
    { name: 'legacy-fixture', version: '1.0.0' },
    {
      capabilities: { tools: { listChanged: true }, logging: {}, resources: { subscribe: true } },
      instructions: 'A server for tests.',
    },
  );
  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: ['echo', 'whoami', 'wait', 'report', 'ask', 'large', 'changed'].map((name) => ({
      name,
      description: `Does ${name}.`,
      inputSchema: { type: 'object' as const },
      ...(name === 'echo' ? { annotations: { readOnlyHint: true } } : {}),
    })),
  }));
  server.setRequestHandler(SetLevelRequestSchema, ({ params }) => {
    settled.push(`level ${params.level}`);
    return {};
  });
  server.setRequestHandler(SubscribeRequestSchema, ({ params }) => {
    settled.push(`subscribed ${params.uri}`);
    return {};
  });
  server.setRequestHandler(CallToolRequestSchema, async ({ params }, extra) => {
    const given = params.arguments ?? {};
    switch (params.name) {
      case 'echo':
        return text(String(given['text']));
      case 'whoami':
        return text(String(extra.requestInfo?.headers['authorization'] ?? 'nobody'));
      case 'wait':
        await new Promise((resolve) => extra.signal.addEventListener('abort', resolve, { once: true }));
        cancelled.push(params.name);
        return text('too late');
      case 'report': {
        const token = params['_meta']?.progressToken;
        const { sendNotification } = extra;
        if (token !== undefined)
          await sendNotification({
            method: 'notifications/progress',
            params: { progressToken: token, progress: 1, total: 2 },
          });
        await sendNotification({
          method: 'notifications/message',
          params: { level: 'info', data: 'half way' },
        });
        return text('reported');
      }
      case 'ask': {
        const request = {
          method: 'elicitation/create' as const,
          params: { message: 'Who?', requestedSchema: { type: 'object' as const, properties: {} } },
        };
        const answer = await extra.sendRequest(request, ElicitResultSchema);
        return text(answer.action);
      }
      case 'large':
        return text('x'.repeat(Number(given['bytes'])));
      case 'changed':
        await server.sendToolListChanged();
        return text('changed');
      default:
        throw new Error('no such tool');
    }
  });
  return server;
}
