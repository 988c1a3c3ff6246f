import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { EgressHead, EgressReceiver } from '../../backend/src/egress/egressExchange.js';
import {
  createEgressStreams,
  identityCoding,
  type EgressStreamsOptions,
  type Exchange,
  type StreamRequest,
} from '../../backend/src/egress/egressStream.js';
import type { AppError } from '../../backend/src/errors/appError.js';
import { waitUntil } from '../support/eventually.js';
import {
  dieMidway,
  garbage,
  gzipBomb,
  hang,
  redirect,
  reply,
  stall,
  startRecordingUpstream,
  type RecordingUpstream,
} from '../support/recordingUpstream.js';

let upstream: RecordingUpstream;
const opened: AsyncDisposable[] = [];

beforeEach(async () => {
  upstream = await startRecordingUpstream();
  opened.push(upstream);
});
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

function someStreams(options: Partial<EgressStreamsOptions> = {}) {
  const streams = createEgressStreams({ rules: { allowHosts: null, allowPrivate: true }, ...options });
  opened.push(streams);
  return streams;
}

/** Keeps what it heard; `over` resolves with the error, or null at a good end. */
class Ear implements EgressReceiver {
  head: EgressHead | null = null;
  readonly pieces: Buffer[] = [];
  readonly terminal: (AppError | null)[] = [];
  readonly over: Promise<AppError | null>;
  #settle!: (error: AppError | null) => void;
  onPiece: (() => void) | null = null;

  constructor() {
    this.over = new Promise((resolve) => (this.#settle = resolve));
  }
  get text(): string {
    return Buffer.concat(this.pieces).toString();
  }
  onHead(head: EgressHead): void {
    this.head = head;
  }
  onData(piece: Buffer): void {
    this.pieces.push(piece);
    this.onPiece?.();
  }
  onEnd(): void {
    this.terminal.push(null);
    this.#settle(null);
  }
  onError(error: AppError): void {
    this.terminal.push(error);
    this.#settle(error);
  }
}

type Streams = ReturnType<typeof someStreams>;

function open(
  streams: Streams,
  target: string,
  given: Partial<StreamRequest> & { readonly origin?: string } = {},
): { readonly ear: Ear; readonly exchange: Exchange } {
  const ear = new Ear();
  const exchange = streams.open(
    {
      method: 'GET',
      destination: streams.parse(given.origin ?? upstream.origin),
      target,
      headers: identityCoding,
      body: null,
      lane: 'call',
      headersTimeoutMs: 10_000,
      idleTimeoutMs: 10_000,
      quietTimeoutMs: 10_000,
      maxBytes: 10_485_760,
      ...given,
    },
    ear,
  );
  return { ear, exchange };
}

describe('an answer as it comes', () => {
  it('hands on head, pieces and end, and sends the given headers alone (D07)', async () => {
    const streams = someStreams();
    upstream.on(
      '/mcp',
      reply(200, '{"ok":true}', { 'content-type': 'Application/JSON; charset=utf-8', 'x-a': 'b' }),
    );
    const headers = [...identityCoding, 'x-key', 'k'];
    const { ear } = open(streams, '/mcp?x=1', { method: 'POST', body: Buffer.from('{}'), headers });
    expect(await ear.over).toBeNull();
    expect(ear.head).toMatchObject({ status: 200, contentType: 'application/json' });
    expect(ear.head?.header('x-a')).toBe('b');
    expect(ear.head?.header('x-b')).toBeNull();
    expect(ear.text).toBe('{"ok":true}');
    expect(upstream.requests[0]).toMatchObject({ method: 'POST', target: '/mcp?x=1', body: '{}' });
    expect(Object.keys(upstream.requests[0]?.headers ?? {}).sort()).toEqual([
      'accept-encoding',
      'connection',
      'content-length',
      'host',
      'x-key',
    ]);
    expect(streams.counts()).toEqual({ calls: 0, streams: 0 });
  });

  it('R24 stops reading while it is paused and uses the connection again after it', async () => {
    const streams = someStreams({ connections: 1 });
    upstream.on('/large', reply(200, Buffer.alloc(4_000_000, 97)));
    const { ear, exchange } = open(streams, '/large');
    ear.onPiece = () => exchange.pause();
    await waitUntil('a piece', () => ear.pieces.length > 0);
    // What the socket had read already may still come; the rest waits with the other side.
    for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(Buffer.concat(ear.pieces).length).toBeLessThan(1_000_000);
    ear.onPiece = null;
    exchange.resume();
    expect(await ear.over).toBeNull();
    expect(ear.text).toHaveLength(4_000_000);
    const second = open(streams, '/');
    expect(await second.ear.over).toBeNull();
    expect(upstream.connections.accepted).toBe(1);
  });

  it('R24 closes the connection of a paused exchange that is given up, and serves the next one', async () => {
    const streams = someStreams({ connections: 1 });
    upstream.on('/large', reply(200, Buffer.alloc(4_000_000, 97)));
    const { ear, exchange } = open(streams, '/large');
    ear.onPiece = () => exchange.pause();
    await waitUntil('a piece', () => ear.pieces.length > 0);
    exchange.abort();
    exchange.resume();
    const second = open(streams, '/');
    expect(await second.ear.over).toBeNull();
    expect(ear.terminal).toEqual([]);
    // Its socket was not used again.
    expect(upstream.connections.accepted).toBe(2);
    expect(streams.counts()).toEqual({ calls: 0, streams: 0 });
  });
});

describe('calls and streams', () => {
  it('keeps streams out of the pool of calls', async () => {
    const streams = someStreams({ connections: 2 });
    upstream.on('/events', (response) =>
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders(),
    );
    const held = Array.from({ length: 50 }, () =>
      open(streams, '/events', { lane: 'stream', quietTimeoutMs: 0 }),
    );
    await waitUntil('every head', () => held.every(({ ear }) => ear.head !== null));
    expect(streams.counts()).toEqual({ calls: 0, streams: 50 });
    expect(await open(streams, '/').ear.over).toBeNull();
    for (const { exchange } of held) exchange.abort();
    expect(streams.counts()).toEqual({ calls: 0, streams: 0 });
    await upstream.until(() => upstream.abandoned === 50);
  });

  it('R09 cuts a body that goes silent, and no event stream unless that is asked for', async () => {
    const streams = someStreams();
    upstream.on('/stall', stall);
    upstream.on('/events', (response) =>
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders(),
    );
    const lane = 'stream' as const;
    const quiet = open(streams, '/events', { lane, idleTimeoutMs: 100, quietTimeoutMs: 0 });
    const bounded = open(streams, '/events', { quietTimeoutMs: 1_000 });
    const call = open(streams, '/stall', { idleTimeoutMs: 100 });
    expect((await call.ear.over)?.code).toBe('UPSTREAM_TIMEOUT');
    expect((await bounded.ear.over)?.code).toBe('UPSTREAM_TIMEOUT');
    expect(quiet.ear.terminal).toEqual([]);
    quiet.exchange.abort();
  });

  it('refuses more calls than may be under way, at once', async () => {
    const streams = someStreams({ callsMax: 1 });
    upstream.on('/hang', hang);
    const first = open(streams, '/hang');
    const second = open(streams, '/');
    expect((await second.ear.over)?.code).toBe('SERVICE_SATURATED');
    first.exchange.abort();
    expect(await open(streams, '/').ear.over).toBeNull();
  });
});

describe('what goes wrong comes once', () => {
  it.each([
    ['an answer that breaks off', '/die', dieMidway, 'UPSTREAM_FAILED'],
    ['garbage', '/garbage', garbage, 'UPSTREAM_FAILED'],
    ['a coded answer though none was asked for', '/bomb', gzipBomb(1_000_000), 'UPSTREAM_FAILED'],
    ['no answer at all', '/hang', hang, 'UPSTREAM_TIMEOUT'],
  ] as const)(
    'R05 R06 R07 R08 tells %s as one error and serves the next call',
    async (_name, path, behaviour, code) => {
      const streams = someStreams();
      upstream.on(path, behaviour);
      const { ear } = open(streams, path, { headersTimeoutMs: 1_000 });
      expect((await ear.over)?.code).toBe(code);
      expect(await open(streams, '/').ear.over).toBeNull();
      expect(ear.terminal).toHaveLength(1);
    },
  );

  it('R08 refuses more bytes than allowed, announced or not', async () => {
    const streams = someStreams();
    upstream.on('/announced', reply(200, Buffer.alloc(5_000), { 'content-length': '5000' }));
    upstream.on('/chunked', (response) => {
      response.write(Buffer.alloc(3_000));
      response.end(Buffer.alloc(3_000));
    });
    for (const path of ['/announced', '/chunked']) {
      const { ear } = open(streams, path, { maxBytes: 4_000 });
      expect((await ear.over)?.code).toBe('UPSTREAM_FAILED');
      expect(ear.terminal).toHaveLength(1);
    }
  });

  it('E04 hands a redirect on as a status and follows nothing', async () => {
    const streams = someStreams();
    upstream.on('/moved', redirect(307, `${upstream.origin}/elsewhere`));
    const { ear } = open(streams, '/moved', { method: 'POST', body: '{}' });
    expect(await ear.over).toBeNull();
    expect(ear.head?.status).toBe(307);
    expect(upstream.requests).toHaveLength(1);
  });

  it('E01 E05 checks addresses as it connects, and tells an unreachable service from a broken one', async () => {
    const guarded = someStreams({
      rules: { allowHosts: null, allowPrivate: false },
      resolveHost: (_hostname, done) => done(null, [{ address: '127.0.0.1', family: 4 }]),
    });
    const { ear } = open(guarded, '/', { origin: 'https://rebinding.example.com' });
    expect((await ear.over)?.code).toBe('EGRESS_DENIED');
    expect(() => guarded.parse('http://127.0.0.1/')).toThrow(
      expect.objectContaining({ code: 'EGRESS_DENIED' }),
    );
    const streams = someStreams();
    await upstream[Symbol.asyncDispose]();
    opened.splice(opened.indexOf(upstream), 1);
    expect((await open(streams, '/').ear.over)?.code).toBe('UPSTREAM_UNREACHABLE');
  });

  it('E08 never quotes a header value that no message can carry', async () => {
    const streams = someStreams();
    const { ear } = open(streams, '/', { headers: ['x-key', 'canary\r\nx-evil: 1'] });
    const error = await ear.over;
    expect(error?.code).toBe('UPSTREAM_FAILED');
    expect(JSON.stringify([error?.message, error?.options, error?.cause])).not.toContain('canary');
  });

  it('gives up a request that waits for a connection without sending it', async () => {
    const streams = someStreams({ connections: 1 });
    upstream.on('/hang', hang);
    const first = open(streams, '/hang');
    const waiting = open(streams, '/waiting');
    await upstream.until(() => upstream.requests.length === 1);
    waiting.exchange.abort();
    first.exchange.abort();
    expect(await open(streams, '/').ear.over).toBeNull();
    expect(upstream.requests.map(({ target }) => target)).toEqual(['/hang', '/']);
  });
});
