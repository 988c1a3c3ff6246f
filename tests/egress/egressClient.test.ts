import type { LookupAddress } from 'node:dns';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createEgressClient, type EgressClientOptions } from '../../backend/src/egress/egressClient.js';
import type { EgressResponse } from '../../backend/src/egress/egressCall.js';
import { createGuardedLookup } from '../../backend/src/egress/guardedConnector.js';
import { AppError } from '../../backend/src/errors/appError.js';
import {
  dieMidway,
  drip,
  garbage,
  gzipBomb,
  hang,
  json,
  redirect,
  reply,
  stall,
  startRecordingUpstream,
  type RecordingUpstream,
} from '../support/recordingUpstream.js';
import { gzipSync } from 'node:zlib';

const privateRules = { allowHosts: null, allowPrivate: true };
let upstream: RecordingUpstream;
const opened: AsyncDisposable[] = [];

beforeEach(async () => {
  upstream = await startRecordingUpstream();
  opened.push(upstream);
});
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

function aClient(options: Partial<EgressClientOptions> = {}) {
  const client = createEgressClient({ rules: privateRules, ...options });
  opened.push(client);
  return client;
}

interface Sending {
  readonly client?: ReturnType<typeof aClient>;
  readonly origin?: string;
  readonly method?: 'GET' | 'POST';
  readonly headers?: readonly string[];
  readonly body?: string;
  readonly maxBytes?: number;
  readonly totalTimeoutMs?: number;
  readonly signal?: AbortSignal;
}

function send(target: string, given: Sending = {}): Promise<EgressResponse> {
  const client = given.client ?? aClient();
  return client.send(
    {
      method: given.method ?? 'GET',
      destination: client.parse(given.origin ?? upstream.origin),
      target,
      headers: given.headers ?? [],
      body: given.body ?? null,
      maxBytes: given.maxBytes ?? 10_485_760,
      totalTimeoutMs: given.totalTimeoutMs ?? 10_000,
    },
    given.signal,
  );
}

async function failure(promise: Promise<unknown>): Promise<AppError> {
  const error: unknown = await promise.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(AppError);
  return error as AppError;
}

describe('what is sent and received', () => {
  it('D07 sends the given headers and nothing of its own besides the framing', async () => {
    const response = await send('/things?a=%2F', {
      method: 'POST',
      headers: ['X-Key', 'k', 'accept', 'application/json'],
      body: '{"a":1}',
    });
    expect(response.status).toBe(200);
    const [request] = upstream.requests;
    expect(request).toMatchObject({ method: 'POST', target: '/things?a=%2F', body: '{"a":1}' });
    expect(Object.keys(request?.headers ?? {}).sort()).toEqual([
      'accept',
      'connection',
      'content-length',
      'host',
      'x-key',
    ]);
  });

  it('decodes gzip, deflate and brotli bodies and refuses other codings', async () => {
    const text = JSON.stringify({ text: 'a'.repeat(50_000) });
    upstream.on('/gzip', reply(200, gzipSync(text), { 'content-encoding': 'gzip' }));
    upstream.on('/odd', reply(200, 'x', { 'content-encoding': 'zstd' }));
    upstream.on('/broken', reply(200, 'not gzip', { 'content-encoding': 'gzip' }));
    expect((await send('/gzip')).body.toString()).toBe(text);
    expect((await failure(send('/odd'))).code).toBe('UPSTREAM_FAILED');
    expect((await failure(send('/broken'))).code).toBe('UPSTREAM_FAILED');
  });

  it('I11 keeps at most the given connections and uses them again', async () => {
    const client = aClient({ connections: 2 });
    await Promise.all(Array.from({ length: 20 }, () => send('/', { client })));
    expect(upstream.requests).toHaveLength(20);
    expect(upstream.connections.accepted).toBeLessThanOrEqual(2);
    await send('/', { client });
    expect(upstream.connections.accepted).toBeLessThanOrEqual(2);
  });

  it('I11 opens up to 50 connections when nothing else is said', async () => {
    upstream.on('/hang', hang);
    const stop = new AbortController();
    const client = aClient();
    const calls = Array.from({ length: 60 }, () =>
      send('/hang', { client, signal: stop.signal }).catch(() => 0),
    );
    await upstream.until(() => upstream.requests.length === 50);
    expect(upstream.connections.accepted).toBe(50);
    stop.abort(new Error('enough'));
    await Promise.all(calls);
  });

  it('refuses more than its share of waiting requests at once', async () => {
    upstream.on('/hang', hang);
    const stop = new AbortController();
    const client = aClient({ connections: 1, requestsMax: 2 });
    const calls = [1, 2].map(() => send('/hang', { client, signal: stop.signal }).catch(() => 0));
    expect((await failure(send('/', { client }))).code).toBe('SERVICE_SATURATED');
    stop.abort();
    await Promise.all(calls);
  });

  it('never writes a request that was given up while it waited for a connection', async () => {
    upstream.on('/hang', hang);
    const client = aClient({ connections: 1 });
    const [first, second] = [new AbortController(), new AbortController()];
    const holding = send('/hang', { client, signal: first.signal }).catch(() => 0);
    await upstream.until(() => upstream.requests.length === 1);
    const waiting = send('/late', { client, signal: second.signal });
    second.abort(new Error('changed my mind'));
    await expect(waiting).rejects.toThrow('changed my mind');
    first.abort();
    await holding;
    await send('/next', { client });
    expect(upstream.requests.map((request) => request.target)).toEqual(['/hang', '/next']);
  });

  it('hands the abort to the upstream', async () => {
    upstream.on('/hang', hang);
    const stop = new AbortController();
    const call = send('/hang', { signal: stop.signal });
    await upstream.until(() => upstream.requests.length === 1);
    stop.abort(new Error('client left'));
    await expect(call).rejects.toThrow('client left');
    await upstream.until(() => upstream.abandoned === 1);
  });
});

describe('where it goes', () => {
  it('E01 refuses a literal private address at connect as well', async () => {
    const client = aClient({ rules: { allowHosts: null, allowPrivate: false } });
    const destination = { origin: upstream.origin, pathname: '/', search: '' };
    const error = await failure(
      client.send({
        method: 'GET',
        destination,
        target: '/',
        headers: [],
        maxBytes: 1_000,
        totalTimeoutMs: 5_000,
      }),
    );
    expect(error.code).toBe('EGRESS_DENIED');
    expect(upstream.connections.accepted).toBe(0);
  });

  it.each([
    '127.0.0.1',
    '169.254.169.254',
    '10.0.0.1',
    '::1',
    '::ffff:127.0.0.1',
    '100.64.0.1',
    '198.18.0.1',
  ])('E02 refuses a public name that leads to %s, before any connection', async (address) => {
    const client = aClient({
      rules: { allowHosts: null, allowPrivate: false },
      resolveHost: (_host, done) => done(null, [{ address, family: address.includes(':') ? 6 : 4 }]),
    });
    const origin = `https://api.example.com:${upstream.port}`;
    expect((await failure(send('/', { client, origin }))).code).toBe('EGRESS_DENIED');
    expect(upstream.connections.accepted).toBe(0);
  });

  it('E04 follows no redirect, neither 302 to the inside nor 307 with a body', async () => {
    await using other = await startRecordingUpstream();
    upstream.on('/302', redirect(302, 'http://169.254.169.254/'));
    upstream.on('/307', redirect(307, `${other.origin}/steal`));
    const headers = ['x-api-key', 'k'];
    expect((await send('/302', { headers })).status).toBe(302);
    expect((await send('/307', { headers, method: 'POST', body: 'secret' })).status).toBe(307);
    expect(other.requests).toHaveLength(0);
    expect(upstream.requests).toHaveLength(2);
  });

  it('E05 looks a name up once for a connection and goes to the addresses that were checked', async () => {
    const answers: LookupAddress[][] = [
      [{ address: '93.184.216.34', family: 4 }],
      [{ address: '127.0.0.1', family: 4 }],
    ];
    let asked = 0;
    const lookup = createGuardedLookup((_host, done) => done(null, answers[asked++] ?? []), false);
    const ask = (all: boolean): Promise<unknown> =>
      new Promise((resolve, reject) =>
        lookup('rebind.example.com', { all }, (error, address) => (error ? reject(error) : resolve(address))),
      );
    expect(await ask(true)).toEqual([{ address: '93.184.216.34', family: 4 }]);
    expect(asked).toBe(1);
    expect((await failure(ask(true))).code).toBe('EGRESS_DENIED');
  });

  it('E05 refuses an answer that mixes a public with a private address', async () => {
    const client = aClient({
      rules: { allowHosts: null, allowPrivate: false },
      resolveHost: (_host, done) =>
        done(null, [
          { address: '93.184.216.34', family: 4 },
          { address: '127.0.0.1', family: 4 },
        ]),
    });
    const error = await failure(send('/', { client, origin: `https://api.example.com:${upstream.port}` }));
    expect(error.code).toBe('EGRESS_DENIED');
    expect(upstream.connections.accepted).toBe(0);
  });

  it('E05 stays on the pinned connection when the name moves, and checks the new address with the next one', async () => {
    const answers = ['127.0.0.1', '169.254.169.254'];
    let asked = 0;
    const client = aClient({
      connections: 1,
      resolveHost: (_host, done) => done(null, [{ address: answers[asked++] ?? '0.0.0.0', family: 4 }]),
    });
    const origin = `http://rebind.test:${upstream.port}`;
    for (let call = 0; call < 3; call += 1) await send('/', { client, origin });
    expect(asked).toBe(1);
    upstream.closeIdleConnections();
    await upstream.until(() => upstream.connections.open === 0);
    expect((await failure(send('/', { client, origin }))).code).toBe('EGRESS_DENIED');
    expect(upstream.requests).toHaveLength(3);
  });
});

describe('bounds', () => {
  it('R05 gives up on an upstream that hangs and closes its connection', async () => {
    upstream.on('/hang', hang);
    const started = performance.now();
    expect((await failure(send('/hang', { totalTimeoutMs: 200 }))).code).toBe('UPSTREAM_TIMEOUT');
    expect(performance.now() - started).toBeLessThan(3_000);
    await upstream.until(() => upstream.abandoned === 1);
  });

  it('R09 ends a drip by the total deadline, and silence by the idle one', async () => {
    upstream.on('/drip', drip(20));
    upstream.on('/stall', stall);
    expect((await failure(send('/drip', { totalTimeoutMs: 300 }))).code).toBe('UPSTREAM_TIMEOUT');
    const client = aClient({ idleTimeoutMs: 200 });
    expect((await failure(send('/stall', { client, totalTimeoutMs: 30_000 }))).code).toBe('UPSTREAM_TIMEOUT');
    await upstream.until(() => upstream.abandoned === 2);
  });

  it('R08 caps the body as sent, announced or not', async () => {
    upstream.on('/announced', reply(200, 'x'.repeat(3_000)));
    upstream.on('/chunked', (response) => {
      for (let piece = 0; piece < 3; piece += 1) response.write('x'.repeat(1_000));
      response.end();
    });
    for (const path of ['/announced', '/chunked']) {
      const error = await failure(send(path, { maxBytes: 2_000 }));
      expect(error.code).toBe('UPSTREAM_FAILED');
      expect(error.options.publicDetail).toContain('2000 bytes');
    }
  });

  it('R08 stops a gzip bomb at the cap of the inflated size', async () => {
    upstream.on('/bomb', gzipBomb(200 * 1024 * 1024));
    const before = process.memoryUsage.rss();
    const error = await failure(send('/bomb', { maxBytes: 10_485_760 }));
    expect(error.options.publicDetail).toContain('10485760 bytes');
    expect(process.memoryUsage.rss() - before).toBeLessThan(100 * 1024 * 1024);
  });

  it('R06 R07 reports a broken connection and bytes that are no HTTP', async () => {
    upstream.on('/dies', dieMidway);
    upstream.on('/garbage', garbage);
    expect((await failure(send('/dies'))).code).toBe('UPSTREAM_FAILED');
    expect((await failure(send('/garbage'))).code).toBe('UPSTREAM_FAILED');
  });

  it('tells an upstream that nobody reached from one that broke', async () => {
    const { port } = upstream;
    await upstream[Symbol.asyncDispose]();
    opened.splice(opened.indexOf(upstream), 1);
    expect((await failure(send('/', { origin: `http://127.0.0.1:${port}` }))).code).toBe(
      'UPSTREAM_UNREACHABLE',
    );
  });
});

describe('what errors say', () => {
  it.each([
    ['a header value', '/', ['x-api-key', 'canary\r\nx: y']],
    ['a header value beyond latin1', '/', ['x-api-key', 'canary€']],
    ['a target', '/canary \r\n', []],
  ])('E08 refuses %s that HTTP cannot carry, without quoting it', async (_what, target, headers) => {
    const error = await failure(send(target, { headers }));
    expect(error.code).toBe('UPSTREAM_FAILED');
    expect(`${error.stack} ${JSON.stringify(error.options)} ${String(error.cause)}`).not.toContain('canary');
    expect(upstream.requests).toHaveLength(0);
  });

  it('H01 quotes no host, path or query of what failed', async () => {
    upstream.on('/canary', garbage);
    const client = aClient({
      resolveHost: (_host, done) => done(Object.assign(new Error('canary'), { code: 'ENOTFOUND' }), []),
    });
    const errors = [
      await failure(send('/canary?canary=1')),
      await failure(send('/', { client, origin: 'http://canary.test' })),
    ];
    for (const error of errors) {
      expect(
        `${error.stack?.split('\n')[0]} ${JSON.stringify(error.options)} ${String(error.cause)}`,
      ).not.toContain('canary');
    }
    expect(errors[1]?.code).toBe('UPSTREAM_UNREACHABLE');
  });
});

it('answers a request with what the upstream said, whatever the status', async () => {
  upstream.on('/teapot', json(418, { short: true }, { 'x-more': '1' }));
  const response = await send('/teapot');
  expect(response.status).toBe(418);
  expect(response.headers['x-more']).toBe('1');
  expect(JSON.parse(response.body.toString())).toEqual({ short: true });
});
