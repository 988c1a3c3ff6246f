import { describe, expect, it } from '@jest/globals';
import { openPassedSite } from '../../support/aPassedSite.js';
import { waitUntil } from '../../support/eventually.js';
import { connectClient } from '../../support/mcpClients.js';
import { initialize, openEvents, send, startRequest, textOf } from '../../support/mcpHttp.js';
import { pauseInstance } from '../../support/universalServer.js';

const paramsOf = (text = '{}') => (JSON.parse(text) as { params: unknown }).params;
const stream = { accept: 'text/event-stream' };

describe('a session that passes', () => {
  it('D09 is not found for another tenant, nor when it ended, and is required', async () => {
    await using site = await openPassedSite();
    const client = await initialize(site.url);
    const bob = await site.server.aUrl({ fields: { token: 'token-of-bob' } });
    const body = { jsonrpc: '2.0', id: 1, method: 'tools/list' };
    const ask = (url: string, headers: Record<string, string>) => send(url, { headers, body });
    const before = site.upstream.exchanged.length;
    expect((await ask(bob.url, { ...client.headers })).status).toBe(404);
    expect((await ask(site.url, { 'mcp-session-id': `${client.sessionId}x` })).status).toBe(404);
    expect((await ask(site.url, {})).status).toBe(400);
    const upstreamId = String(site.upstream.of('tools/list')[0]?.headers['mcp-session-id']);
    expect((await ask(bob.url, { 'mcp-session-id': upstreamId })).status).toBe(404);
    // Nothing but bob's own first question for the era may have reached the upstream.
    const reached = site.upstream.exchanged.slice(before).filter(({ method }) => method === 'tools/list');
    expect(reached).toEqual([]);

    expect((await send(site.url, { method: 'DELETE', headers: client.headers })).status).toBe(200);
    expect(site.upstream.sessions).toBe(0);
    expect((await ask(site.url, { ...client.headers })).status).toBe(404);
  });

  it('D09 has one stream, which a second one does not displace; what the server says comes on it', async () => {
    await using site = await openPassedSite();
    const client = await initialize(site.url);
    const first = await client.stream();
    expect(first.status).toBe(200);
    await waitUntil('the stream is open', () => site.upstream.streams === 1);
    const second = await send(site.url, { method: 'GET', headers: { ...client.headers, ...stream } });
    expect(second.status).toBe(409);
    await site.upstream.tell('notifications/tools/list_changed');
    expect((await first.next())?.method).toBe('notifications/tools/list_changed');
    first.close();
    await waitUntil('the stream is closed', () => site.upstream.streams === 0);
    const third = await client.stream();
    expect(third.status).toBe(200);
    third.close();
  });

  it('U07 R06 goes on through a restart of the service, without its client noticing', async () => {
    await using site = await openPassedSite();
    const client = await initialize(site.url);
    await using sdk = await connectClient('SDK v1', site.url);
    await client.request('logging/setLevel', { level: 'warning' });
    const opened = site.upstream.of('initialize').length;
    await site.server.restart();
    expect(textOf(await client.call('echo', { text: 'still here' }))).toBe('still here');
    expect(await sdk.callTool('echo', { text: 'me too' })).toBe('me too');
    expect(site.upstream.of('initialize')).toHaveLength(opened);
    expect(site.upstream.sessions).toBe(2);
  });

  it.each([404, 400] as const)(
    'U08 is renewed underneath when the upstream lost it and says so with %s, with what it had settled',
    async (lostStatus) => {
      await using site = await openPassedSite({ lostStatus });
      const client = await initialize(site.url, { sampling: {} });
      await client.request('logging/setLevel', { level: 'error' });
      await client.request('resources/subscribe', { uri: 'test://one' });
      const before = site.upstream.of('initialize');
      await site.upstream.forget();
      const answers = await Promise.all([
        client.call('echo', { text: 'one' }),
        client.call('echo', { text: 'two' }),
      ]);
      expect(answers.map(textOf)).toEqual(['one', 'two']);
      const [renewed, ...more] = site.upstream.of('initialize').slice(before.length);
      expect(more).toEqual([]);
      expect(paramsOf(renewed?.text)).toEqual(paramsOf(before.at(-1)?.text));
      expect(site.upstream.of('logging/setLevel')).toHaveLength(2);
      expect(site.upstream.of('resources/subscribe')).toHaveLength(2);
      expect(site.upstream.sessions).toBe(1);

      // The renewed one is the session's own now, for another process of the service too.
      await site.server.restart();
      expect(textOf(await client.call('echo', { text: 'three' }))).toBe('three');
      expect(site.upstream.of('initialize')).toHaveLength(before.length + 1);
    },
  );

  it('U07 U08 resumes a stream at the upstream by its last event', async () => {
    await using site = await openPassedSite({ isResumable: true });
    const client = await initialize(site.url);
    const body = {
      jsonrpc: '2.0',
      id: 5,
      method: 'tools/call',
      params: { name: 'steps', arguments: { steps: 3 }, _meta: { progressToken: 'p' } },
    };
    const whole = await send(site.url, { headers: client.headers, body });
    const ids = [...whole.text.matchAll(/^id: (.*)$/gm)].map(([, id]) => id ?? '');
    const resumed = await openEvents(site.url, {
      method: 'GET',
      headers: { ...client.headers, ...stream, 'last-event-id': ids[1] ?? '' },
    });
    const again = [await resumed.next(), await resumed.next(), await resumed.next()];
    expect(again).toEqual(whole.events.slice(-3));
    resumed.close();
  });

  it('A04 ends with its instance, its stream on both sides', async () => {
    await using site = await openPassedSite();
    const client = await initialize(site.url);
    const open = await client.stream();
    await waitUntil('the stream is open', () => site.upstream.streams === 1);
    await pauseInstance(site.server, site.alice);
    await open.ended;
    await waitUntil('the stream is closed', () => site.upstream.streams === 0);
    expect((await client.call('echo')).status).toBe(404);
  });

  it('A04 ends with its instance what is sent to begin it anew, and sends nothing after that', async () => {
    let isLost = false;
    await using site = await openPassedSite({
      isHanging: (method) => isLost && method === 'initialize',
    });
    const client = await initialize(site.url);
    isLost = true;
    await site.upstream.forget();
    const answer = client.call('echo', { text: 'late' });
    await waitUntil('the session is begun anew', () => site.upstream.hanging === 1);
    await pauseInstance(site.server, site.alice);
    expect((await answer).json.error.data.code).toBe('NOT_FOUND');
    await waitUntil('the upstream is left', () => site.upstream.hanging === 0);
    expect(site.upstream.exchanged.at(-1)?.method).toBe('initialize');
  });

  it('A04 ends with its instance a message that has no answer', async () => {
    const method = 'notifications/roots/list_changed';
    await using site = await openPassedSite({ isHanging: (one) => one === method });
    const client = await initialize(site.url);
    const told = send(site.url, { headers: client.headers, body: { jsonrpc: '2.0', method } });
    await waitUntil('it arrived', () => site.upstream.hanging === 1);
    await pauseInstance(site.server, site.alice);
    expect((await told).status).toBe(404);
    await waitUntil('the upstream is left', () => site.upstream.hanging === 0);
  });

  it('R23 does not wait long for a server that takes no cancellation', async () => {
    const method = 'notifications/cancelled';
    await using site = await openPassedSite({ isJson: true, isHanging: (one) => one === method });
    const client = await initialize(site.url);
    const { request, response } = startRequest(site.url, {
      headers: client.headers,
      body: { jsonrpc: '2.0', id: 9, method: 'tools/call', params: { name: 'wait', arguments: {} } },
    });
    response.catch(() => undefined);
    await waitUntil('the call arrived', () => site.upstream.of('tools/call').length === 1);
    request.destroy();
    await waitUntil('it is cancelled', () => site.upstream.hanging === 1);
    await waitUntil('the upstream is left', () => site.upstream.hanging === 0, 10_000);
    expect(site.upstream.of(method)).toHaveLength(1);
  });

  it('R23 leaves no session upstream of clients that vanished', async () => {
    const limits = { requestsPerMinute: 10_000, burst: 1_000, concurrency: 100 };
    await using site = await openPassedSite({}, { limits });
    const clients = await Promise.all(Array.from({ length: 50 }, () => initialize(site.url)));
    const streams = await Promise.all(clients.map((client) => client.stream()));
    expect(streams.map(({ status }) => status)).toEqual(streams.map(() => 200));
    await waitUntil('all streams are open', () => site.upstream.streams === 50);
    expect(site.upstream.sessions).toBe(50);
    for (const one of streams) one.close();
    await waitUntil('all sessions are ended', () => site.upstream.sessions === 0, 30_000);
    // One that comes back all the same notices nothing.
    expect(textOf(await clients[7]!.call('echo', { text: 'back again' }))).toBe('back again');
    expect(site.upstream.sessions).toBe(1);
  }, 60_000);
});
