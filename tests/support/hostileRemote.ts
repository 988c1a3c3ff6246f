/**
 * A remote MCP server of one era that misbehaves in the tool that is called, in the form that its arguments ask for:
 *
 *   await using hostile = await openHostileRemote('legacy');
 *   await call('hang', { form: 'events' });
 *
 * It counts what was cancelled, cut off and written, so that a test can say what the bridge did about it.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createGzip } from 'node:zlib';
import type { Era } from '../../backend/src/mcp-servers/universal-mcp-server/protocol/revisions.js';

export interface HostileRemote extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Tool calls that came, by tool. */
  readonly called: readonly string[];
  /** `notifications/cancelled` that came. */
  readonly cancelled: number;
  /** Tool calls whose answer was cut off by the other side. */
  readonly cutOff: number;
  /** Tool calls that are being answered now. */
  readonly open: number;
  /** Bytes of tool answers that were handed to the system. */
  readonly written: number;
}

export const faultyTools = [
  'echo',
  'hang',
  'silent',
  'progress',
  'die',
  'garbage',
  'bomb',
  'huge',
  'drip',
  'flood',
] as const;
export type FaultyTool = (typeof faultyTools)[number];
export type AnswerForm = 'json' | 'events';

interface Call {
  readonly id: string | number;
  readonly form: AnswerForm;
  readonly progressToken: unknown;
  readonly text: string;
}

const mebibyte = 1024 * 1024;

export async function openHostileRemote(era: Era): Promise<HostileRemote> {
  const called: string[] = [];
  const open = new Set<ServerResponse>();
  let cancelled = 0;
  let cutOff = 0;
  let written = 0;

  const wrap = (result: object): object =>
    era === 'modern' ? { resultType: 'complete', ...result } : result;

  const answerText = ({ id, form }: Call, text: string): string =>
    frame(form, { jsonrpc: '2.0', id, result: wrap({ content: [{ type: 'text', text }] }) });

  /** Writes pieces as fast as the reader takes them, until there are no more or it is gone. */
  const pour = async (response: NodeJS.WritableStream, pieces: Iterable<string | Buffer>): Promise<void> => {
    for (const piece of pieces) {
      if (!response.writable) return;
      written += piece.length;
      if (!response.write(piece)) {
        const drained = new AbortController();
        await Promise.race([
          once(response, 'drain', { signal: drained.signal }).catch(() => {}),
          once(response, 'close', { signal: drained.signal }).catch(() => {}),
        ]);
        drained.abort();
      }
    }
    response.end();
  };
  /** One message that never seems to end. */
  function* oneMessage(call: Call, mebibytes: number): Generator<string> {
    const [head = '', tail = ''] = answerText(call, '|').split('|');
    yield head;
    yield* repeat('x'.repeat(mebibyte), mebibytes);
    yield tail;
  }

  const behaviours: Record<FaultyTool, (response: ServerResponse, call: Call) => void> = {
    echo(response, call) {
      begin(response, call.form);
      response.end(answerText(call, call.text));
    },
    hang() {},
    silent: (response, { form }) => begin(response, form),
    progress(response, { progressToken }) {
      begin(response, 'events');
      let progress = 0;
      every(response, 50, () => {
        const params = { progressToken, progress: (progress += 1) };
        response.write(frame('events', { jsonrpc: '2.0', method: 'notifications/progress', params }));
      });
    },
    die(response, call) {
      begin(response, call.form);
      response.write(answerText(call, 'half of it').slice(0, -20), () => response.destroy());
    },
    garbage(response, { form }) {
      begin(response, form);
      response.end(form === 'json' ? randomBytes(4_096) : `data: ${randomBytes(512).toString('base64')}\n\n`);
    },
    bomb(response, call) {
      begin(response, call.form, { 'content-encoding': 'gzip' });
      const gzip = createGzip();
      gzip.pipe(response);
      void pour(gzip, oneMessage(call, 200));
    },
    huge(response, call) {
      begin(response, call.form);
      void pour(response, oneMessage(call, 200));
    },
    drip(response, call) {
      begin(response, call.form);
      const text = answerText(call, 'x'.repeat(100_000));
      let at = 0;
      every(response, 50, () => void response.write(text.charAt((at += 1))));
    },
    flood(response) {
      begin(response, 'events');
      void pour(response, events());
    },
  };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    let text = '';
    for await (const chunk of request) text += String(chunk);
    if (request.method !== 'POST') return void response.writeHead(405).end();
    const { id, method, params = {} } = JSON.parse(text);
    const result = (value: object, more?: Record<string, string>): void =>
      sendMessage(response, { jsonrpc: '2.0', id, result: wrap(value) }, more);
    const described = {
      capabilities: { tools: {}, logging: {} },
      serverInfo: { name: 'hostile', version: '1' },
    };
    if (method === 'notifications/cancelled') cancelled += 1;
    if (id === undefined) return void response.writeHead(202).end();
    if (method === 'initialize' && era === 'legacy')
      return result(
        { protocolVersion: params.protocolVersion, ...described },
        { 'mcp-session-id': randomUUID() },
      );
    if (method === 'server/discover' && era === 'modern') {
      const { capabilities, serverInfo } = described;
      const meta = { 'io.modelcontextprotocol/serverInfo': serverInfo };
      return result({
        supportedVersions: ['2026-07-28'],
        capabilities,
        _meta: meta,
        ttlMs: 0,
        cacheScope: 'private',
      });
    }
    if (method === 'tools/list') {
      const tools = faultyTools.map((name) => ({ name, inputSchema: { type: 'object' } }));
      return result({ tools, ...(era === 'modern' ? { ttlMs: 0, cacheScope: 'private' } : {}) });
    }
    if (method !== 'tools/call')
      return sendMessage(response, {
        jsonrpc: '2.0',
        id,
        error: { code: -32601, message: 'Method not found' },
      });
    const tool = params.name as FaultyTool;
    const { form = 'json', text: given = '' } = params.arguments ?? {};
    called.push(tool);
    open.add(response);
    response.on('close', () => {
      open.delete(response);
      if (!response.writableFinished) cutOff += 1;
    });
    behaviours[tool](response, { id, form, text: given, progressToken: params['_meta']?.['progressToken'] });
  };

  const server = createServer(
    (request, response) => void answer(request, response).catch(() => response.destroy()),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    port,
    called,
    get cancelled() {
      return cancelled;
    },
    get cutOff() {
      return cutOff;
    },
    get open() {
      return open.size;
    },
    get written() {
      return written;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

const begin = (response: ServerResponse, form: AnswerForm, more: Record<string, string> = {}): void => {
  const type = form === 'json' ? 'application/json' : 'text/event-stream';
  response.writeHead(200, { 'content-type': type, ...more });
  response.flushHeaders();
};

const frame = (form: AnswerForm, message: object): string => {
  const text = JSON.stringify(message);
  return form === 'json' ? text : `event: message\ndata: ${text}\n\n`;
};

function* repeat(piece: string, times: number): Generator<string> {
  for (let i = 0; i < times; i += 1) yield piece;
}

const every = (response: ServerResponse, ms: number, work: () => void): void => {
  const timer = setInterval(work, ms);
  response.on('close', () => clearInterval(timer));
};

/** Complete events without an end. */
function* events(): Generator<string> {
  const params = { level: 'info', data: 'x'.repeat(64 * 1024) };
  const one = frame('events', { jsonrpc: '2.0', method: 'notifications/message', params });
  yield* repeat(one, 100_000);
}

const sendMessage = (response: ServerResponse, message: object, more: Record<string, string> = {}): void =>
  void response.writeHead(200, { 'content-type': 'application/json', ...more }).end(JSON.stringify(message));
