/**
 * An MCP server of the legacy era by Streamable HTTP, as the SDK makes it: with sessions or without, with answers as JSON
 * or as events, with resumable streams or not. It keeps what reached it and the bytes of what it answered.
 *
 *   await using upstream = await openLegacyHttpServer({ isJson: true });
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import {
  StreamableHTTPServerTransport,
  type EventStore,
} from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import {
  CallToolRequestSchema,
  CreateMessageResultSchema,
  ListToolsRequestSchema,
  SetLevelRequestSchema,
  SubscribeRequestSchema,
  type JSONRPCMessage,
} from '@modelcontextprotocol/sdk/types.js';

export interface Exchanged {
  readonly verb: string;
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  /** The body as it came. */
  readonly text: string;
  /** The body of the answer so far. */
  readonly answer: () => string;
}

export interface LegacyHttpServer extends AsyncDisposable {
  readonly url: string;
  readonly exchanged: readonly Exchanged[];
  of(method: string): Exchanged[];
  readonly sessions: number;
  readonly cancelled: number;
  readonly streams: number;
  /** Requests that are never answered and whose sender waits. */
  readonly hanging: number;
  /** Lets the calls of the tool `wait` end. */
  release(): void;
  /** Forgets all sessions, as a restart does. */
  forget(): Promise<void>;
  /** Tells all sessions on their GET streams. */
  tell(method: string): Promise<void>;
}

export interface LegacyHttpServerWish {
  readonly isJson?: boolean;
  readonly hasSessions?: boolean;
  readonly isResumable?: boolean;
  /** Headers of every answer. */
  readonly headers?: Readonly<Record<string, string>>;
  /** What a lost session is answered with: the specification's 404, or the 400 of the SDK's own examples. */
  readonly lostStatus?: 404 | 400;
  /** Whether a message of this method is never answered. */
  readonly isHanging?: (method: string) => boolean;
}

const tools = ['echo', 'caller', 'big', 'fail', 'wait', 'ask', 'steps'].map((name) => ({
  name,
  inputSchema: { type: 'object' as const },
  annotations: { readOnlyHint: name === 'echo' },
}));

export async function openLegacyHttpServer(wish: LegacyHttpServerWish = {}): Promise<LegacyHttpServer> {
  const { isJson = false, hasSessions = true, isResumable = false, headers = {}, lostStatus = 404 } = wish;
  const { isHanging = () => false } = wish;
  const exchanged: Exchanged[] = [];
  const transports = new Map<string, { transport: StreamableHTTPServerTransport; server: Server }>();
  const streams = new Set<ServerResponse>();
  const waiting = new Set<() => void>();
  let cancelled = 0;
  let hanging = 0;

  const open = async (): Promise<StreamableHTTPServerTransport> => {
    const server = toServer(() => (cancelled += 1), waiting);
    const transport: StreamableHTTPServerTransport = new StreamableHTTPServerTransport({
      ...(hasSessions ? { sessionIdGenerator: () => randomUUID() } : {}),
      enableJsonResponse: isJson,
      onsessioninitialized: (id) => void transports.set(id, { transport, server }),
      onsessionclosed: (id) => void transports.delete(id),
      ...(isResumable ? { eventStore: anEventStore() } : {}),
    });
    await server.connect(transport);
    return transport;
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const message = text === '' ? undefined : (JSON.parse(text) as { method?: string });
    const answer = record(response);
    const { method: verb = '' } = request;
    const method = message?.method ?? (verb === 'POST' ? 'response' : verb);
    exchanged.push({ verb, method, headers: request.headers, text, answer });
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    if (isHanging(method)) {
      hanging += 1;
      response.on('close', () => (hanging -= 1));
      return;
    }
    if (verb === 'GET') {
      streams.add(response);
      response.on('close', () => streams.delete(response));
    }
    const id = request.headers['mcp-session-id'];
    const known = typeof id === 'string' ? transports.get(id)?.transport : undefined;
    if (hasSessions && known === undefined && method !== 'initialize') {
      const error = { code: lostStatus === 404 ? -32001 : -32000, message: 'No valid session ID provided' };
      response.writeHead(lostStatus, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ jsonrpc: '2.0', error, id: null }));
      return;
    }
    await (known ?? (await open())).handleRequest(request, response, message);
  };
  const http = createServer(
    (request, response) => void handle(request, response).catch(() => response.destroy()),
  );
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');

  const forget = async (): Promise<void> => {
    const all = [...transports.values()];
    transports.clear();
    for (const { server } of all) await server.close();
  };
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`,
    exchanged,
    of: (method) => exchanged.filter((one) => one.method === method),
    get sessions() {
      return transports.size;
    },
    get cancelled() {
      return cancelled;
    },
    get streams() {
      return streams.size;
    },
    get hanging() {
      return hanging;
    },
    release() {
      for (const end of Array.from(waiting)) end();
    },
    forget,
    async tell(method) {
      for (const { server } of transports.values()) await server.notification({ method });
    },
    async [Symbol.asyncDispose]() {
      await forget();
      http.closeAllConnections();
      http.close();
      await once(http, 'close');
    },
  };
}

/** Keeps the bytes of an answer as they leave. */
function record(response: ServerResponse): () => string {
  const pieces: Buffer[] = [];
  const keep = (chunk: unknown): void => {
    if (typeof chunk === 'string' || chunk instanceof Uint8Array) pieces.push(Buffer.from(chunk as string));
  };
  const write = response.write.bind(response) as (...given: unknown[]) => boolean;
  const end = response.end.bind(response) as (...given: unknown[]) => ServerResponse;
  response.write = ((chunk: unknown, ...more: unknown[]) => {
    keep(chunk);
    return write(chunk, ...more);
  }) as typeof response.write;
  response.end = ((chunk: unknown, ...more: unknown[]) => {
    keep(chunk);
    return end(chunk, ...more);
  }) as typeof response.end;
  return () => Buffer.concat(pieces).toString('utf8');
}

const text = (value: string, more: object = {}) => ({
  content: [{ type: 'text' as const, text: value }],
  ...more,
});

function toServer(onCancelled: () => void, waiting: Set<() => void>): Server {
  const server = new Server(
    { name: 'legacy-upstream', version: '1.2.3' },
    {
      capabilities: { tools: { listChanged: true }, logging: {}, resources: { subscribe: true } },
      instructions: 'Call echo.',
    },
  );
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools }));
  server.setRequestHandler(SetLevelRequestSchema, () => ({}));
  server.setRequestHandler(SubscribeRequestSchema, () => ({}));
  server.setRequestHandler(CallToolRequestSchema, async ({ params }, extra) => {
    const { text: given = '', bytes = 0, steps = 0 } = (params.arguments ?? {}) as Record<string, never>;
    switch (params.name) {
      case 'echo':
        return text(given);
      case 'caller':
        return text(String(extra.requestInfo?.headers['authorization']));
      case 'big':
        return text('é"x'.repeat(Math.ceil(bytes / 3)));
      case 'fail':
        return text('it failed', { isError: true });
      case 'ask': {
        const asked = {
          method: 'sampling/createMessage' as const,
          params: { messages: [], maxTokens: 1 },
        };
        const answer = await extra.sendRequest(asked, CreateMessageResultSchema);
        return text(JSON.stringify(answer.content));
      }
      case 'steps':
        for (let step = 1; step <= steps; step += 1) {
          const { progressToken = 'none' } = params['_meta'] ?? {};
          await extra.sendNotification({
            method: 'notifications/progress',
            params: { progressToken, progress: step, total: steps },
          });
        }
        return text('done');
      case 'wait':
        return await new Promise((resolve, reject) => {
          waiting.add(() => resolve(text('released')));
          extra.signal.addEventListener('abort', () => {
            onCancelled();
            reject(new Error('cancelled'));
          });
        });
      default:
        throw new Error(`no tool ${params.name}`);
    }
  });
  return server;
}

function anEventStore(): EventStore {
  const events: { id: string; stream: string; message: JSONRPCMessage }[] = [];
  return {
    storeEvent(stream, message) {
      const id = `${stream}_${events.length}`;
      events.push({ id, stream, message });
      return Promise.resolve(id);
    },
    async replayEventsAfter(lastEventId, { send }) {
      const from = events.findIndex(({ id }) => id === lastEventId);
      const stream = events[from]?.stream ?? '';
      for (const event of events.slice(from + 1))
        if (event.stream === stream && Object.keys(event.message).length > 0)
          await send(event.id, event.message);
      return stream;
    },
  };
}
