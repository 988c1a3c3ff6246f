import { afterEach, describe, expect, it } from '@jest/globals';
import { AppError } from '../../../../backend/src/errors/appError.js';
import {
  aRemoteService,
  call,
  Ear,
  never,
  openRemote,
  termsOf,
  textOf,
} from '../../../support/aRemoteUpstream.js';
import { waitUntil } from '../../../support/eventually.js';
import { openLegacyServer } from '../../../support/legacyServer.js';
import { startRecordingUpstream, type Behaviour } from '../../../support/recordingUpstream.js';

const opened: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

async function open(changes: object = { kind: 'sse' }, remote: object = {}) {
  const server = await openLegacyServer({ transport: 'sse' });
  const site = openRemote(aRemoteService(server.url, { ...remote }, { ...changes }));
  opened.push(server, site);
  return { server, ...site };
}

/** A raw event stream in the place of a server. */
async function openRaw(first: Behaviour) {
  const server = await startRecordingUpstream();
  server.on('/sse', first);
  const definition = aRemoteService(
    `${server.origin}/sse`,
    {},
    { kind: 'sse', limits: { timeoutMs: 1_000 } },
  );
  const site = openRemote(definition);
  opened.push(server, site);
  return { server, ...site };
}

async function failure(promise: Promise<unknown>): Promise<AppError> {
  const error: unknown = await promise.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(AppError);
  return error as AppError;
}

describe('U03 a server by HTTP+SSE', () => {
  it('is initialized, called with the credential, asks and tells', async () => {
    const { server, upstream } = await open();
    expect(upstream.raw).toBeNull();
    const client = {
      protocolVersion: '2025-11-25',
      capabilities: { elicitation: {} },
      clientInfo: { name: 't', version: '1' },
    };
    const connection = await upstream.connect(termsOf('alice', { client }), never);
    const ear = new Ear();
    expect(textOf(await call(connection, 'ask', {}, { ear }))).toBe('decline');
    expect(textOf(await call(connection, 'report', {}, { ear, meta: { progressToken: 'p' } }))).toBe(
      'reported',
    );
    expect(ear.notifications).toMatchObject([
      { method: 'notifications/progress', params: { progressToken: 'p' } },
      { method: 'notifications/message' },
    ]);
    expect(textOf(await call(connection, 'whoami'))).toBe('Bearer key-of-alice');
    for (const { headers } of server.received) expect(headers['authorization']).toBe('Bearer key-of-alice');
    connection.release();
    await waitUntil('the end of the stream', () => server.sessions.size === 0);
  });

  it('is found behind a URL of kind streamable-http that falls back to it', async () => {
    const { upstream } = await open({}, { fallbackSse: true });
    const connection = await upstream.connect(termsOf('alice'), never);
    expect(textOf(await call(connection, 'echo', { text: 'hi' }))).toBe('hi');
  });

  it('R06 fails what is under way with one error each when its stream dies, and is begun anew after that', async () => {
    const { server, upstream } = await open();
    const connection = await upstream.connect(termsOf('alice'), never);
    const bob = await upstream.connect(termsOf('bob'), never);
    const ear = new Ear();
    connection.listen(ear);
    const waiting = [failure(call(connection, 'wait')), failure(call(connection, 'wait'))];
    await waitUntil('both calls', () => server.of('tools/call').length === 2);
    server.breakConnections();
    expect((await Promise.all(waiting)).map(({ code }) => code)).toEqual([
      'UPSTREAM_FAILED',
      'UPSTREAM_FAILED',
    ]);
    expect(ear.closed).toBe(1);
    expect(connection.isLost).toBe(true);
    expect((await failure(call(connection, 'echo'))).code).toBe('UPSTREAM_UNREACHABLE');
    expect(server.of('tools/call')).toHaveLength(2);
    const again = await upstream.connect(termsOf('alice'), never);
    expect(textOf(await call(again, 'echo', { text: 'again' }))).toBe('again');
    bob.release();
  });

  it.each([
    ['another origin', 'event: endpoint\ndata: http://127.0.0.1:1/messages\n\n', 'UPSTREAM_FAILED'],
    ['another scheme', 'event: endpoint\ndata: file:///etc/passwd\n\n', 'UPSTREAM_FAILED'],
    ['a protocol-relative URL', 'event: endpoint\ndata: //evil.example.com/x\n\n', 'UPSTREAM_FAILED'],
    ['no place in time', ': nothing\n\n', 'UPSTREAM_TIMEOUT'],
  ])('E04 refuses a server that names %s for messages, and sends it nothing', async (_name, text, code) => {
    const { server, upstream } = await openRaw((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(text);
    });
    expect((await failure(upstream.connect(termsOf('alice'), never))).code).toBe(code);
    expect(server.requests.map(({ method }) => method)).toEqual(['GET']);
    await server.until(() => server.connections.open === 0);
  });

  it('reads a stream with a byte order mark, CRLF, comments and characters that are cut in two', async () => {
    const { server, upstream } = await openRaw((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('\ufeff: hello\r\nevent: endpoint\r\ndata: /messages?session=1\r\n\r\n');
      server.on('/messages', (accepted, { body }) => {
        accepted.writeHead(202).end();
        const { id, method } = JSON.parse(body) as { id?: number; method: string };
        if (id === undefined) return;
        const result =
          method === 'initialize'
            ? { protocolVersion: '2024-11-05', capabilities: {}, serverInfo: { name: 'ü' } }
            : { content: [{ type: 'text', text: 'zwölf' }] };
        const bytes = Buffer.from(
          `: ping\revent: message\rdata: ${JSON.stringify({ jsonrpc: '2.0', id, result })}\r\r`,
        );
        const middle = bytes.indexOf(0xc3) + 1;
        response.write(bytes.subarray(0, middle));
        setImmediate(() => response.write(bytes.subarray(middle)));
      });
    });
    const connection = await upstream.connect(termsOf('alice'), never);
    expect(connection.server.serverInfo).toEqual({ name: 'ü' });
    expect(textOf(await call(connection, 'any'))).toBe('zwölf');
  });

  it('R07 recycles a stream that sends garbage, and no other', async () => {
    const streams: { write(text: string): void }[] = [];
    const { server, upstream } = await openRaw((response) => {
      const at = streams.push(response);
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(`event: endpoint\ndata: /messages?at=${at - 1}\n\n`);
    });
    server.on('/messages', (accepted, { body, target }) => {
      accepted.writeHead(202).end();
      const { id, method } = JSON.parse(body) as { id?: number; method: string };
      if (id === undefined) return;
      const result =
        method === 'initialize'
          ? { protocolVersion: '2024-11-05', capabilities: {}, serverInfo: {} }
          : { content: [{ type: 'text', text: 'fine' }] };
      const at = Number(/at=(\d)/.exec(target)?.[1]);
      const text =
        method === 'tools/call' && at === 0 ? 'no json' : JSON.stringify({ jsonrpc: '2.0', id, result });
      streams[at]?.write(`data: ${text}\n\n`);
    });
    const alice = await upstream.connect(termsOf('alice'), never);
    const bob = await upstream.connect(termsOf('bob'), never);
    expect((await failure(call(alice, 'any'))).code).toBe('UPSTREAM_FAILED');
    expect(alice.isLost).toBe(true);
    expect(textOf(await call(bob, 'any'))).toBe('fine');
  });
});
