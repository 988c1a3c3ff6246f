import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { AppError } from '../../../../backend/src/errors/appError.js';
import type {
  RawAnswer,
  RawHead,
  RawRequest,
  RawUpstream,
} from '../../../../backend/src/mcp-servers/universal-mcp-server/upstream/remote/rawUpstream.js';
import {
  anInstance,
  aRemoteService,
  call,
  never,
  openRemote,
  termsOf,
  type OpenedRemote,
} from '../../../support/aRemoteUpstream.js';
import {
  dieMidway,
  drip,
  garbage,
  gzipBomb,
  hang,
  json,
  redirect,
  reply,
  startRecordingUpstream,
  type Behaviour,
  type RecordingUpstream,
} from '../../../support/recordingUpstream.js';
import { createCircuits } from '../../../../backend/src/mcp-servers/universal-mcp-server/upstream/circuits.js';

let server: RecordingUpstream;
const opened: AsyncDisposable[] = [];
beforeEach(async () => {
  server = await startRecordingUpstream();
  opened.push(server);
});
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

type Changes = Parameters<typeof openRemote>[1];

function open(remote: object = {}, options: Changes = {}, changes: object = {}): OpenedRemote {
  const limits = { timeoutMs: 1_500 };
  const definition = aRemoteService(
    `${server.origin}/mcp`,
    { protocol: 'legacy', ...remote },
    { limits, ...changes },
  );
  const site = openRemote(definition, options);
  opened.push(site);
  return site;
}

class Heard implements RawAnswer {
  head: RawHead | null = null;
  text = '';
  readonly ends: (AppError | null)[] = [];
  readonly over: Promise<AppError | null>;
  #settle!: (error: AppError | null) => void;
  constructor() {
    this.over = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }
  onHead(head: RawHead): void {
    this.head = head;
  }
  onData(piece: Buffer): void {
    this.text += piece.toString();
  }
  onEnd(): void {
    this.ends.push(null);
    this.#settle(null);
  }
  onError(error: AppError): void {
    this.ends.push(error);
    this.#settle(error);
  }
}

const ping = Buffer.from('{"jsonrpc":"2.0","id":1,"method":"ping"}');
const post: RawRequest = {
  lane: 'call',
  method: 'POST',
  body: ping,
  sessionId: 's-1',
  headers: ['content-type', 'application/json'],
};

function send({ upstream }: OpenedRemote, user = 'alice', request = post): Heard {
  const heard = new Heard();
  (upstream.raw as RawUpstream).exchange(anInstance(user), request, heard);
  return heard;
}

const fine = json(200, { jsonrpc: '2.0', id: 1, result: {} });

const onlyFresh: Behaviour = (response, request) =>
  (request.headers['authorization'] === 'Bearer fresh' ? fine : reply(401, ''))(response, request);

const initialized: Behaviour = (response, request) => {
  const { id, method } = JSON.parse(request.body === '' ? '{}' : request.body) as {
    id?: number;
    method?: string;
  };
  if (id === undefined) return void response.writeHead(202).end();
  const result =
    method === 'initialize'
      ? { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: {} }
      : { tools: [] };
  json(200, { jsonrpc: '2.0', id, result }, { 'mcp-session-id': 'probe-1' })(response, request);
};

describe('bytes for the pass-through', () => {
  it('D07 D08 sends the protocol’s headers and those of the file, and gives of the answer what is asked for', async () => {
    const secrets = {
      'set-cookie': 'a=b',
      'www-authenticate': 'Bearer',
      location: 'http://10.0.0.1/',
      'mcp-session-id': 's-2',
      'content-length': '36',
    };
    server.on('/mcp', json(200, { jsonrpc: '2.0', id: 1, result: {} }, secrets));
    const heard = send(open());
    expect(await heard.over).toBeNull();
    expect(Object.keys(server.requests[0]?.headers ?? {}).sort()).toEqual([
      'accept-encoding',
      'authorization',
      'connection',
      'content-length',
      'content-type',
      'host',
      'mcp-session-id',
      'user-agent',
    ]);
    expect(server.requests[0]?.headers).toMatchObject({
      authorization: 'Bearer key-of-alice',
      'mcp-session-id': 's-1',
    });
    const { status, form, sessionId, contentLength } = heard.head as RawHead;
    expect({ status, form, sessionId, contentLength }).toEqual({
      status: 200,
      form: 'json',
      sessionId: 's-2',
      contentLength: 36,
    });
  });

  it('D07 lets no file set how a message is written, nor what belongs to the connection', async () => {
    server.on('/mcp', fine);
    const site = open({
      headers: {
        Accept: 'text/html',
        'Content-Type': 'text/plain',
        'Accept-Encoding': 'gzip',
        'X-Team': 'a',
      },
    });
    await send(site).over;
    expect(server.requests[0]?.headers).toMatchObject({
      'content-type': 'application/json',
      'accept-encoding': 'identity',
      'x-team': 'a',
    });
    expect(server.requests[0]?.headers['accept']).toBeUndefined();
  });

  it.each([
    [401, 'EXPIRED_CREDENTIALS'],
    [403, 'CREDENTIAL_REJECTED'],
    [429, 'RATE_LIMIT_EXCEEDED'],
    [302, 'UPSTREAM_FAILED'],
    [503, 'UPSTREAM_FAILED'],
  ])('tells status %i as an error, without its body', async (status, code) => {
    server.on('/mcp', reply(status, 'canary', { location: 'http://10.0.0.1/', 'retry-after': '7' }));
    const site = open();
    const heard = send(site);
    const error = await heard.over;
    expect(error?.code).toBe(code);
    expect(heard.head).toBeNull();
    expect(JSON.stringify([error?.message, error?.options])).not.toContain('canary');
    expect(error?.options.retryAfterSeconds ?? 7).toBe(7);
    expect(site.states.map(({ state }) => state)).toEqual(status === 401 ? ['needs_reauth'] : []);
    expect(server.requests).toHaveLength(1);
  });

  it('R20 renews a refused credential once and sends the message again, before anything of the answer was passed on', async () => {
    const asked: string[] = [];
    const renewal = {
      renew: (instance: { readonly id: string }, used?: { readonly token: string | null }) => {
        asked.push(`${instance.id} ${used?.token}`);
        return Promise.resolve({ token: 'fresh', fields: new Map() });
      },
    };
    server.on('/mcp', onlyFresh);
    const site = open({}, { renewal });
    const heard = send(site);
    expect(await heard.over).toBeNull();
    expect(heard.head?.status).toBe(200);
    // The row may be older than the values: what was refused is told by the values themselves.
    expect(asked).toEqual(['instance-of-alice key-of-alice']);
    server.on('/mcp', reply(401, ''));
    expect((await send(site, 'bob').over)?.code).toBe('EXPIRED_CREDENTIALS');
    expect(asked).toEqual(['instance-of-alice key-of-alice', 'instance-of-bob key-of-bob']);
  });

  it('uses the credential as it is when each message leaves, and nobody else’s', async () => {
    server.on('/mcp', fine);
    const site = open();
    await send(site).over;
    site.tokens.set('instance-of-alice', 'second');
    await Promise.all([send(site).over, send(site, 'bob').over]);
    expect(server.requests.map(({ headers }) => String(headers['authorization'])).toSorted()).toEqual([
      'Bearer key-of-alice',
      'Bearer key-of-bob',
      'Bearer second',
    ]);
  });

  it('R20 hears a renewal that fails even where nobody waits for it', () => {
    const failed: Promise<never> = Promise.reject(new Error('not renewed'));
    const heard = jest.spyOn(failed, 'catch');
    const { upstream } = open({ protocol: 'auto' }, { openValues: () => failed });
    expect(upstream.raw?.knownEra(anInstance('alice'), 'legacy')).toBeNull();
    // Without a listener the rejection would end the process, and everybody else's calls with it.
    expect(heard).toHaveBeenCalledTimes(1);
  });

  it('says nothing before it has returned, even where nothing can be sent', async () => {
    const site = open(
      {},
      {
        openValues: () => {
          throw new Error('sealed');
        },
      },
    );
    const heard = send(site);
    expect(heard.ends).toEqual([]);
    expect((await heard.over)?.code).toBe('INTERNAL');
  });
});

describe('a server at fault', () => {
  const faults: readonly (readonly [string, Behaviour, string])[] = [
    ['hangs', hang, 'UPSTREAM_TIMEOUT'],
    ['dies in the middle', dieMidway, 'UPSTREAM_FAILED'],
    ['sends garbage', garbage, 'UPSTREAM_FAILED'],
    ['sends a bomb that nobody asked for', gzipBomb(200_000_000), 'UPSTREAM_FAILED'],
    [
      'sends more than is allowed',
      reply(200, Buffer.alloc(3_000_000), { 'content-type': 'application/json' }),
      'UPSTREAM_FAILED',
    ],
    ['redirects inwards', redirect(307, 'http://169.254.169.254/'), 'UPSTREAM_FAILED'],
  ];

  it.each(faults)(
    'R05 R06 R07 R08 that %s is one error, and another user’s call is untouched',
    async (_name, fault, code) => {
      server.on('/mcp', (response, request) =>
        (request.headers['authorization'] === 'Bearer key-of-alice' ? fault : fine)(response, request),
      );
      const site = open({}, {}, { limits: { timeoutMs: 1_500, maxResponseBytes: 1_048_576 } });
      const [alice, bob] = [send(site), send(site, 'bob')];
      expect((await alice.over)?.code).toBe(code);
      expect(await bob.over).toBeNull();
      expect(alice.ends).toHaveLength(1);
    },
  );

  it.each([
    ['no JSON', reply(200, 'hello', { 'content-type': 'application/json' })],
    ['no MCP message', json(200, { hello: 'world' })],
    ['a web page', reply(200, '<html>', { 'content-type': 'text/html' })],
    ['an event that is no JSON', reply(200, 'data: hello\n\n', { 'content-type': 'text/event-stream' })],
    [
      'an event without its end',
      reply(200, 'data: {"jsonrpc":"2.0","id":1,"result":{}}', { 'content-type': 'text/event-stream' }),
    ],
  ])('R07 that answers with %s is not joined', async (_name, behaviour) => {
    server.on('/mcp', behaviour);
    await expect(open().upstream.connect(termsOf('alice'), never)).rejects.toMatchObject({
      code: 'UPSTREAM_FAILED',
    });
  });

  it('R09 that drips meets the deadline of its start', async () => {
    server.on('/mcp', drip(100));
    await expect(open().upstream.connect(termsOf('alice'), never)).rejects.toMatchObject({
      code: 'UPSTREAM_TIMEOUT',
    });
    await server.until(() => server.abandoned > 0);
  });

  it('is left alone for a while after many faults', async () => {
    server.on('/mcp', reply(500, ''));
    const circuits = createCircuits();
    const site = open({}, { circuits });
    for (let at = 0; at < 5; at += 1) await send(site).over;
    expect((await send(site).over)?.code).toBe('SERVICE_UNAVAILABLE');
    expect(server.requests).toHaveLength(5);
  });
});

describe('the probe', () => {
  it('accepts a credential with which the server lists its tools, and leaves no session behind', async () => {
    server.on('/mcp', initialized);
    const site = open();
    expect(await site.upstream.probe(termsOf('alice'), never)).toEqual({ outcome: 'accepted' });
    expect(server.requests.at(-1)).toMatchObject({
      method: 'DELETE',
      headers: { 'mcp-session-id': 'probe-1' },
    });
    expect(site.states).toEqual([]);
  });

  it.each([401, 403])(
    'rejects one that is refused with %i, in plain words, and notes nothing',
    async (status) => {
      server.on('/mcp', reply(status, 'canary'));
      const site = open();
      const outcome = await site.upstream.probe(termsOf('alice'), never);
      expect(outcome).toMatchObject({
        outcome: 'rejected',
        reason: expect.stringContaining(`status ${status}`),
      });
      expect(site.states).toEqual([]);
    },
  );

  it('says that a server cannot be reached rather than that the credential is bad', async () => {
    server.on('/mcp', reply(502, ''));
    expect(await open().upstream.probe(termsOf('alice'), never)).toMatchObject({ outcome: 'unreachable' });
  });

  it('R06 answers a call of a session whose server died with one error', async () => {
    server.on('/mcp', initialized);
    const site = open();
    const connection = await site.upstream.connect(termsOf('alice'), never);
    server.on('/mcp', dieMidway);
    await expect(call(connection, 'any')).rejects.toMatchObject({ code: 'UPSTREAM_FAILED' });
    expect(server.requests.filter(({ body }) => body.includes('tools/call'))).toHaveLength(1);
  });
});
