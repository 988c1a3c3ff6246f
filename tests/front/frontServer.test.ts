import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { createForwarder } from '../../backend/src/front/forward.js';
import { createFrontHandler } from '../../backend/src/front/frontServer.js';
import { clientAddressSigner, readSignedAddress } from '../../backend/src/lifecycle/clientAddress.js';
import { hostGuard } from '../../backend/src/lifecycle/hostGuard.js';
import { createLogger } from '../../backend/src/telemetry/logger.js';
import { createFrontMetrics } from '../../backend/src/telemetry/metrics.js';
import { waitUntil } from '../support/eventually.js';

const frontKey = randomBytes(32);
const signAddress = clientAddressSigner(frontKey);

async function listen(
  handler: RequestListener,
  port = 0,
): Promise<Server & AsyncDisposable & { port: number }> {
  const server = createServer(handler).listen(port, '127.0.0.1');
  await once(server, 'listening');
  return Object.assign(server, {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  });
}

/** A front before one service `notes` (prefix `nts`) on `port`; the same port stands for the main API. */
async function aFront(
  port: number,
  isDraining = false,
  markStream: (response: ServerResponse) => void = () => {},
) {
  const forwarder = createForwarder({ connectMsMax: 2_000 });
  const service = { name: 'notes', port, enabled: true };
  const server = await listen(
    createFrontHandler({
      guard: hostGuard({
        allowedHosts: ['127.0.0.1', 'portolan.test'],
        allowedOrigins: ['http://portolan.test'],
      }),
      services: {
        find: (name) => (name === 'notes' ? service : null),
        findByPrefix: (p) => (p === 'nts' ? service : null),
      },
      forwarder,
      stateAddress: (request) => signAddress(request.socket.remoteAddress ?? '', Date.now()),
      metrics: createFrontMetrics(),
      metricsAccess: () => null,
      log: createLogger({ level: 'silent', program: 'front' }),
      isDraining: () => isDraining,
      markStream,
      innerHosts: { api: '127.0.0.1', service: '127.0.0.1' },
      apiPort: port,
      servicePortOffset: 0,
    }),
  );
  return {
    port: server.port,
    url: `http://127.0.0.1:${server.port}`,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await forwarder[Symbol.asyncDispose]();
    },
  };
}

const echo: RequestListener = (request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    response.writeHead(201, { 'content-type': 'application/json', 'mcp-session-id': 's-1' });
    const { method, url, headers } = request;
    response.end(JSON.stringify({ method, url, headers, body: Buffer.concat(chunks).toString() }));
  });
};

describe('the front', () => {
  it('P04 passes method, path, query, headers, body, status and answer headers as they are', async () => {
    await using inner = await listen(echo);
    await using front = await aFront(inner.port);
    const answer = await fetch(`${front.url}/nts_abc/notes/mcp?x=1%2f2`, {
      method: 'POST',
      headers: {
        authorization: 'Bearer b',
        'mcp-protocol-version': '2025-11-25',
        'content-type': 'application/json',
      },
      body: '{"ä":1}',
    });
    expect(answer.status).toBe(201);
    expect(answer.headers.get('mcp-session-id')).toBe('s-1');
    expect(await answer.json()).toMatchObject({
      method: 'POST',
      url: '/nts_abc/notes/mcp?x=1%2f2',
      headers: { authorization: 'Bearer b', 'mcp-protocol-version': '2025-11-25' },
      body: '{"ä":1}',
    });
  });

  it('passes a body that is too large to be held, in both directions, byte for byte', async () => {
    const sent = randomBytes(3 * 1024 * 1024);
    await using inner = await listen((request, response) => void request.pipe(response));
    await using front = await aFront(inner.port);
    const answer = await fetch(`${front.url}/nts_abc/notes`, { method: 'POST', body: sent });
    expect(Buffer.from(await answer.arrayBuffer()).equals(sent)).toBe(true);
  });

  it('D07 states the client address itself, and believes no forwarded header', async () => {
    await using inner = await listen(echo);
    await using front = await aFront(inner.port);
    const forged = { 'x-forwarded-for': '9.9.9.9', forwarded: 'for=9.9.9.9', 'x-real-ip': '9.9.9.9' };
    const answer = await fetch(`${front.url}/api/v1/x`, {
      headers: { ...forged, 'x-portolan-client': '9.9.9.9 1 x' },
    });
    const { headers } = (await answer.json()) as { headers: Record<string, string> };
    for (const name of Object.keys(forged)) expect(headers[name]).toBeUndefined();
    expect(readSignedAddress(frontKey, headers['x-portolan-client'] ?? '', Date.now())).toBe('127.0.0.1');
  });

  it('C01 C02 refuses a foreign Host with 421 and a foreign Origin with 403 before anything is passed on', async () => {
    let calls = 0;
    await using inner = await listen((_request, response) => {
      calls += 1;
      response.end();
    });
    await using front = await aFront(inner.port);
    const status = (headers: Record<string, string>) =>
      new Promise<number | undefined>((resolve, reject) => {
        httpRequest({ port: front.port, path: '/nts_abc/notes', headers }, (answer) => {
          answer.resume();
          resolve(answer.statusCode);
        })
          .on('error', reject)
          .end();
      });
    expect(await status({ host: 'evil.test' })).toBe(421);
    expect(await status({ host: 'portolan.test', origin: 'http://evil.test' })).toBe(403);
    expect(calls).toBe(0);
    expect(await status({ host: 'portolan.test', origin: 'http://portolan.test' })).toBe(200);
  });

  it('P06 waits for a program that restarts, and sends it a call that it never got exactly once', async () => {
    const bodies: string[] = [];
    const handler: RequestListener = (request, response) => {
      request.on('data', (chunk: Buffer) => bodies.push(chunk.toString()));
      request.on('end', () => response.end('done'));
    };
    const first = await listen(handler);
    const { port } = first;
    await first[Symbol.asyncDispose]();
    await using front = await aFront(port);
    const answer = fetch(`${front.url}/nts_abc/notes`, { method: 'POST', body: 'one call' });
    await new Promise((resolve) => setImmediate(resolve));
    await using second = await listen(handler, port);
    expect(await (await answer).text()).toBe('done');
    expect(second.listening).toBe(true);
    expect(bodies).toEqual(['one call']);
  });

  it('R11 does not send a call again that a program may have heard, and says so with 502', async () => {
    let calls = 0;
    await using inner = await listen((request) => {
      calls += 1;
      request.socket.destroy();
    });
    await using front = await aFront(inner.port);
    const answer = await fetch(`${front.url}/nts_abc/notes`, { method: 'POST', body: '{}' });
    expect(answer.status).toBe(502);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect(calls).toBe(1);
  });

  it('answers 503 with Retry-After when nothing listens, however long it waits', async () => {
    const gone = await listen(echo);
    await gone[Symbol.asyncDispose]();
    await using front = await aFront(gone.port);
    const answer = await fetch(`${front.url}/nts_abc/notes`, { method: 'POST', body: '{}' });
    expect(answer.status).toBe(503);
    expect(answer.headers.get('retry-after')).toBe('2');
    expect(await answer.json()).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
  });

  it('sends the headers and each event of a quiet stream at once', async () => {
    let inner: { write(text: string): unknown; end(): unknown } | null = null;
    await using server = await listen((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.flushHeaders();
      inner = response;
    });
    await using front = await aFront(server.port);
    const answer = await fetch(`${front.url}/nts_abc/notes`);
    const reader = answer.body!.getReader();
    for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
      inner!.write(event);
      expect(Buffer.from((await reader.read()).value ?? '').toString()).toBe(event);
    }
    inner!.end();
    expect((await reader.read()).done).toBe(true);
  });

  it('R13 tells draining of a stream without an end, and cancels it inside when draining ends it', async () => {
    const inside: Promise<unknown>[] = [];
    await using server = await listen((request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: 1\n\n');
      inside.push(once(response, 'close'));
      if (request.method === 'POST') response.end();
    });
    const streams: ServerResponse[] = [];
    await using front = await aFront(server.port, false, (response) => streams.push(response));
    const url = `${front.url}/nts_abc/notes`;
    expect(await (await fetch(url, { method: 'POST', body: '{}' })).text()).toBe('data: 1\n\n');
    expect(streams).toEqual([]);
    const answer = await fetch(url);
    expect(streams).toHaveLength(1);
    streams[0]?.end();
    expect(await answer.text()).toBe('data: 1\n\n');
    await Promise.all(inside);
  });

  it('R06 breaks an answer off when the program behind dies in the middle of it', async () => {
    await using inner = await listen((request, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('half');
      setImmediate(() => request.socket.destroy());
    });
    await using front = await aFront(inner.port);
    const answer = await fetch(`${front.url}/nts_abc/notes`);
    await expect(answer.text()).rejects.toThrow('terminated');
  });

  it('R23 lets go of the inner request when the client leaves', async () => {
    let open = 0;
    await using inner = await listen((_request, response) => {
      open += 1;
      response.on('close', () => (open -= 1));
      response.writeHead(200);
      response.flushHeaders();
    });
    await using front = await aFront(inner.port);
    const leaving = new AbortController();
    await fetch(`${front.url}/nts_abc/notes`, { signal: leaving.signal });
    expect(open).toBe(1);
    leaving.abort();
    await waitUntil('the inner request is closed', () => open === 0, 1_000);
  });

  it('R24 stops reading from the program while its client does not read', async () => {
    let written = 0;
    const chunk = Buffer.alloc(64 * 1024);
    await using inner = await listen((_request, response) => {
      const pump = (): void => {
        written += chunk.length;
        if (response.write(chunk)) setImmediate(pump);
        else response.once('drain', pump);
      };
      pump();
    });
    await using front = await aFront(inner.port);
    const socket = connect(front.port, '127.0.0.1');
    socket.pause();
    socket.write('GET /nts_abc/notes HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n');
    let before = -1;
    // The amounts that sockets hold differ; what counts is that it comes to a stop.
    await waitUntil('the program is held back', async () => {
      const isStill = written === before && written > 0;
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 100));
      return isStill;
    });
    expect(written).toBeLessThan(64 * 1024 * 1024);
    socket.destroy();
  });

  it('P05 answers its own health, and 503 while it drains', async () => {
    await using inner = await listen(echo);
    await using healthy = await aFront(inner.port);
    await using draining = await aFront(inner.port, true);
    expect((await fetch(`${healthy.url}/health`)).status).toBe(200);
    expect((await fetch(`${draining.url}/health`)).status).toBe(503);
    expect((await fetch(`${draining.url}/livez`)).status).toBe(200);
  });

  it('A06 answers what no service knows with the uniform 404, without asking anybody', async () => {
    let calls = 0;
    await using inner = await listen((_request: IncomingMessage, response) => {
      calls += 1;
      response.end();
    });
    await using front = await aFront(inner.port);
    const answer = await fetch(`${front.url}/zzz_abc/nowhere`, { method: 'POST', body: '{}' });
    expect(answer.status).toBe(404);
    expect(await answer.json()).toEqual({
      jsonrpc: '2.0',
      id: null,
      error: { code: -32001, message: 'Not found' },
    });
    expect(calls).toBe(0);
  });
});
