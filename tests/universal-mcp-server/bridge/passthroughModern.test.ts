import { describe, expect, it } from '@jest/globals';
import { createServer, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { aRemoteService } from '../../support/aRemoteUpstream.js';
import { waitUntil } from '../../support/eventually.js';
import { connectClient } from '../../support/mcpClients.js';
import { modern, openEvents, send, startRequest, textOf } from '../../support/mcpHttp.js';
import { oddState } from '../../support/modernFeatures.js';
import { openModernServer } from '../../support/modernServer.js';
import { openUniversalServer } from '../../support/universalServer.js';

const fields = { token: 'token-of-alice' };

async function openSite(changes: object = {}) {
  const upstream = await openModernServer();
  const server = await openUniversalServer({ definition: aRemoteService(upstream.url, {}, { ...changes }) });
  const { url } = await server.aUrl({ fields });
  return {
    upstream,
    server,
    url,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

/** An upstream that answers every request with the same result, whatever it is asked. */
async function openCanned(result: object, headers: Readonly<Record<string, string>> = {}) {
  const received: IncomingMessage[] = [];
  const http = createServer((request, response) => {
    received.push(request);
    let text = '';
    request.on('data', (chunk) => (text += String(chunk)));
    request.on('end', () => {
      const { id = null, method } = JSON.parse(text === '' ? '{}' : text) as {
        id?: unknown;
        method?: string;
      };
      const discovered = {
        supportedVersions: ['2026-07-28'],
        capabilities: { tools: {} },
        resultType: 'complete',
      };
      const answer = { jsonrpc: '2.0', id, result: method === 'server/discover' ? discovered : result };
      response.writeHead(200, { 'content-type': 'application/json', ...headers });
      response.end(JSON.stringify(answer));
    });
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`,
    received,
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      http.close();
      await once(http, 'close');
    },
  };
}

describe('an upstream over Streamable HTTP of the modern era', () => {
  it('U04 U06 serves a modern client its own lists and calls', async () => {
    await using site = await openSite();
    await using client = await connectClient('SDK v2, modern era', site.url);
    expect(await client.toolNames()).toContain('sum');
    expect(await client.callTool('echo', { text: 'ünï' })).toBe('ünï');
    await expect(client.callTool('failing')).rejects.toThrow('no such city');
    expect(site.upstream.of('tools/call')[0]?.headers.authorization).toBe('Bearer token-of-alice');
  });

  it('U07 passes a request and its question byte for byte, with a state that is the upstream own', async () => {
    await using site = await openSite();
    const capabilities = {
      meta: { 'io.modelcontextprotocol/clientCapabilities': { elicitation: { form: {} } } },
    };
    const wish = modern('tools/call', { name: 'elicit', arguments: {} }, capabilities);
    const body = `${JSON.stringify(wish.body)} \n`;
    const asked = await send(site.url, { headers: wish.headers ?? {}, body });
    expect(site.upstream.of('tools/call').at(-1)?.text).toBe(body);
    expect(asked.json.result.resultType).toBe('input_required');
    expect(asked.json.result.requestState).toBe(oddState);
    const inputResponses = { name: { action: 'accept', content: { name: 'Ada' } } };
    const params = { name: 'elicit', arguments: {}, inputResponses, requestState: oddState };
    const answered = await send(site.url, modern('tools/call', params, capabilities));
    expect(JSON.parse(textOf(answered))).toEqual({ answers: inputResponses, state: oddState });
  });

  it('D07 D08 lets only headers of the protocol through, both ways', async () => {
    const own = {
      'set-cookie': 'canary=1',
      'www-authenticate': 'canary',
      location: 'http://canary',
      'x-canary': '1',
    };
    await using upstream = await openCanned({ content: [], resultType: 'complete' }, own);
    await using server = await openUniversalServer({ definition: aRemoteService(upstream.url) });
    const { url } = await server.aUrl({ fields });
    const headers = {
      'mcp-param-region': 'eu',
      authorization: 'Bearer canary',
      cookie: 'canary=1',
      'x-forwarded-for': '203.0.113.1',
      'proxy-authorization': 'canary',
      'x-canary': 'canary',
      'mcp-session-id': 'canary',
    };
    const answer = await send(url, modern('tools/call', { name: 'any', arguments: {} }, { headers }));
    expect(answer.status).toBe(200);
    expect(JSON.stringify(answer.headers)).not.toContain('canary');
    const { headers: passed } = upstream.received.at(-1) ?? {};
    expect(JSON.stringify(passed)).not.toContain('canary');
    expect(passed).toMatchObject({
      authorization: 'Bearer token-of-alice',
      'mcp-param-region': 'eu',
      'mcp-method': 'tools/call',
      'mcp-name': 'any',
      'mcp-protocol-version': '2026-07-28',
    });
    expect(Object.keys(passed ?? {}).filter((name) => /forwarded|session|cookie/.test(name))).toEqual([]);
  });

  it('D10 never shows a list as public, and changes nothing else of it', async () => {
    const list = {
      tools: [],
      ttlMs: 5,
      cacheScope: 'public',
      resultType: 'complete',
      _meta: { cacheScope: 'public' },
    };
    await using upstream = await openCanned(list);
    await using server = await openUniversalServer({ definition: aRemoteService(upstream.url) });
    const { url } = await server.aUrl({ fields });
    const answer = await send(url, modern('tools/list'));
    expect(answer.json.result).toEqual({ ...list, cacheScope: 'private' });
  });

  it('U07 keeps a listen stream open, ends it with its client, and lets the service restart', async () => {
    await using site = await openSite();
    const wish = modern('subscriptions/listen', { notifications: { toolsListChanged: true } });
    const open = await openEvents(site.url, wish);
    expect(open.status).toBe(200);
    await waitUntil('the stream is open', () => site.upstream.listening === 1);
    site.upstream.notify.toolsChanged();
    expect((await open.next(({ method }) => method === 'notifications/tools/list_changed'))?.method).toBe(
      'notifications/tools/list_changed',
    );
    open.close();
    await waitUntil('the stream is closed', () => site.upstream.listening === 0);
    const another = await openEvents(site.url, wish);
    await site.server.restart();
    await another.ended;
    await waitUntil('the stream is closed', () => site.upstream.listening === 0);
  });

  it('D06 R23 cancels upstream when the client goes', async () => {
    await using site = await openSite();
    const call = modern('tools/call', { name: 'hang', arguments: {} });
    const { request, response } = startRequest(site.url, call);
    response.catch(() => undefined);
    await waitUntil('the call is there', () => site.upstream.of('tools/call').length === 1);
    request.destroy();
    await waitUntil('it is cancelled', () => site.upstream.cancelled.length === 1, 1_000);
    expect(site.upstream.cancelled).toEqual(['hang']);
  });
});
