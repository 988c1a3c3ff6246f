/** A service whose host or one of whose instances keeps failing, through a real universal server (06, "Defaults"). */
import { describe, expect, it } from '@jest/globals';
import { withUser } from '../../../backend/src/database/withUser.js';
import { aRemoteService } from '../../support/aRemoteUpstream.js';
import { openHostileRemote } from '../../support/hostileRemote.js';
import { anApiService, aTool } from '../../support/anApiService.js';
import { eventually } from '../../support/eventually.js';
import { aFreePort } from '../../support/freePorts.js';
import { modern, send, textOf } from '../../support/mcpHttp.js';
import { json, startRecordingUpstream } from '../../support/recordingUpstream.js';
import { openUniversalServer, type UniversalServer } from '../../support/universalServer.js';

const aService = (origin: string) =>
  anApiService({
    baseUrl: origin,
    retry: { attempts: 1 },
    tools: [aTool('get', { method: 'GET', path: '/get' })],
  });

const get = (url: string) => send(url, modern('tools/call', { name: 'get' }));

async function errorCodesOf({ site }: UniversalServer, instanceId: string): Promise<(string | null)[]> {
  const { rows } = await withUser(site.api, { userId: instanceId, scope: 'admin' }, (client) =>
    client.query<{ error_code: string | null }>(
      `select error_code from audit_calls where instance_id = $1 and phase = 'outcome' order by occurred_at`,
      [instanceId],
    ),
  );
  return rows.map(({ error_code }) => error_code);
}

async function circuitState({ origin, metricsToken }: UniversalServer): Promise<string | undefined> {
  const { text } = await send(`${origin}/metrics`, {
    method: 'GET',
    headers: { authorization: `Bearer ${metricsToken}` },
  });
  return /^portolan_circuit_state\{[^}]*\} (\d)$/m.exec(text)?.[1];
}

describe('a host that takes no connection', () => {
  it('is left alone after five tries: the next calls are refused at once, with a time to wait, and audited', async () => {
    const port = await aFreePort();
    await using server = await openUniversalServer({ definition: aService(`http://127.0.0.1:${port}`) });
    const alice = await server.aUrl({ fields: { token: 'a' } });
    const bob = await server.aUrl({ fields: { token: 'b' } });
    expect(await circuitState(server)).toBe('0');
    for (let i = 0; i < 5; i++)
      expect((await get(alice.url)).json.error.data.code).toBe('UPSTREAM_UNREACHABLE');
    for (const { url } of [alice, bob]) {
      const refused = await get(url);
      expect([refused.status, refused.json.error.data.code]).toEqual([503, 'SERVICE_UNAVAILABLE']);
      expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
    }
    expect(await circuitState(server)).toBe('2');
    const codes = await eventually(async () => {
      const value = await errorCodesOf(server, bob.id);
      return { isDone: value.length === 1, value };
    });
    expect(codes).toEqual(['SERVICE_UNAVAILABLE']);
  });
});

describe('an instance whose calls alone fail', () => {
  it('is stopped by itself: what it sends no longer reaches the service, the calls of others do', async () => {
    await using upstream = await startRecordingUpstream();
    await using server = await openUniversalServer({ definition: aService(upstream.origin) });
    const alice = await server.aUrl({ fields: { token: 'breaks' } });
    const bob = await server.aUrl({ fields: { token: 'works' } });
    upstream.on('/get', (response, request) =>
      json(request.headers.authorization === 'Bearer breaks' ? 500 : 200, { of: 'the service' })(
        response,
        request,
      ),
    );
    for (let i = 0; i < 5; i++) expect(textOf(await get(alice.url))).toContain('status 500');
    upstream.clear();
    upstream.on('/get', json(200, {}));
    const refused = await get(alice.url);
    expect([refused.status, refused.json.error.data.code]).toEqual([503, 'SERVICE_UNAVAILABLE']);
    expect(upstream.requests).toHaveLength(0);
    expect((await get(bob.url)).json.result.isError).toBeUndefined();
    expect(upstream.requests).toHaveLength(1);
  });

  it('is never stopped for what its credential deserves, and nobody else is', async () => {
    await using upstream = await startRecordingUpstream();
    await using server = await openUniversalServer({ definition: aService(upstream.origin) });
    const alice = await server.aUrl({ fields: { token: 'revoked' } });
    upstream.on('/get', json(401, {}));
    for (let i = 0; i < 20; i++) expect(textOf(await get(alice.url))).toContain('EXPIRED_CREDENTIALS');
    expect(upstream.requests).toHaveLength(20);
  });
});

describe('a remote MCP server', () => {
  it.each(['legacy', 'modern'] as const)(
    'that takes no connection is left alone (%s client)',
    async (era) => {
      const url = `http://127.0.0.1:${await aFreePort()}/mcp`;
      await using server = await openUniversalServer({ definition: aRemoteService(url) });
      const [alice, bob] = [
        await server.aUrl({ fields: { token: 'a' } }),
        await server.aUrl({ fields: { token: 'b' } }),
      ];
      const ask = (to: string) => send(to, era === 'modern' ? modern('tools/list') : { body: anInitialize });
      const codes: string[] = [];
      // One call may try to connect more than once: nothing was sent.
      while (codes.at(-1) !== 'SERVICE_UNAVAILABLE' && codes.length < 6)
        codes.push((await ask(alice.url)).json.error.data.code);
      expect(new Set(codes)).toEqual(new Set(['UPSTREAM_UNREACHABLE', 'SERVICE_UNAVAILABLE']));
      for (const to of [alice.url, bob.url]) {
        const refused = await ask(to);
        expect([refused.status, refused.json.error.data.code]).toEqual([503, 'SERVICE_UNAVAILABLE']);
        expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
      }
      expect(await circuitState(server)).toBe('2');
    },
  );

  it('that lets one instance wait for nothing, five times, hears no more of that instance for a while', async () => {
    await using hostile = await openHostileRemote('modern');
    await using server = await openUniversalServer({
      definition: aRemoteService(hostile.url, {}, { limits: { timeoutMs: 300 } }),
    });
    const [alice, bob] = [
      await server.aUrl({ fields: { token: 'a' } }),
      await server.aUrl({ fields: { token: 'b' } }),
    ];
    for (let i = 0; i < 5; i++)
      expect((await call(alice.url, 'hang')).json.error.data.code).toBe('UPSTREAM_TIMEOUT');
    const refused = await call(alice.url, 'echo');
    expect([refused.status, refused.json.error.data.code]).toEqual([503, 'SERVICE_UNAVAILABLE']);
    expect(hostile.called).toHaveLength(5);
    expect(textOf(await call(bob.url, 'echo'))).toBe('fine');
  });
});

const anInitialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1' } },
};

const call = (to: string, name: string) =>
  send(to, modern('tools/call', { name, arguments: { text: 'fine' } }));
