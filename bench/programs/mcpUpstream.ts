/**
 * The remote MCP server of the benchmark, of either era by its path (`/legacy`, `/modern`), with its answers as JSON or,
 * with `-events` behind the path, as an event stream. One tool, `whoami`, answers with the bearer token that the call came
 * with and as much filler as asked. It counts its sessions and streams: a message `count` is answered with both.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

interface Request {
  readonly id?: number | string;
  readonly method?: string;
  readonly params?: {
    readonly protocolVersion?: string;
    readonly arguments?: { readonly bytes?: number };
  };
}

const sessions = new Set<string>();
const streams = new Set<ServerResponse>();
const filler = 'x'.repeat(1024 * 1024);
const modern = '2026-07-28';
const serverInfo = { name: 'bench', version: '1.0.0' };
const envelope = { _meta: { 'io.modelcontextprotocol/serverInfo': serverInfo }, resultType: 'complete' };
const tool = {
  name: 'whoami',
  description: 'Says who calls.',
  inputSchema: { type: 'object', properties: { bytes: { type: 'number' } } },
};

function resultOf(request: Request, isModern: boolean, caller: string): object | null {
  const more = isModern ? envelope : {};
  const cached = isModern ? { ttlMs: 0, cacheScope: 'private' } : {};
  switch (request.method ?? '') {
    case 'initialize':
      if (isModern) return null;
      return { protocolVersion: request.params?.protocolVersion, capabilities: { tools: {} }, serverInfo };
    case 'server/discover':
      return isModern
        ? { supportedVersions: [modern], capabilities: { tools: {} }, ...more, ...cached }
        : null;
    case 'tools/list':
      return { tools: [tool], ...more, ...cached };
    case 'tools/call': {
      const text = JSON.stringify({
        caller,
        filler: filler.slice(0, request.params?.arguments?.bytes ?? 100),
      });
      return { content: [{ type: 'text', text }], ...more };
    }
    default:
      return null;
  }
}

function answer(incoming: IncomingMessage, response: ServerResponse, body: string): void {
  const request = JSON.parse(body) as Request;
  if (request.id === undefined) return void response.writeHead(202, { 'content-length': '0' }).end();
  const isModern = incoming.url?.startsWith('/modern') === true;
  const caller = (incoming.headers.authorization ?? '').slice('Bearer '.length);
  const result = resultOf(request, isModern, caller);
  const message = JSON.stringify(
    result === null
      ? { jsonrpc: '2.0', id: request.id, error: { code: -32601, message: 'Method not found' } }
      : { jsonrpc: '2.0', id: request.id, result },
  );
  const isEvents = incoming.url?.endsWith('-events') === true && request.method === 'tools/call';
  const text = isEvents ? `event: message\ndata: ${message}\n\n` : message;
  const headers: Record<string, string | number> = {
    'content-type': isEvents ? 'text/event-stream' : 'application/json',
  };
  if (!isEvents) headers['content-length'] = Buffer.byteLength(text);
  if (request.method === 'initialize' && !isModern) {
    const id = randomUUID();
    sessions.add(id);
    headers['mcp-session-id'] = id;
  }
  response.writeHead(result === null && isModern ? 404 : 200, headers);
  response.end(text);
}

const server = createServer((incoming, response) => {
  const sessionId = incoming.headers['mcp-session-id'];
  if (typeof sessionId === 'string' && !sessions.has(sessionId))
    return void response.writeHead(404, { 'content-length': '0' }).end();
  if (incoming.method === 'DELETE') {
    if (typeof sessionId === 'string') sessions.delete(sessionId);
    return void response.writeHead(200, { 'content-length': '0' }).end();
  }
  if (incoming.method === 'GET') {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    streams.add(response);
    response.once('close', () => streams.delete(response));
    return;
  }
  const chunks: Buffer[] = [];
  incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
  incoming.on('end', () => answer(incoming, response, Buffer.concat(chunks).toString()));
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as { port: number }).port }));
process.on('message', (asked) => {
  if (asked === 'count') process.send?.({ sessions: sessions.size, streams: streams.size });
});
process.on('disconnect', () => process.exit(0));
