import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { AppError } from '../../../../backend/src/errors/appError.js';
import {
  circuitDefaults,
  createCircuits,
} from '../../../../backend/src/mcp-servers/universal-mcp-server/upstream/circuits.js';
import {
  anApiService,
  aTool,
  callTool,
  openApi,
  termsOf,
  type OpenedApi,
} from '../../../support/anApiService.js';
import {
  dieMidway,
  drip,
  gzipBomb,
  hang,
  json,
  startRecordingUpstream,
  type RecordingUpstream,
} from '../../../support/recordingUpstream.js';

function aService(origin: string) {
  return anApiService(
    {
      baseUrl: origin,
      tools: [
        aTool('get', { method: 'GET', path: '/get' }),
        aTool('slow', { method: 'GET', path: '/slow' }, { timeoutMs: 300 }),
        aTool('post', { method: 'POST', path: '/post', bodyFrom: 'args' }),
        aTool(
          'put',
          { method: 'PUT', path: '/put', bodyFrom: 'args' },
          { annotations: { idempotentHint: true } },
        ),
        aTool(
          'kept',
          { method: 'GET', path: '/kept', query: { q: '{q}', p: '{p}' } },
          {
            cacheTtlMs: 300_000,
            inputSchema: { type: 'object', properties: { q: { type: 'string' }, p: { type: 'string' } } },
          },
        ),
      ],
    },
    { limits: { maxResponseBytes: 1_048_576 } },
  );
}

const failure = (promise: Promise<unknown>): Promise<AppError> =>
  promise.then(
    () => {
      throw new Error('it succeeded');
    },
    (error: unknown) => error as AppError,
  );

describe('an api service whose upstream misbehaves', () => {
  let site: RecordingUpstream;
  let opened: OpenedApi;
  const alice = termsOf('alice');
  const bob = termsOf('bob');

  beforeAll(async () => {
    site = await startRecordingUpstream();
    opened = await openApi(aService(site.origin));
  });
  afterAll(async () => {
    await opened[Symbol.asyncDispose]();
    await site[Symbol.asyncDispose]();
  });
  beforeEach(() => site.clear());

  describe('deadlines and sizes', () => {
    it('R05 R09 ends a call whose upstream hangs, or drips for ever', async () => {
      site.on('/slow', hang, drip(20));
      expect((await failure(callTool(opened.upstream, alice, 'slow'))).code).toBe('UPSTREAM_TIMEOUT');
      expect((await failure(callTool(opened.upstream, alice, 'slow'))).code).toBe('UPSTREAM_TIMEOUT');
      await site.until(() => site.abandoned === 2);
    });

    it('R08 stops a gzip bomb', async () => {
      site.on('/get', gzipBomb(64 * 1024 * 1024));
      expect((await failure(callTool(opened.upstream, alice, 'get'))).code).toBe('UPSTREAM_FAILED');
    });

    it('R06 reports an upstream that dies in the middle once, and does not ask again', async () => {
      site.on('/get', dieMidway);
      expect((await failure(callTool(opened.upstream, alice, 'get'))).code).toBe('UPSTREAM_FAILED');
      expect(site.requests).toHaveLength(1);
    });

    it('R23 passes the client’s leaving on, with the signal’s own reason', async () => {
      site.on('/get', hang);
      const stop = new AbortController();
      const call = callTool(opened.upstream, alice, 'get', {}, stop.signal);
      await site.until(() => site.requests.length === 1);
      stop.abort(new Error('client left'));
      await expect(call).rejects.toThrow('client left');
      await site.until(() => site.abandoned === 1);
    });
  });

  describe('trying again', () => {
    it('tries a GET again on a declared status, and an idempotent PUT', async () => {
      site.on('/get', json(503, {}), json(200, { fine: 1 }));
      site.on('/put', json(502, {}), json(200, { fine: 2 }));
      expect((await callTool(opened.upstream, alice, 'get')).content[0]?.text).toBe('{"fine":1}');
      expect((await callTool(opened.upstream, alice, 'put')).content[0]?.text).toBe('{"fine":2}');
      expect(site.requests).toHaveLength(4);
    });

    it('never tries a POST again, nor a status that was not declared', async () => {
      site.on('/post', json(503, {}));
      site.on('/get', json(500, {}));
      expect((await callTool(opened.upstream, alice, 'post')).isError).toBe(true);
      expect((await callTool(opened.upstream, alice, 'get')).isError).toBe(true);
      expect(site.requests).toHaveLength(2);
    });

    it('waits as long as Retry-After asks, and gives up when that is too long', async () => {
      site.on(
        '/get',
        json(429, {}, { 'retry-after': '1' }),
        json(200, {}),
        json(429, {}, { 'retry-after': '3600' }),
      );
      const started = performance.now();
      expect((await callTool(opened.upstream, alice, 'get')).isError).toBeUndefined();
      expect(performance.now() - started).toBeGreaterThanOrEqual(990);
      const limited = await callTool(opened.upstream, alice, 'get');
      expect(limited).toMatchObject({ isError: true });
      expect(limited.content[0]?.text).toContain('Try again in 3600 s');
      expect(site.requests).toHaveLength(3);
    });

    it('spends no more retries than a tenth of the calls when a service is down for long', async () => {
      const limits = { ...circuitDefaults, instanceFaults: Infinity };
      await using fresh = await openApi(aService(site.origin), { circuits: createCircuits({ limits }) });
      site.on('/get', json(503, {}));
      await Promise.all(Array.from({ length: 40 }, () => callTool(fresh.upstream, alice, 'get')));
      // Ten to begin with, four earned.
      expect(site.requests.length - 40).toBeLessThanOrEqual(14);
      expect(site.requests.length - 40).toBeGreaterThanOrEqual(10);
    });
  });

  describe('credentials', () => {
    it('I05 R20 tells the owner of a refused credential where to reconnect, and notes it', async () => {
      site.on('/get', json(401, { message: 'Bad credentials' }));
      const result = await callTool(opened.upstream, alice, 'get');
      expect(result.isError).toBe(true);
      expect(result.content[0]?.text).toMatch(
        /^EXPIRED_CREDENTIALS: Notes .*Bad credentials.*https:\/\/mcp\.example\.com\/console\/connect\/notes/,
      );
      await callTool(opened.upstream, alice, 'get');
      expect(opened.states.filter((note) => note.instanceId === alice.instance.id)).toEqual([
        {
          instanceId: alice.instance.id,
          credentialRevision: 1,
          state: 'needs_reauth',
          cause: 'The service answered with status 401.',
        },
      ]);
    });

    it('12.10 makes an unverified credential ready with its first good call', async () => {
      const carol = termsOf('carol', 'key-of-carol', { state: 'checking' });
      site.on('/get', json(200, {}));
      await callTool(opened.upstream, carol, 'get');
      await callTool(opened.upstream, carol, 'get');
      expect(opened.states.filter((note) => note.instanceId === carol.instance.id)).toEqual([
        { instanceId: carol.instance.id, credentialRevision: 1, state: 'ready', cause: null },
      ]);
    });

    it('a plain 403 is about the thing asked for, and leaves the state alone', async () => {
      site.on('/get', json(403, {}));
      const dora = termsOf('dora');
      expect((await callTool(opened.upstream, dora, 'get')).isError).toBe(true);
      expect(opened.states.some((note) => note.instanceId === dora.instance.id)).toBe(false);
    });

    it('sends nothing without the credential that a template needs', async () => {
      expect((await failure(callTool(opened.upstream, termsOf('eve', null), 'get'))).code).toBe(
        'CREDENTIAL_MISSING',
      );
      expect(site.requests).toHaveLength(0);
    });

    it.each(['canary\r\nX-Evil: 1', 'canary\n', 'canary\u0000', 'canary€'])(
      'E08 refuses a credential that no header can carry, and does not quote it: %j',
      async (token) => {
        const error = await failure(callTool(opened.upstream, termsOf('eve', token), 'get'));
        expect(error.code).toBe('INVALID_REQUEST');
        expect(`${error.message} ${JSON.stringify(error.options)}`).not.toContain('canary');
        expect(site.requests).toHaveLength(0);
      },
    );

    it('keeps two users apart under concurrency: each request carries its own credential', async () => {
      site.on('/get', (response, request) =>
        json(200, { saw: request.headers.authorization })(response, request),
      );
      const users = Array.from({ length: 40 }, (_, index) => `user${index}`);
      const results = await Promise.all(users.map((user) => callTool(opened.upstream, termsOf(user), 'get')));
      results.forEach((result, index) => {
        expect(result.content[0]?.text).toBe(`{"saw":"Bearer key-of-user${index}"}`);
      });
    });
  });

  describe('I11 kept answers', () => {
    it('I11 gives a kept answer for the same arguments, whatever their order', async () => {
      site.on('/kept', json(200, { n: 1 }), json(200, { n: 2 }));
      await callTool(opened.upstream, alice, 'kept', { q: 'a', p: 'b' });
      expect((await callTool(opened.upstream, alice, 'kept', { p: 'b', q: 'a' })).content[0]?.text).toBe(
        '{"n":1}',
      );
      expect(site.requests).toHaveLength(1);
      expect((await callTool(opened.upstream, alice, 'kept', { q: 'other' })).content[0]?.text).toBe(
        '{"n":2}',
      );
    });

    it('D10 I11 never gives one user another one’s answer', async () => {
      site.on('/kept', (response, request) =>
        json(200, { saw: request.headers.authorization })(response, request),
      );
      for (const [who, name] of [
        [alice, 'alice'],
        [bob, 'bob'],
      ] as const) {
        const result = await callTool(opened.upstream, who, 'kept', { q: 'shared' });
        expect(result.content[0]?.text).toBe(`{"saw":"Bearer key-of-${name}"}`);
      }
      expect(site.requests).toHaveLength(2);
    });

    it('I11 asks again after the credential changed, the instance was dropped, or the answer was an error', async () => {
      site.on('/kept', json(500, {}), json(200, { n: 1 }), json(200, { n: 2 }), json(200, { n: 3 }));
      const ask = async (who = bob) => (await callTool(opened.upstream, who, 'kept')).content[0]?.text;
      expect(await ask()).toContain('status 500');
      expect(await ask()).toBe('{"n":1}');
      expect(await ask({ ...bob, instance: { ...bob.instance, credentialRevision: 2 } })).toBe('{"n":2}');
      expect(await ask()).toBe('{"n":1}');
      opened.upstream.forget(bob.instance.id, null);
      expect(await ask()).toBe('{"n":3}');
    });
  });
});
