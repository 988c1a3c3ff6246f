import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { callAuditOf } from '../../support/callAudit.js';
import { aHostileService } from '../../support/aStdioService.js';
import { waitUntil } from '../../support/eventually.js';
import { initialize, modern, openEvents, send, startRequest, textOf } from '../../support/mcpHttp.js';
import {
  openUniversalServer,
  pauseInstance,
  revokeInstance,
  type InstanceUrl,
  type UniversalServer,
} from '../../support/universalServer.js';

describe('an instance URL', () => {
  let server: UniversalServer;
  let alice: InstanceUrl;

  beforeAll(async () => {
    server = await openUniversalServer({ definition: aHostileService({ maxPerUser: 50, maxProcesses: 50 }) });
    alice = await server.aUrl();
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  const list = modern('tools/list');

  const post = (body: string, headers: Record<string, string> = {}): Promise<number> =>
    send(alice.url, { body, headers }).then(({ status }) => status);
  const codeOf = async (request: ReturnType<typeof modern>): Promise<unknown[]> => {
    const { status, json } = await send(alice.url, request);
    return [status, json.error.code, json.error.data?.supported];
  };

  describe('404u', () => {
    it('A01 A02 A05 A07 answers the same for every id that is not a live instance of this service', async () => {
      const { url, id, instanceId } = alice;
      const paused = await server.aUrl();
      const revoked = await server.aUrl();
      await pauseInstance(server, paused);
      await revokeInstance(server, revoked);
      const spellings = [
        instanceId.toUpperCase(),
        `${instanceId}.`,
        `${instanceId}%00`,
        instanceId.replace('_', '%5f'),
        `${instanceId.slice(0, -1)}${instanceId.endsWith('a') ? 'b' : 'a'}`,
        instanceId
          .replace('e', 'ｅ')
          .split('')
          .map((c) => (c > '\u007f' ? encodeURIComponent(c) : c))
          .join(''),
        id,
        'x',
      ];
      const urls = [
        paused.url,
        revoked.url,
        ...spellings.map((text) => `${server.origin}/${text}/everything`),
        `${server.origin}/${instanceId}/memory`,
        `${server.origin}/${instanceId}/EVERYTHING`,
        `${server.origin}/${instanceId}`,
        `${url}/..`,
        `${url}/sideways`,
      ];
      const answers = await Promise.all(urls.map((one) => send(one, list)));
      const forms = answers.map(({ status, text, headers: { date: _date, ...headers } }) => ({
        status,
        text,
        headers,
      }));
      expect(forms[0]?.status).toBe(404);
      expect(forms[0]?.text).toBe(
        '{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Not found"}}',
      );
      for (const form of forms) expect(form).toEqual(forms[0]);
      expect((await send(url, list)).status).toBe(200);
    });

    it('A06 lets one address try 20 unknown ids a minute, asks the database for none of them, and stops no good id', async () => {
      const other = await openUniversalServer({ definition: aHostileService(), site: server.site });
      const good = await other.aUrl();
      const statuses: number[] = [];
      for (let tried = 0; tried < 60; tried += 1) {
        statuses.push((await send(`${other.origin}/evy_${'0'.repeat(33)}${tried}/everything`, list)).status);
        if (tried === 10) statuses.push((await send(good.url, list)).status);
      }
      expect(statuses.filter((status) => status === 200)).toHaveLength(1);
      expect(statuses.filter((status) => status === 404)).toHaveLength(20);
      expect(statuses.filter((status) => status === 429)).toHaveLength(40);
      expect((await send(good.url, list)).status).toBe(200);
      await other[Symbol.asyncDispose]();
    });
  });

  describe('guard', () => {
    it('C01 C02 answers listed hosts and origins only', async () => {
      expect(
        (await send(alice.url, { ...list, headers: { ...list.headers, host: 'evil.example' } })).status,
      ).toBe(421);
      expect(
        (await send(alice.url, { ...list, headers: { ...list.headers, origin: 'https://evil.example' } }))
          .status,
      ).toBe(403);
      const { origin } = server.config.publicUrl;
      const answer = await send(alice.url, { ...list, headers: { ...list.headers, origin } });
      expect([answer.status, answer.headers['access-control-allow-origin']]).toEqual([200, origin]);
      const preflight = await send(alice.url, {
        method: 'OPTIONS',
        headers: { origin: 'https://evil.example' },
      });
      expect([preflight.status, preflight.headers['access-control-allow-origin']]).toEqual([403, undefined]);
    });

    it('refuses a body that is too large, too deep, no JSON or no JSON by its type', async () => {
      expect(await post('{"jsonrpc":')).toBe(400);
      expect(await post(`{"a":${'['.repeat(70)}${']'.repeat(70)}}`)).toBe(400);
      expect(await post('{}', { 'content-type': 'text/plain' })).toBe(415);
      expect(await post('{}', { accept: 'application/json' })).toBe(406);
      expect(await post(JSON.stringify({ filler: 'x'.repeat(4_300_000) }))).toBe(413);
    });
  });

  describe('the modern era', () => {
    it('D01 refuses headers that differ from the body; nothing reaches the upstream', async () => {
      const counts = async (): Promise<number> =>
        Number(textOf(await send(alice.url, modern('tools/call', { name: 'count' }))));
      const before = await counts();
      const wrong = [
        modern('tools/call', { name: 'count' }, { headers: { 'mcp-method': 'tools/list' } }),
        modern('tools/call', { name: 'count' }, { headers: { 'mcp-name': 'echo' } }),
        modern('tools/call', { name: 'count' }, { headers: { 'mcp-name': '=?base64?!!?=' } }),
        modern('tools/call', { name: 'count' }, { headers: { 'mcp-name': undefined } }),
        modern('tools/call', { name: 'count' }, { headers: { 'mcp-method': undefined } }),
      ];
      for (const request of wrong) {
        const answer = await send(alice.url, request);
        expect([answer.status, answer.json.error.code]).toEqual([400, -32020]);
      }
      const encoded = `=?base64?${Buffer.from('count').toString('base64')}?=`;
      expect(
        (await send(alice.url, modern('tools/call', { name: 'count' }, { headers: { 'mcp-name': encoded } })))
          .status,
      ).toBe(200);
      expect(await counts()).toBe(before + 2);
    });

    it('D02 tells a missing, a differing and an unknown version apart', async () => {
      expect(
        await codeOf(modern('tools/list', {}, { headers: { 'mcp-protocol-version': undefined } })),
      ).toEqual([400, -32020, undefined]);
      expect(
        await codeOf(
          modern('tools/list', {}, { meta: { 'io.modelcontextprotocol/protocolVersion': '2027-01-01' } }),
        ),
      ).toEqual([400, -32020, undefined]);
      expect(
        await codeOf(
          modern(
            'tools/list',
            {},
            {
              headers: { 'mcp-protocol-version': '2027-01-01' },
              meta: { 'io.modelcontextprotocol/protocolVersion': '2027-01-01' },
            },
          ),
        ),
      ).toEqual([400, -32022, ['2026-07-28']]);
      expect(
        await codeOf(modern('tools/list', {}, { meta: { 'io.modelcontextprotocol/clientCapabilities': 5 } })),
      ).toEqual([400, -32602, undefined]);
    });

    it('D03 has no GET and no DELETE, and ignores a session id', async () => {
      const headers = { 'mcp-protocol-version': '2026-07-28', 'mcp-session-id': 'of-somebody' };
      for (const method of ['GET', 'DELETE'])
        expect((await send(alice.url, { method, headers })).status).toBe(405);
      const answer = await send(
        alice.url,
        modern('tools/list', {}, { headers: { 'mcp-session-id': 'of-somebody' } }),
      );
      expect([answer.status, answer.headers['mcp-session-id']]).toEqual([200, undefined]);
    });

    it('D04 D05 refuses a batch, a response of the client and a request without an id', async () => {
      const { headers = {}, body } = modern('tools/list');
      const codes = await Promise.all(
        [[body], { jsonrpc: '2.0', id: 1, result: {} }, { ...(body as object), id: null }].map((one) =>
          send(alice.url, { headers, body: one }),
        ),
      );
      expect(codes.map(({ status, json }) => [status, json.error.code])).toEqual([
        [400, -32600],
        [400, -32600],
        [400, -32600],
      ]);
    });

    it('D10 marks every list as private and complete, and says who serves', async () => {
      const { json } = await send(alice.url, list);
      expect(json.result).toMatchObject({
        resultType: 'complete',
        ttlMs: 0,
        cacheScope: 'private',
        _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'hostile' } },
      });
      const called = await send(alice.url, modern('tools/call', { name: 'echo', arguments: { text: 'hi' } }));
      expect(called.json.result.ttlMs).toBeUndefined();
      const discovered = await send(alice.url, modern('server/discover'));
      expect(discovered.json.result).toMatchObject({
        supportedVersions: ['2026-07-28'],
        instructions: 'Handle with care.',
      });
    });

    it('answers an unknown method with 404 and −32601, and a removed one as well', async () => {
      for (const method of ['no/such', 'ping', 'logging/setLevel', 'resources/subscribe']) {
        const { status, json } = await send(alice.url, modern(method));
        expect([status, json.error.code]).toEqual([404, -32601]);
      }
    });

    it('D06 R23 cancels upstream when the client closes the stream, and says so in the audit', async () => {
      const cancelFile = join(server.config.paths.stateDir, 'cancelled-modern');
      const { request, response } = startRequest(
        alice.url,
        modern('tools/call', { name: 'hang', arguments: { cancelFile } }),
      );
      response.catch(() => {});
      await waitUntil(
        'the call is with the upstream',
        async () => (await send(alice.url, modern('tools/call', { name: 'heard' }))).status === 200,
      );
      request.destroy();
      await waitUntil('the upstream was told', () => existsSync(cancelFile), 1_500);
      await waitUntil('the audit says so', async () =>
        (await callAuditOf(server, alice.id)).some(
          ({ outcome, name }) => outcome === 'cancelled' && name === 'hang',
        ),
      );
      expect(existsSync(cancelFile)).toBe(true);
    });

    it('D07 D08 lets no header of the client through, nor any of the upstream back', async () => {
      const secrets = {
        authorization: 'Bearer canary',
        cookie: 'canary=1',
        'x-forwarded-for': 'canary',
        'proxy-authorization': 'canary',
      };
      const answer = await send(alice.url, modern('tools/call', { name: 'env' }, { headers: secrets }));
      expect(answer.text).not.toContain('canary');
      expect(Object.keys(answer.headers).sort()).toEqual([
        'cache-control',
        'connection',
        'content-length',
        'content-type',
        'date',
      ]);
    });

    it('U07 streams progress and the log lines of the level that was asked for', async () => {
      const params = { name: 'progress' };
      const { events } = await send(
        alice.url,
        modern('tools/call', params, { meta: { progressToken: 'p' } }),
      );
      expect(
        events.slice(0, -1).map(({ params: { progressToken, progress } }) => [progressToken, progress]),
      ).toEqual([
        ['p', 1],
        ['p', 2],
      ]);
      const log = (level: string | null) =>
        send(
          alice.url,
          modern(
            'tools/call',
            { name: 'log', arguments: { level: 'warning' } },
            level === null ? {} : { meta: { 'io.modelcontextprotocol/logLevel': level } },
          ),
        );
      expect((await log('info')).events.map(({ method }) => method)).toEqual([
        'notifications/message',
        undefined,
      ]);
      expect((await log('error')).events).toEqual([]);
      expect((await log(null)).events).toEqual([]);
    });

    it('U07 feeds a listen stream with what it asked for, and ends it when there is nothing to wait for', async () => {
      const wish = modern('subscriptions/listen', {
        notifications: {
          toolsListChanged: true,
          promptsListChanged: true,
          resourceSubscriptions: ['test://one'],
        },
      });
      const { id } = wish.body as { id: string };
      const events = await openEvents(alice.url, wish);
      const acknowledged = await events.next();
      expect(acknowledged.params.notifications).toEqual({
        toolsListChanged: true,
        resourceSubscriptions: ['test://one'],
      });
      await send(alice.url, modern('tools/call', { name: 'touch', arguments: { uri: 'test://two' } }));
      await send(alice.url, modern('tools/call', { name: 'touch', arguments: { uri: 'test://one' } }));
      const updated = await events.next();
      expect(updated).toMatchObject({
        method: 'notifications/resources/updated',
        params: { uri: 'test://one', _meta: { 'io.modelcontextprotocol/subscriptionId': id } },
      });
      await send(alice.url, modern('tools/call', { name: 'grow' }));
      expect(await events.next()).toMatchObject({ method: 'notifications/tools/list_changed' });
      events.close();

      const nothing = await send(
        alice.url,
        modern('subscriptions/listen', { notifications: { promptsListChanged: true } }),
      );
      expect(nothing.events.map(({ method, result }) => method ?? result.resultType)).toEqual([
        'notifications/subscriptions/acknowledged',
        'complete',
      ]);
      expect((await send(alice.url, modern('subscriptions/listen'))).json.error.code).toBe(-32602);
    });
  });

  describe('the legacy era', () => {
    it('D09 gives a session to nobody else, keeps its one stream, and forgets it when it is deleted', async () => {
      const session = await initialize(alice.url);
      const bob = await server.aUrl();
      const ping = { jsonrpc: '2.0', id: 1, method: 'ping' };
      expect((await send(bob.url, { headers: session.headers, body: ping })).status).toBe(404);
      const stream = await session.stream();
      expect(stream.status).toBe(200);
      expect((await send(bob.url, { method: 'GET', headers: session.headers })).status).toBe(404);
      expect((await send(alice.url, { method: 'GET', headers: session.headers })).status).toBe(409);
      await session.call('grow');
      expect(await stream.next()).toMatchObject({ method: 'notifications/tools/list_changed' });
      expect((await send(alice.url, { method: 'DELETE', headers: session.headers })).status).toBe(200);
      await stream.ended;
      expect((await session.request('ping')).status).toBe(404);
      expect((await send(alice.url, { body: ping })).status).toBe(400);
      expect((await send(alice.url, { headers: { 'mcp-session-id': 'garbled' }, body: ping })).status).toBe(
        404,
      );
      expect(
        (
          await send(alice.url, {
            headers: { ...session.headers, 'mcp-protocol-version': '1999-01-01' },
            body: ping,
          })
        ).status,
      ).toBe(400);
    });

    it('U06 answers at /mcp and with a trailing slash as well', async () => {
      for (const url of [`${alice.url}/mcp`, `${alice.url}/`])
        expect((await initialize(url)).result.serverInfo.name).toBe('hostile');
    });
  });
});
