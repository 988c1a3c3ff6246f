import { describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { callAuditOf } from '../../support/callAudit.js';
import { openPassedSite } from '../../support/aPassedSite.js';
import { aRemoteService } from '../../support/aRemoteUpstream.js';
import { eventually, waitUntil } from '../../support/eventually.js';
import { initialize, openEvents, send, startRequest, textOf } from '../../support/mcpHttp.js';
import { openUniversalServer, revokeInstance } from '../../support/universalServer.js';

/** A legacy server without sessions whose answers to calls are the test's. */
async function openOddSite(answer: (response: ServerResponse, id: unknown) => void, changes: object = {}) {
  const seen: string[] = [];
  const http = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk) => (text += String(chunk)));
    request.on('end', () => {
      const { id, method = request.method ?? '' } = JSON.parse(text === '' ? '{}' : text) as {
        id?: unknown;
        method?: string;
      };
      seen.push(method);
      if (method === 'tools/call') return answer(response, id);
      if (id === undefined) return void response.writeHead(request.method === 'POST' ? 202 : 405).end();
      const initialized = {
        protocolVersion: '2025-11-25',
        capabilities: { tools: {} },
        serverInfo: { name: 'odd', version: '1' },
      };
      const known =
        method === 'initialize' ? { result: initialized } : { error: { code: -32601, message: 'no' } };
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ jsonrpc: '2.0', id, ...known }));
    });
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`;
  const server = await openUniversalServer({ definition: aRemoteService(url, {}, { ...changes }) });
  const alice = await server.aUrl({ fields: { token: 'token-of-alice' } });
  return {
    server,
    alice,
    seen,
    client: await initialize(alice.url),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      http.closeAllConnections();
      http.close();
      await once(http, 'close');
    },
  };
}

const events = { 'content-type': 'text/event-stream' };
const json = { 'content-type': 'application/json' };

describe('a call that passes', () => {
  it('is judged by the tool policy, renamed in its bytes, and audited once', async () => {
    const toolPolicy = { deny: ['big'], rename: { echo: 'say' } };
    await using site = await openPassedSite({ isJson: true }, { toolPolicy });
    const client = await initialize(site.url);
    const listed = (await client.request('tools/list')).json.result.tools.map(
      ({ name }: { name: string }) => name,
    );
    expect(listed).toContain('say');
    expect(listed.filter((name: string) => name === 'big' || name === 'echo')).toEqual([]);
    expect(textOf(await client.call('say', { text: 'name' }))).toBe('name');
    const body =
      '{"params": {"arguments":{"name":"say"} , "name":"say"},"jsonrpc":"2.0","id":1,"method":"tools/call"}';
    await send(site.url, { headers: client.headers, body });
    expect(site.upstream.of('tools/call').at(-1)?.text).toBe(
      body.replace(', "name":"say"', ', "name":"echo"'),
    );
    for (const name of ['big', 'echo', 'nothing'])
      expect((await client.call(name)).json.error.code).toBe(name === 'nothing' ? -32603 : -32602);
    const fails = await client.call('fail');
    expect(fails.json.result.isError).toBe(true);
    const rows = await eventually(async () => {
      const value = (await callAuditOf(site.server, site.alice.id)).filter(
        ({ method }) => method === 'tools/call',
      );
      return { isDone: value.length >= 8, value };
    });
    const outcomes = rows
      .filter(({ phase }) => phase === 'outcome')
      .map(({ name, outcome }) => `${name} ${outcome}`);
    expect(outcomes.toSorted()).toEqual(['fail tool_error', 'nothing error', 'say ok', 'say ok']);
    expect(new Set(rows.map(({ call_id: id }) => id)).size).toBe(4);
  });

  it('is refused where two parsers could read it in two ways', async () => {
    const toolPolicy = { allow: ['echo'] };
    await using site = await openPassedSite({ isJson: true }, { toolPolicy });
    const client = await initialize(site.url);
    const before = site.upstream.exchanged.length;
    const bodies = [
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"big","name":"echo"}}',
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","Name":"big"}}',
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","\\u006eame":"echo"}}',
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","method":"ping2","params":{"name":"echo"}}',
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"big"},"params":{"name":"echo"}}',
      '{"jsonrpc":"2.0","ID":1,"method":"notifications/x","params":{"name":"big"}}',
      '{"jsonrpc":"2.0","id":1,"result":{},"Method":"tools/call","Params":{"name":"big"}}',
    ];
    for (const body of bodies) {
      const { status } = await send(site.url, { headers: client.headers, body });
      expect([body, status]).toEqual([body, 400]);
    }
    expect(site.upstream.exchanged.length).toBe(before);
  });

  it('is checked against the annotations of its tool where only read-only ones may be called', async () => {
    await using site = await openPassedSite({}, { toolPolicy: { readOnlyDefault: true } });
    const client = await initialize(site.url);
    expect(textOf(await client.call('echo', { text: 'read' }))).toBe('read');
    expect((await client.call('caller')).json.error.code).toBe(-32602);
    expect(site.upstream.of('tools/call')).toHaveLength(1);
  });

  it('R05 D06 R23 ends at its deadline and with its client, and the upstream is told', async () => {
    await using site = await openPassedSite({}, { limits: { timeoutMs: 1_000 } });
    const client = await initialize(site.url);
    const late = await client.call('wait');
    expect(late.json.error.data.code).toBe('UPSTREAM_TIMEOUT');
    await waitUntil('the upstream is told', () => site.upstream.cancelled === 1, 1_000);
    const body = { jsonrpc: '2.0', id: 'w', method: 'tools/call', params: { name: 'wait' } };
    const { request, response } = startRequest(site.url, { headers: client.headers, body });
    response.catch(() => undefined);
    await waitUntil('the call is there', () => site.upstream.of('tools/call').length === 2);
    request.destroy();
    await waitUntil('the upstream is told again', () => site.upstream.cancelled === 2, 1_000);
    const third = send(site.url, { headers: client.headers, body });
    await waitUntil('the call is there', () => site.upstream.of('tools/call').length === 3);
    await client.notify('notifications/cancelled', { requestId: 'w' });
    expect((await third).json.error.message).toBe('The request was cancelled.');
    await waitUntil('the upstream is told once more', () => site.upstream.cancelled === 3, 1_000);
  });

  it('A04 ends when its instance is revoked', async () => {
    await using site = await openPassedSite();
    const client = await initialize(site.url);
    const under = client.call('wait');
    await waitUntil('the call is there', () => site.upstream.of('tools/call').length === 1);
    await revokeInstance(site.server, site.alice);
    const { status, json: answer } = await under;
    expect([status, answer?.error.code]).not.toEqual([200, undefined]);
    expect((await client.call('echo')).status).toBe(404);
  });

  it('U07 carries what the server asks its client, and the answer back', async () => {
    await using site = await openPassedSite();
    const client = await initialize(site.url, { sampling: {} });
    const call = await client.open('tools/call', { name: 'ask' });
    const asked = await call.next(({ method }) => method === 'sampling/createMessage');
    const result = { model: 'm', role: 'assistant', content: { type: 'text', text: 'hello' } };
    expect((await client.respond({ id: asked.id, result })).status).toBe(202);
    expect(JSON.parse(textOf({ json: await call.next() }))).toEqual({ type: 'text', text: 'hello' });
  });

  it('I07 R20 tells the model what to do when the credential is missing or refused, never 401', async () => {
    await using site = await openPassedSite();
    const bob = await site.server.aUrl();
    const without = await initialize(bob.url);
    const told = await without.call('echo');
    expect([told.status, told.json.result.isError]).toEqual([200, true]);
    await using odd = await openOddSite(
      (response) => void response.writeHead(401, { 'www-authenticate': 'Bearer' }).end(),
    );
    const refused = await odd.client.call('echo');
    expect([refused.status, refused.json.result.isError]).toEqual([200, true]);
    expect(refused.headers['www-authenticate']).toBeUndefined();
    expect(site.upstream.of('tools/call')).toEqual([]);
  });

  it('R06 ends in one error when its upstream dies, and is not sent again', async () => {
    const deaths: ((response: ServerResponse, id: unknown) => void)[] = [
      (response) => void response.socket?.destroy(),
      (response) =>
        void response
          .writeHead(200, { ...json, 'content-length': '99' })
          .write('{"half":', () => response.socket?.destroy()),
      (response) =>
        void response
          .writeHead(200, events)
          .write('data: {"jsonrpc":"2.0","method":"notifications/x"}\n\ndata: {"half', () =>
            response.socket?.destroy(),
          ),
      (response) => void response.writeHead(200, events).end(': nothing\n\n'),
      (response) => void response.writeHead(200, json).end('{"no": "response"}'),
      (response) => void response.writeHead(418, json).end('{}'),
    ];
    let at = 0;
    await using site = await openOddSite((response, id) => deaths[at]?.(response, id));
    for (at = 0; at < deaths.length; at += 1) {
      const answer = await site.client.call('any');
      const last = answer.events.length > 0 ? answer.events : [answer.json];
      const terminal = last.filter((one: { error?: unknown }) => one.error !== undefined);
      expect([at, terminal.length, terminal[0]?.error.data.code]).toEqual([at, 1, 'UPSTREAM_FAILED']);
    }
    expect(site.seen.filter((method) => method === 'tools/call')).toHaveLength(deaths.length);
  });

  it('R06 gets one response, and none that it did not ask for', async () => {
    await using site = await openOddSite((response, id) => {
      const message = (text: string) =>
        JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text }] } });
      response.writeHead(200, events);
      response.write(`\ufeff: hello\r\nid: 1\rdata: ${message('first')}\r\r`);
      response.end(`data: ${message('second')}\n\n`);
    });
    const { text } = await site.client.call('any');
    expect(text).toContain('first');
    expect(text).not.toContain('second');
    expect(text.startsWith('\ufeff: hello\r\nid: 1\rdata: ')).toBe(true);
  });

  it('R06 gets a last event that its upstream never ended', async () => {
    await using site = await openOddSite((response, id) => {
      response
        .writeHead(200, events)
        .end(`data: ${JSON.stringify({ jsonrpc: '2.0', id, result: { content: [] } })}`);
    });
    expect((await site.client.call('any')).json.result).toEqual({ content: [] });
  });

  it('R24 waits for a slow reader, with the upstream held back, and drops one that stands still', async () => {
    let sent = 0;
    let isBroken = false;
    const told = { jsonrpc: '2.0', method: 'notifications/message', params: { data: 'x'.repeat(64 * 1024) } };
    const piece = `data: ${JSON.stringify(told)}\n\n`;
    await using site = await openOddSite((response) => {
      response.writeHead(200, events);
      response.on('close', () => (isBroken = true));
      const more = (): void => {
        while (!response.destroyed) {
          sent += piece.length;
          if (!response.write(piece)) return void response.once('drain', more);
        }
      };
      more();
    });
    const { pathname, port } = new URL(site.alice.url);
    const socket = connect(Number(port), '127.0.0.1');
    socket.on('error', () => undefined);
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'any' } });
    const head = {
      host: `127.0.0.1:${port}`,
      'content-type': 'application/json',
      'content-length': body.length,
      ...site.client.headers,
    };
    const lines = Object.entries(head).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`POST ${pathname} HTTP/1.1\r\n${lines.join('')}\r\n${body}`);
    await once(socket, 'readable');
    await waitUntil('the upstream cannot send more', async () => {
      const before = sent;
      await new Promise((resolve) => setTimeout(resolve, 200));
      return sent === before && sent > 0;
    });
    // What fits into the buffers of the sockets in between, and no more.
    expect(sent).toBeLessThan(20 * 1024 * 1024);
    await waitUntil('it was dropped', () => isBroken, 35_000);
    socket.destroy();
    expect((await openEvents(site.alice.url, { method: 'GET', headers: site.client.headers })).status).toBe(
      405,
    );
  }, 60_000);
});
