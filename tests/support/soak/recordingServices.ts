/**
 * The upstreams of a soak: a REST service, MCP servers of each era and transport over HTTP, and the line on which stdio
 * children report. Every call is kept, with the credential that it came with, before it is answered; then it is answered
 * as the mode of its service says.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createLineServer, type AddressInfo, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { Random } from './random.js';
import type { SoakService } from './soakServices.js';

export interface Sighting {
  readonly call: string;
  readonly credential: string;
  readonly service: SoakService;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

export type UpstreamMode = 'well' | 'hang' | 'die' | 'garbage' | 'huge' | 'drip' | 'refuse' | 'eat';

export interface RecordingServices extends AsyncDisposable {
  readonly httpPort: number;
  readonly linePort: number;
  /** How a share of a service's calls is answered from now on. */
  misbehave(service: SoakService, mode: UpstreamMode, share: number): void;
  behave(service: SoakService): void;
  /** Calls whose answer is awaited now. */
  readonly open: number;
  /** A line for each session that was used with a credential of another instance; empty is right. */
  readonly crossings: readonly string[];
}

const modernVersion = '2026-07-28';
const inputSchema = { type: 'object', properties: { call: { type: 'string' }, ms: { type: 'integer' } } };
const tools = [
  { name: 'record', description: 'Keeps a call.', inputSchema },
  { name: 'read', description: 'Reads a call.', inputSchema, annotations: { readOnlyHint: true } },
  { name: 'wait', description: 'Keeps a call and answers later.', inputSchema },
];

interface Message {
  readonly id?: string | number;
  readonly method?: string;
  readonly params?: {
    readonly protocolVersion?: string;
    readonly name?: string;
    readonly arguments?: { readonly call?: string; readonly ms?: number };
  };
}

/** Answers a call when it is its turn to be answered. */
type Sender = (text: string) => void;

export async function startRecordingServices(
  random: Random,
  see: (sighting: Sighting) => void,
): Promise<RecordingServices> {
  const modes = new Map<SoakService, { mode: UpstreamMode; share: number }>();
  /** The credential that a session was begun with. */
  const sessions = new Map<string, string>();
  const eventStreams = new Map<string, ServerResponse>();
  const crossings: string[] = [];
  const responses = new Set<ServerResponse>();
  const lines = new Set<Socket>();

  const modeOf = (service: SoakService): UpstreamMode => {
    const now = modes.get(service);
    return now !== undefined && random.chance(now.share) ? now.mode : 'well';
  };
  const note = (service: SoakService, call: string | undefined, credential: string): UpstreamMode => {
    if (call === undefined) return 'well';
    see({ call, credential, service, at: Date.now() });
    return modeOf(service);
  };

  /** One call's answer over HTTP. */
  const answerCall = async (
    mode: UpstreamMode,
    ms: number,
    response: ServerResponse,
    send: Sender,
    text: string,
  ): Promise<void> => {
    const begin = (more: Record<string, string | number> = {}): void => {
      if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/json', ...more });
    };
    switch (mode) {
      case 'hang':
        return;
      case 'die':
        begin({ 'content-length': 1_000 });
        return void response.write(text.slice(0, 5), () => response.destroy());
      case 'garbage':
        return void response.socket?.end(Buffer.from([0, 255, 19, 55, 10]));
      case 'huge': {
        begin();
        const piece = Buffer.alloc(1024 * 1024, 'x');
        for (let sent = 0; sent < 40 && response.writable; sent += 1)
          if (!response.write(piece)) await Promise.race([once(response, 'drain'), once(response, 'close')]);
        return void response.end();
      }
      case 'drip': {
        begin();
        const timer = setInterval(() => response.write(' '), 200);
        return void response.once('close', () => clearInterval(timer));
      }
      case 'refuse':
        return void response.writeHead(401, { 'content-type': 'application/json' }).end('{}');
      case 'eat':
      case 'well':
        if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
        if (response.writable) send(text);
    }
  };

  const serveRest = async (
    request: IncomingMessage,
    response: ServerResponse,
    body: string,
    credential: string,
  ): Promise<void> => {
    const path = request.url ?? '';
    const given = body === '' ? {} : (JSON.parse(body) as { call?: string; ms?: number });
    const call = given.call ?? path.split('/').at(-1)?.split('?')[0];
    const mode = note('restful', call, credential);
    const ms = path.startsWith('/restful/waits') ? (given.ms ?? 0) : 0;
    const text = JSON.stringify({ call, credential });
    await answerCall(mode, ms, response, (one) => sendJson(response, one), text);
  };

  const serveMcp = async (
    service: 'legacy' | 'modern' | 'events',
    response: ServerResponse,
    message: Message,
    credential: string,
    sessionId: string | undefined,
  ): Promise<void> => {
    const isModern = service === 'modern';
    const { call, ms = 0 } = message.params?.arguments ?? {};
    const isCall = message.method === 'tools/call';
    const mode = isCall ? note(service, call, credential) : 'well';
    const result = resultOf(message, isModern, { call, credential });
    const text = JSON.stringify(
      result === null
        ? { jsonrpc: '2.0', id: message.id, error: { code: -32601, message: 'Method not found' } }
        : { jsonrpc: '2.0', id: message.id, result },
    );
    const wait = message.params?.name === 'wait' ? ms : 0;
    if (service === 'events') {
      const stream = eventStreams.get(sessionId ?? '');
      if (mode === 'refuse') return void response.writeHead(401).end();
      response.writeHead(202).end();
      if (stream === undefined) return;
      if (mode === 'hang' || mode === 'drip') return;
      if (mode !== 'well' && mode !== 'eat') return void stream.destroy();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      return void stream.write(`event: message\ndata: ${text}\n\n`);
    }
    const status = result === null && isModern ? 404 : 200;
    const begun =
      message.method === 'initialize' && !isModern ? { 'mcp-session-id': beginSession(credential) } : {};
    await answerCall(mode, wait, response, (one) => sendJson(response, one, status, begun), text);
  };

  const beginSession = (credential: string): string => {
    const id = randomUUID();
    sessions.set(id, credential);
    return id;
  };

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const url = new URL(request.url ?? '/', 'http://upstream');
    const credential = (request.headers.authorization ?? '').slice('Bearer '.length);
    const place = url.pathname.split('/')[1];
    if (place === 'restful') return await serveRest(request, response, body, credential);
    if (place === 'events' && request.method === 'GET') {
      const id = beginSession(credential);
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(`event: endpoint\ndata: /events/messages?session=${id}\n\n`);
      eventStreams.set(id, response);
      return void response.once('close', () => {
        eventStreams.delete(id);
        sessions.delete(id);
      });
    }
    if (place !== 'legacy' && place !== 'modern' && place !== 'events')
      return void response.writeHead(404).end();
    const header = request.headers['mcp-session-id'];
    const sessionId = place === 'events' ? (url.searchParams.get('session') ?? '') : header;
    if (place === 'events' && url.pathname === '/events') return void response.writeHead(405).end();
    if (typeof sessionId === 'string') {
      const owner = sessions.get(sessionId);
      if (owner === undefined) return void response.writeHead(404).end();
      if (tenantOf(owner) !== tenantOf(credential))
        crossings.push(
          `${place}: a session of ${tenantOf(owner)} with the credential of ${tenantOf(credential)}`,
        );
    }
    if (request.method === 'DELETE') {
      if (typeof sessionId === 'string') sessions.delete(sessionId);
      return void response.writeHead(200).end();
    }
    if (request.method === 'GET') return void response.writeHead(405).end();
    const message = JSON.parse(body) as Message;
    if (message.id === undefined || message.method === undefined) return void response.writeHead(202).end();
    await serveMcp(
      place,
      response,
      message,
      credential,
      typeof sessionId === 'string' ? sessionId : undefined,
    );
  };

  const http = createHttpServer((request, response) => {
    if (request.method === 'POST') {
      responses.add(response);
      response.once('close', () => responses.delete(response));
    }
    // Whoever leaves in the middle of a body is not kept.
    void serve(request, response).catch(() => response.destroy());
  });
  http.keepAliveTimeout = 60_000;
  const line = createLineServer((socket) => {
    lines.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => lines.delete(socket));
    const reports = createInterface({ input: socket });
    // A killed child resets its line.
    reports.on('error', () => {});
    reports.on('line', (text) => {
      const { call, credential } = JSON.parse(text) as Sighting;
      socket.write(`${JSON.stringify({ mode: note('lines', call, credential) })}\n`);
    });
  });
  http.listen(0, '127.0.0.1');
  line.listen(0, '127.0.0.1');
  await Promise.all([once(http, 'listening'), once(line, 'listening')]);

  return {
    httpPort: (http.address() as AddressInfo).port,
    linePort: (line.address() as AddressInfo).port,
    misbehave: (service, mode, share) => void modes.set(service, { mode, share }),
    behave: (service) => void modes.delete(service),
    get open() {
      return responses.size;
    },
    crossings,
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      for (const socket of lines) socket.destroy();
      http.close();
      line.close();
      await Promise.all([once(http, 'close'), once(line, 'close')]);
    },
  };
}

/** A credential is `<tenant>.<number>`: whose it is, and the how many-th. */
export const tenantOf = (credential: string): string => credential.split('.')[0] ?? '';

const sendJson = (response: ServerResponse, text: string, status = 200, more = {}): void =>
  void response
    .writeHead(status, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
      ...more,
    })
    .end(text);

const resultOf = (message: Message, isModern: boolean, answer: object): object | null => {
  const serverInfo = { name: 'soak', version: '1' };
  const more = isModern
    ? { _meta: { 'io.modelcontextprotocol/serverInfo': serverInfo }, resultType: 'complete' }
    : {};
  const cached = isModern ? { ttlMs: 0, cacheScope: 'private' } : {};
  const capabilities = { tools: {} };
  switch (message.method ?? '') {
    case 'initialize':
      if (isModern) return null;
      return { protocolVersion: message.params?.protocolVersion, capabilities, serverInfo };
    case 'server/discover':
      return isModern ? { supportedVersions: [modernVersion], capabilities, ...more, ...cached } : null;
    case 'ping':
      return {};
    case 'tools/list':
      return { tools, ...more, ...cached };
    case 'tools/call':
      return { content: [{ type: 'text', text: JSON.stringify(answer) }], ...more };
    default:
      return null;
  }
};
