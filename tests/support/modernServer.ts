/**
 * An MCP server that speaks revision 2026-07-28 only, by Streamable HTTP on a loopback port, with everything that a modern
 * server may do: questions in several rounds, progress, logs, structured content, resources that are watched, prompts,
 * completion, lists that change. It keeps each message as it came, so that tests can say what reached it.
 *
 *   await using upstream = await openModernServer();
 */
import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type Server as HttpServer,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler, type McpHttpHandler } from '@modelcontextprotocol/server';
import { createModernFeatures } from './modernFeatures.js';

export interface ReceivedMessage {
  readonly method: string;
  readonly id: unknown;
  readonly params: Readonly<Record<string, unknown>>;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface ModernServer extends AsyncDisposable {
  readonly url: string;
  readonly received: readonly ReceivedMessage[];
  /** Names of tools whose calls were cancelled while they ran. */
  readonly cancelled: readonly string[];
  readonly notify: McpHttpHandler['notify'];
  /** Streams of `subscriptions/listen` that are open now. */
  readonly listening: number;
  /** Breaks every listen stream off, as a restart of the server would. */
  dropListens(): void;
  of(method: string): ReceivedMessage[];
}

export async function openModernServer(): Promise<ModernServer> {
  const received: ReceivedMessage[] = [];
  const cancelled: string[] = [];
  const listens = new Set<ServerResponse>();
  const handler: McpHttpHandler = createMcpHandler(
    () => createModernFeatures({ cancelled, changes: () => handler.notify }),
    {
      legacy: 'reject',
      keepAliveMs: 0,
    },
  );
  const handle = toNodeHandler(handler);
  const http: HttpServer = createServer((request, response) => {
    void (async () => {
      let text = '';
      for await (const chunk of request) text += String(chunk);
      const body: unknown = text === '' ? undefined : JSON.parse(text);
      const { method = '', id, params = {} } = (body ?? {}) as Partial<ReceivedMessage>;
      received.push({ method, id, params, headers: request.headers, text });
      if (method === 'subscriptions/listen') {
        listens.add(response);
        response.once('close', () => listens.delete(response));
      }
      const { method: verb = 'GET', url = '/' } = request;
      await handle(Object.assign(request, { method: verb, url }), response, body);
    })();
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`,
    received,
    cancelled,
    notify: handler.notify,
    get listening() {
      return listens.size;
    },
    dropListens() {
      for (const response of listens) response.destroy();
    },
    of: (method) => received.filter((one) => one.method === method),
    async [Symbol.asyncDispose]() {
      await handler.close();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}
