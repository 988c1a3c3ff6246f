import { describe, expect, it } from '@jest/globals';
import { Agent, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createDrain } from '../../backend/src/lifecycle/drain.js';
import { createHttpServer, listen } from '../../backend/src/lifecycle/httpServer.js';
import { hostGuard } from '../../backend/src/lifecycle/hostGuard.js';

const get = (port: number, path: string, agent?: Agent): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, path, ...(agent ? { agent } : {}) }, resolve)
      .on('error', reject)
      .end();
  });

const read = async (response: IncomingMessage): Promise<string> => {
  let text = '';
  for await (const chunk of response) text += String(chunk);
  return text;
};

/** A server whose requests are answered by the test itself. */
async function aServer(): Promise<{
  server: Server;
  port: number;
  next: () => Promise<ServerResponse>;
}> {
  const waiting: ((response: ServerResponse) => void)[] = [];
  const came: ServerResponse[] = [];
  const server = createHttpServer((_request, response) => {
    const taker = waiting.shift();
    if (taker) taker(response);
    else came.push(response);
  });
  const port = await listen(server, { host: '127.0.0.1', port: 0 });
  const next = (): Promise<ServerResponse> => {
    const there = came.shift();
    return there ? Promise.resolve(there) : new Promise((resolve) => waiting.push(resolve));
  };
  return { server, port, next };
}

describe('drain', () => {
  it('R13 finishes what is under way, refuses new connections, then ends streams and closes', async () => {
    const { server, port, next } = await aServer();
    const order: string[] = [];
    const drain = createDrain({
      server,
      lingerMs: 10,
      onStart: () => order.push('start'),
      onStreamsEnd: () => {
        order.push('last word');
        stream.write('goodbye');
      },
      close: async () => void order.push('close'),
    });
    const slowAnswer = get(port, '/slow');
    const slow = await next();
    const streamAnswer = get(port, '/stream');
    const stream = await next();
    stream.flushHeaders();
    drain.markStream(stream);
    stream.once('close', () => order.push('stream ended'));
    const streamText = read(await streamAnswer);

    const drained = drain.start();
    expect(drain.isDraining).toBe(true);
    await expect(get(port, '/late')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    slow.end('done');
    const answer = await slowAnswer;
    expect(answer.headers.connection).toBe('close');
    expect(await read(answer)).toBe('done');
    expect(await streamText).toBe('goodbye');
    await drained;
    expect(order).toEqual(['start', 'last word', 'stream ended', 'close']);
  });

  it('R13 answers a request that comes on an idle connection while draining, with Connection: close', async () => {
    const { server, port, next } = await aServer();
    const drain = createDrain({ server, lingerMs: 500, close: async () => {} });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const first = get(port, '/1', agent);
    (await next()).end('1');
    expect(await read(await first)).toBe('1');
    const drained = drain.start();
    const second = get(port, '/2', agent);
    (await next()).end('2');
    const answer = await second;
    expect(answer.headers.connection).toBe('close');
    expect(await read(answer)).toBe('2');
    await drained;
    agent.destroy();
  });

  it("R13 answers a request that comes on an ended stream's connection before it closes anything", async () => {
    const { server, port, next } = await aServer();
    const order: string[] = [];
    const drain = createDrain({ server, lingerMs: 500, close: async () => void order.push('close') });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const streaming = get(port, '/stream', agent);
    const stream = await next();
    stream.flushHeaders();
    drain.markStream(stream);
    const answer = await streaming;
    expect(answer.headers.connection).toBe('keep-alive');
    const slow = get(port, '/slow');
    const slowCall = await next();
    const drained = drain.start();
    // Longer than the listener's own linger: only then do streams end.
    await new Promise((resolve) => setTimeout(resolve, 600));
    slowCall.end('slow');
    expect(await read(await slow)).toBe('slow');
    expect(await read(answer)).toBe('');
    const again = get(port, '/again', agent);
    const late = await next();
    late.once('close', () => order.push('answered'));
    late.end('again');
    expect(await read(await again)).toBe('again');
    await drained;
    expect(order).toEqual(['answered', 'close']);
    agent.destroy();
  });

  it('R13 waits no longer than its deadline for a call that never ends', async () => {
    const { server, port, next } = await aServer();
    const drain = createDrain({ server, deadlineMs: 50, lingerMs: 1, close: async () => {} });
    const cut = get(port, '/never').catch((error: unknown) => error);
    await next();
    await drain.start();
    expect(await cut).toMatchObject({ code: 'ECONNRESET' });
  });
});

describe('listen', () => {
  it('R18 says in one clear error that the port is taken, and takes no other', async () => {
    const { server, port } = await aServer();
    const second = createHttpServer(() => {});
    const refused: unknown = await listen(second, { host: '127.0.0.1', port }).catch(
      (error: unknown) => error,
    );
    server.close();
    expect(refused).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(String(refused)).toContain(`the port is taken by another process: 127.0.0.1:${port}`);
    expect(second.listening).toBe(false);
  });
});

describe('hostGuard', () => {
  const guard = hostGuard({
    allowedHosts: ['localhost', '127.0.0.1', '[::1]', 'mcp.example.com'],
    allowedOrigins: ['https://mcp.example.com'],
  });
  const codeOf = (headers: Record<string, string>): string | null => guard(headers)?.code ?? null;

  it.each(['localhost', 'LOCALHOST:3000', '127.0.0.1:80', '[::1]:9', 'mcp.example.com'])(
    'C02 serves the listed host %s',
    (host) => {
      expect(codeOf({ host })).toBeNull();
      expect(codeOf({ host })).toBeNull();
    },
  );

  it.each(['evil.example', 'localhost.evil.example', 'localhost.', 'a@localhost', 'localhost:1:2', ''])(
    'C02 refuses the host "%s"',
    (host) => expect(codeOf({ host })).toBe('HOST_NOT_ALLOWED'),
  );

  it('C02 refuses a request without a Host', () => expect(codeOf({})).toBe('HOST_NOT_ALLOWED'));

  it('C01 serves no Origin and the listed one, refuses every other, null included', () => {
    const host = 'localhost';
    expect(codeOf({ host })).toBeNull();
    expect(codeOf({ host, origin: 'https://mcp.example.com' })).toBeNull();
    for (const origin of ['https://evil.example', 'null', 'https://mcp.example.com.evil.example', '']) {
      expect(codeOf({ host, origin })).toBe('ORIGIN_NOT_ALLOWED');
    }
  });
});
