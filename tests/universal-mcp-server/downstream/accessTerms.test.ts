/** Terms of access at a whole universal server: what is open is cut when they no longer let it in, and nobody learns why. */
import { randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  Client as ClientV2,
  StreamableHTTPClientTransport as TransportV2,
} from '@modelcontextprotocol/client';
import { createInstanceId } from '../../../backend/src/vault/instanceId.js';
import { createBearerKey } from '../../../backend/src/services/bearerKeys.js';
import {
  aSession,
  anAccessKey,
  bearing,
  endSession,
  revokeKey,
  setAccessOf,
} from '../../support/accessTerms.js';
import { aHostileService } from '../../support/aStdioService.js';
import { waitUntil } from '../../support/eventually.js';
import { initialize, modern, send } from '../../support/mcpHttp.js';
import {
  openUniversalServer,
  pauseInstance,
  revokeInstance,
  type InstanceUrl,
  type UniversalServer,
} from '../../support/universalServer.js';

const list = modern('tools/list');
const statusOf = async (url: string, bearer?: string): Promise<number> =>
  (await send(url, { ...list, headers: { ...list.headers, ...(bearer ? bearing(bearer) : {}) } })).status;

/** A GET stream of a session of its own, and how long it takes to end once `cut` is done. */
const endsAfter = async (url: string, bearer: string | null, cut: () => Promise<void>): Promise<number> => {
  const session = await initialize(url, {}, bearer === null ? {} : bearing(bearer));
  const opened = await session.stream();
  expect(opened.status).toBe(200);
  await cut();
  const cutAt = performance.now();
  await opened.ended;
  return performance.now() - cutAt;
};

describe('terms of access', () => {
  let server: UniversalServer;
  beforeAll(async () => {
    server = await openUniversalServer({ definition: aHostileService() });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  const aGuarded = async (): Promise<InstanceUrl> => {
    const made = await server.aUrl();
    await setAccessOf(server, made, { accessMode: 'url+token' });
    return made;
  };
  it('A04 cuts the stream of a revoked key within 2 s, refuses the key from then on, and leaves other keys alone', async () => {
    const alice = await aGuarded();
    const [lost, kept] = [await anAccessKey(server, alice), await anAccessKey(server, alice)];
    const other = await (await initialize(alice.url, {}, bearing(kept.key))).stream();
    let isOtherOver = false;
    void other.ended.then(() => (isOtherOver = true));
    expect(await endsAfter(alice.url, lost.key, () => revokeKey(server, alice, lost))).toBeLessThan(2_000);
    expect([await statusOf(alice.url, lost.key), await statusOf(alice.url, kept.key)]).toEqual([401, 200]);
    expect(isOtherOver).toBe(false);
    other.close();
  });

  it('B04 cuts the stream of an ended session within 5 s, and refuses its access token', async () => {
    const alice = await aGuarded();
    const session = await aSession(server, alice.owner);
    const ms = await endsAfter(alice.url, session.accessToken, () =>
      endSession(server, alice.owner, session),
    );
    expect(ms).toBeLessThan(5_000);
    expect(await statusOf(alice.url, session.accessToken)).toBe(401);
  });

  it('cuts the stream of a key at the key’s end, and what came by the URL alone once more is asked for', async () => {
    const alice = await server.aUrl();
    const raise = () => setAccessOf(server, alice, { accessMode: 'url+token' });
    expect(await endsAfter(alice.url, null, raise)).toBeLessThan(2_000);
    const brief = await anAccessKey(server, alice, new Date(Date.now() + 1_500));
    expect(await endsAfter(alice.url, brief.key, async () => {})).toBeLessThan(4_000);
    expect(await statusOf(alice.url, brief.key)).toBe(401);
  });

  it.each([
    ['paused', pauseInstance],
    ['revoked', revokeInstance],
  ])('A04 cuts streams that came with a key when the instance is %s', async (_how, cut) => {
    const alice = await aGuarded();
    const { key } = await anAccessKey(server, alice);
    expect(await endsAfter(alice.url, key, () => cut(server, alice))).toBeLessThan(2_000);
    expect(await statusOf(alice.url, key)).toBe(404);
  });

  it('R16 ends an instance at its end, streams and all, and begins again when it is extended', async () => {
    const alice = await server.aUrl();
    const end = (ms: number) => setAccessOf(server, alice, { expiresAt: new Date(Date.now() + ms) }, false);
    expect(await endsAfter(alice.url, null, () => end(1_000))).toBeLessThan(3_000);
    expect(await statusOf(alice.url)).toBe(404);
    await end(60_000);
    await waitUntil('it is back', async () => (await statusOf(alice.url)) === 200);
  });

  it('A01 answers byte for byte alike whatever the cause, with and without a key', async () => {
    const made = await Promise.all(Array.from({ length: 5 }, () => server.aUrl()));
    const [revoked, paused, ended, outside, orphaned] = made;
    await revokeInstance(server, revoked!);
    await pauseInstance(server, paused!);
    await setAccessOf(server, ended!, { accessMode: 'url+token', expiresAt: new Date(Date.now() - 1_000) });
    await setAccessOf(server, outside!, {
      accessMode: 'url+token',
      allowedCidrs: ['192.0.2.0/24', '2001:db8::/32'],
    });
    const { key } = await anAccessKey(server, outside!);
    const superuser = await server.site.db.superuser();
    await superuser.query(`update users set status = 'disabled' where id = $1`, [orphaned!.owner]);
    const foreign = await server.aUrl({ service: 'memory', prefix: 'mem' });
    const nobodys = `${server.origin}/${createInstanceId('evy', randomBytes)}/everything`;
    const seen = new Map<string, string>();
    let host = 0;
    for (const url of [nobodys, foreign.url, ...made.map((one) => one.url)]) {
      for (const path of ['', '/mcp', '/sse', '/message']) {
        for (const headers of [
          {},
          bearing(key),
          { 'x-forwarded-for': '192.0.2.1', forwarded: 'for=192.0.2.1' },
        ]) {
          host += 1;
          const answer = await rawAnswer(`${url}${path}`, `127.2.${host >> 7}.${(host & 127) + 1}`, {
            ...list.headers,
            ...headers,
          });
          seen.set(answer, `${url.replace(/\/\w+_\w+/, '')}${path}`);
        }
      }
    }
    expect([...seen.keys()]).toHaveLength(1);
    expect([...seen.keys()][0]).toMatch(/^404/);
    await waitUntil('the owner is told of it', async () => {
      const { rows } = await superuser.query(
        `select distinct error_code, http_status from audit_calls where instance_id = $1 and user_id = $2`,
        [outside!.id, outside!.owner],
      );
      return JSON.stringify(rows) === '[{"error_code":"INVALID_INSTANCE","http_status":404}]';
    });
    await setAccessOf(server, outside!, { allowedCidrs: ['127.2.0.0/16'] });
    await waitUntil('it is inside now', async () => {
      const answer = await rawAnswer(
        outside!.url,
        '127.2.9.9',
        list.headers ?? {},
        JSON.stringify(list.body),
      );
      return answer.startsWith('200');
    });
  });

  it('makes an address that tries wrong keys wait, and keeps a key in use in', async () => {
    const alice = await aGuarded();
    const { key } = await anAccessKey(server, alice);
    const statuses: number[] = [];
    for (let tries = 0; tries < 40; tries += 1)
      statuses.push(await statusOf(alice.url, createBearerKey(randomBytes).key));
    expect(statuses[0]).toBe(401);
    expect(statuses).toContain(429);
    // From elsewhere nothing of it is noticed, and one that was let in stays in.
    const headers = { ...list.headers, ...bearing(key) };
    expect((await send(alice.url, { ...list, headers, localAddress: '127.3.0.1' })).status).toBe(200);
  });

  it('holds every instance to the admin’s minimum, those from before it as well', async () => {
    const alice = await server.aUrl();
    expect(await statusOf(alice.url)).toBe(200);
    await using strict = await openUniversalServer({
      definition: aHostileService(),
      site: server.site,
      env: { ACCESS_MODE_MINIMUM: 'url+token' },
    });
    const url = alice.url.replace(server.origin, strict.origin);
    const { key } = await anAccessKey(server, alice);
    await waitUntil('it wants a key', async () => (await statusOf(url)) === 401);
    expect(await statusOf(url, key)).toBe(200);
    const definition = { ...aHostileService(), access: { minimumMode: 'url+token' } as const };
    await using own = await openUniversalServer({ definition, site: server.site });
    const here = alice.url.replace(server.origin, own.origin);
    await waitUntil('it wants a key here', async () => (await statusOf(here)) === 401);
  });

  it('U06 lets the SDKs’ clients in by a header, and has none begin a sign-in without', async () => {
    const alice = await aGuarded();
    const { key } = await anAccessKey(server, alice);
    const requestInit = { headers: bearing(key) };
    const url = new URL(alice.url);
    const v1 = new ClientV1({ name: 'v1', version: '1' });
    await v1.connect(new TransportV1(url, { requestInit }));
    expect((await v1.listTools()).tools.length).toBeGreaterThan(0);
    await v1.close();
    const sse = new ClientV1({ name: 'v1', version: '1' });
    await sse.connect(new SSEClientTransport(new URL(`${alice.url}/sse`), { requestInit }));
    expect((await sse.listTools()).tools.length).toBeGreaterThan(0);
    await sse.close();
    for (const mode of ['legacy', { pin: '2026-07-28' }] as const) {
      const v2 = new ClientV2({ name: 'v2', version: '1' }, { versionNegotiation: { mode } });
      await v2.connect(new TransportV2(url, { requestInit }));
      expect((await v2.listTools()).tools.length).toBeGreaterThan(0);
      await v2.close();
    }
    let redirects = 0;
    const authProvider = {
      redirectUrl: 'http://127.0.0.1/callback',
      clientMetadata: { redirect_uris: ['http://127.0.0.1/callback'] },
      clientInformation: () => undefined,
      tokens: () => undefined,
      saveTokens: () => undefined,
      saveClientInformation: () => undefined,
      saveCodeVerifier: () => undefined,
      codeVerifier: () => '',
      redirectToAuthorization: () => void (redirects += 1),
    };
    const without = new ClientV1({ name: 'v1', version: '1' });
    await expect(without.connect(new TransportV1(url, { authProvider }))).rejects.toThrow(/404|regist/i);
    const without2 = new ClientV2({ name: 'v2', version: '1' });
    await expect(without2.connect(new TransportV2(url, { authProvider }))).rejects.toThrow(/404|regist/i);
    expect(redirects).toBe(0);
  });

  it('D09 takes the messages of HTTP+SSE with the key that opened the stream only', async () => {
    const alice = await aGuarded();
    const [one, other] = [await anAccessKey(server, alice), await anAccessKey(server, alice)];
    const headers = { ...bearing(one.key), accept: 'text/event-stream' };
    const address = await new Promise<string>((resolve) => {
      const request = httpRequest(`${alice.url}/sse`, { headers }, (response) =>
        response.once('data', (chunk: Buffer) => {
          resolve(/data: (.*)/.exec(chunk.toString())?.[1] ?? '');
          closers.push(() => request.destroy());
        }),
      );
      request.on('error', () => {});
      request.end();
    });
    const body = { jsonrpc: '2.0', id: 1, method: 'ping' };
    const post = (key: string) => send(`${server.origin}${address}`, { headers: bearing(key), body });
    expect((await post(other.key)).status).toBe(404);
    expect((await post(one.key)).status).toBe(202);
    for (const close of closers.splice(0)) close();
  });
});

const closers: (() => void)[] = [];

/** Status, headers as they came but for the date, and body. */
function rawAnswer(
  url: string,
  localAddress: string,
  headers: Readonly<Record<string, string>>,
  body?: string,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const method = body === undefined && url.endsWith('/sse') ? 'GET' : 'POST';
    const all = {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...headers,
    };
    const request = httpRequest(url, { method, headers: all, localAddress, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('error', reject);
      response.on('end', () => {
        const pairs = response.rawHeaders.map((value, at, raw) =>
          at % 2 === 1 && raw[at - 1]?.toLowerCase() === 'date' ? '' : value,
        );
        resolve([response.statusCode, pairs.join('|'), text].join('\n'));
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}
