import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { startTicksOf } from '../../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/ownershipMark.js';
import { callAuditOf } from '../../support/callAudit.js';
import { aHostileService } from '../../support/aStdioService.js';
import { waitUntil } from '../../support/eventually.js';
import { initialize, modern, send, startRequest, textOf } from '../../support/mcpHttp.js';
import { openUniversalServer, revokeInstance, type UniversalServer } from '../../support/universalServer.js';

describe('conversations of the legacy era over a stdio child', () => {
  let server: UniversalServer;
  beforeAll(async () => {
    server = await openUniversalServer({ definition: aHostileService({ maxPerUser: 50, maxProcesses: 50 }) });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  it.each([
    [
      'sample',
      'sampling/createMessage',
      { role: 'assistant', content: { type: 'text', text: 'hi' }, model: 'm' },
    ],
    ['elicit', 'elicitation/create', { action: 'accept', content: { name: 'Ada' } }],
    ['roots', 'roots/list', { roots: [{ uri: 'file:///home/ada' }] }],
  ])(
    'U07 %s: the server’s question goes to the caller’s own stream, its answer back',
    async (tool, method, result) => {
      const { url } = await server.aUrl();
      const session = await initialize(url, { sampling: {}, elicitation: {}, roots: {} });
      const other = await initialize(url, { sampling: {}, elicitation: {}, roots: {} });
      const events = await session.open('tools/call', { name: tool, arguments: {} });
      const asked = await events.next();
      expect(asked.method).toBe(method);
      // Nobody else can answer for the client, not even in another session of the same instance.
      expect((await other.respond({ id: asked.id, result: { forged: true } })).status).toBe(202);
      expect((await session.respond({ id: asked.id, result })).status).toBe(202);
      const answered = await events.next(({ id }) => typeof id === 'string' && id.startsWith('q'));
      expect(JSON.parse(answered.result.content[0].text)).toEqual(result);
    },
  );

  it('U07 progress, logs of the level that was set, and a plain JSON answer where nothing comes before it', async () => {
    const { url } = await server.aUrl();
    const session = await initialize(url);
    const plain = await session.call('echo', { text: 'ahoy' });
    expect([plain.headers['content-type'], textOf(plain)]).toEqual(['application/json', 'ahoy']);
    const progress = await session.call('progress', {}, { progressToken: 7 });
    expect(progress.events.slice(0, -1).map(({ params }) => params.progressToken)).toEqual([7, 7]);
    expect((await session.call('log', { level: 'info' })).events.map(({ method }) => method)).toEqual([
      'notifications/message',
      undefined,
    ]);
    expect((await session.request('logging/setLevel', { level: 'error' })).json.result).toEqual({});
    expect((await session.call('log', { level: 'info' })).events).toEqual([]);
    expect((await session.call('log', { level: 'critical' })).events).toHaveLength(2);
  });

  it('U07 resources: read, subscribe, updates on the GET stream of the subscriber only, unsubscribe', async () => {
    const { url } = await server.aUrl();
    const [subscriber, other] = [await initialize(url), await initialize(url)];
    const [updates, silence] = [await subscriber.stream(), await other.stream()];
    expect(
      (await subscriber.request('resources/read', { uri: 'test://one' })).json.result.contents[0].uri,
    ).toBe('test://one');
    await subscriber.request('resources/subscribe', { uri: 'test://one' });
    await other.call('touch', { uri: 'test://one' });
    expect(await updates.next()).toMatchObject({
      method: 'notifications/resources/updated',
      params: { uri: 'test://one' },
    });
    await subscriber.request('resources/unsubscribe', { uri: 'test://one' });
    await other.call('touch', { uri: 'test://one' });
    await other.call('grow');
    expect(await updates.next()).toMatchObject({ method: 'notifications/tools/list_changed' });
    expect(await silence.next()).toMatchObject({ method: 'notifications/tools/list_changed' });
    updates.close();
    silence.close();
  });

  it('R23 cancels upstream when the client cancels, and when it goes away', async () => {
    const { url } = await server.aUrl();
    const session = await initialize(url);
    for (const way of ['notification', 'disconnect'] as const) {
      const cancelFile = join(server.config.paths.stateDir, `cancelled-${way}`);
      const params = { name: 'hang', arguments: { cancelFile } };
      const body = { jsonrpc: '2.0', id: way, method: 'tools/call', params };
      const { request, response } = startRequest(url, { headers: session.headers, body });
      const ended = response.then(
        ({ statusCode }) => statusCode,
        () => 'cut',
      );
      await session.call('echo');
      if (way === 'notification') await session.notify('notifications/cancelled', { requestId: way });
      else request.destroy();
      await waitUntil('the upstream was told', () => existsSync(cancelFile), 1_500);
      expect(await ended).toBe(way === 'notification' ? 200 : 'cut');
    }
  });

  it('12.18 a session outlives the process: level and subscriptions are restored, a deleted one stays deleted', async () => {
    const { url } = await server.aUrl();
    const [kept, deleted] = [await initialize(url), await initialize(url)];
    await kept.request('logging/setLevel', { level: 'warning' });
    await kept.request('resources/subscribe', { uri: 'test://one' });
    await send(url, { method: 'DELETE', headers: deleted.headers });
    await server.restart();
    const heard = JSON.parse(textOf(await kept.call('heard')));
    expect(heard).toEqual(expect.arrayContaining([{ setLevel: 'warning' }, { subscribe: 'test://one' }]));
    expect((await deleted.request('ping')).status).toBe(404);
  });

  it('R06 tells a call whose child died once, as an error, and serves the session on', async () => {
    const { url, id } = await server.aUrl();
    const session = await initialize(url);
    const stream = await session.stream();
    const crashed = await session.call('crash');
    expect([crashed.status, crashed.json.error.code, crashed.json.error.data.code]).toEqual([
      200,
      -32603,
      'UPSTREAM_FAILED',
    ]);
    expect(textOf(await session.call('echo', { text: 'again' }))).toBe('again');
    expect(await stream.next()).toMatchObject({ method: 'notifications/tools/list_changed' });
    stream.close();
    await waitUntil('every intent has its outcome', async () => {
      const rows = await callAuditOf(server, id);
      const [intents, outcomes] = ['intent', 'outcome'].map((phase) =>
        rows.filter((row) => row.phase === phase),
      );
      return intents?.length === 3 && outcomes?.length === 3 && outcomes[1]?.outcome === 'error';
    });
  });

  it('A04 a revoked instance: its streams and children end within 2 s, its sessions answer like none', async () => {
    const made = await server.aUrl();
    const session = await initialize(made.url, { sampling: {} });
    const stream = await session.stream();
    const pid = Number(textOf(await session.call('pid')));
    const hanging = session.call('hang');
    const revokedAt = performance.now();
    await revokeInstance(server, made);
    await stream.ended;
    await waitUntil('the child is gone', () => !existsSync(`/proc/${pid}/cmdline`) || isZombie(pid), 2_000);
    expect(performance.now() - revokedAt).toBeLessThan(2_500);
    expect((await hanging).status).toBe(404);
    expect((await session.request('ping')).status).toBe(404);
  });

  it('keeps instances apart: a hundred calls of two users over their own children', async () => {
    const urls = [await server.aUrl(), await server.aUrl()];
    const sessions = await Promise.all(urls.map(({ url }) => initialize(url)));
    const homes = await Promise.all(
      Array.from(
        { length: 30 },
        async (_, at) => JSON.parse(textOf(await sessions[at % 2]!.call('env'))).HOME,
      ),
    );
    homes.forEach((home, at) => expect(home).toContain(urls[at % 2]?.id));
  });
});

describe('limits, deadlines and policy', () => {
  it('R05 ends a call that never ends, progress or not, frees its place and cancels upstream', async () => {
    const definition = aHostileService();
    await using server = await openUniversalServer({
      definition: { ...definition, limits: { ...definition.limits, timeoutMs: 300, concurrency: 1 } },
    });
    const { url, id } = await server.aUrl();
    const session = await initialize(url);
    for (const [name, meta] of [
      ['hang', undefined],
      ['hangWithProgress', { progressToken: 1 }],
    ] as const) {
      const answer = await session.call(name, {}, meta);
      expect([answer.json.error.code, answer.json.error.data.code]).toEqual([-32603, 'UPSTREAM_TIMEOUT']);
    }
    expect(textOf(await session.call('echo', { text: 'free' }))).toBe('free');
    const heard = textOf(await session.call('heard'));
    expect(heard.match(/notifications\/cancelled/g)).toHaveLength(2);
    await waitUntil(
      'the audit says timeout',
      async () => (await callAuditOf(server, id)).filter(({ outcome }) => outcome === 'timeout').length === 2,
    );
  });

  it('429 with Retry-After beyond the rate and beyond the calls at once', async () => {
    const definition = aHostileService();
    await using server = await openUniversalServer({
      definition: {
        ...definition,
        limits: { ...definition.limits, requestsPerMinute: 60, burst: 5, concurrency: 1 },
      },
    });
    const { url } = await server.aUrl();
    const session = await initialize(url);
    const hanging = startRequest(url, {
      headers: session.headers,
      body: { jsonrpc: '2.0', id: 'h', method: 'tools/call', params: { name: 'hang' } },
    });
    hanging.response.catch(() => {});
    await waitUntil(
      'a second call is refused',
      async () => (await session.call('echo')).status === 429,
      1_000,
    );
    const refused = await session
      .request('ping')
      .then(() => session.request('ping'))
      .then(() => session.request('ping'));
    expect([refused.status, Number(refused.headers['retry-after']) >= 1]).toEqual([429, true]);
    hanging.request.destroy();
  });

  it('tool policy: what is hidden cannot be called, a renamed tool answers to its new name only, in both eras', async () => {
    const definition = aHostileService();
    const toolPolicy = {
      ...definition.toolPolicy,
      allow: ['echo', 'e*', 'pid', 'count'],
      deny: ['elicit'],
      rename: { echo: 'repeat' },
      describe: { pid: 'Who are you?' },
      readOnlyDefault: true,
    };
    await using server = await openUniversalServer({ definition: { ...definition, toolPolicy } });
    const { url } = await server.aUrl();
    const session = await initialize(url);
    // Called before anything was listed: the policy asks for the list itself.
    expect(textOf(await session.call('env'))).toContain('PATH');
    const listed = (await session.request('tools/list')).json.result.tools as {
      name: string;
      description: string;
    }[];
    expect(listed.map(({ name }) => name)).toEqual(['repeat', 'pid', 'count', 'env']);
    expect(listed.find(({ name }) => name === 'pid')?.description).toBe('Who are you?');
    expect((await send(url, modern('tools/list'))).json.result.tools).toHaveLength(4);
    expect(textOf(await session.call('repeat', { text: 'yes' }))).toBe('yes');
    for (const hidden of ['echo', 'elicit', 'crash', 'heard']) {
      expect((await session.call(hidden)).json.error.code).toBe(-32602);
      expect((await send(url, modern('tools/call', { name: hidden }))).json.error.code).toBe(-32602);
    }
  });
});

describe('without a credential', () => {
  it('I07 12.15 initialize is answered, one tool says how to connect, calls are results the model can read', async () => {
    const definition = aHostileService();
    const [method] = definition.credentials.methods;
    const credentials = {
      ...definition.credentials,
      scope: 'per-user' as const,
      methods: [
        {
          ...method!,
          type: 'fields' as const,
          id: 'key',
          label: 'Key',
          helpUrl: 'https://help.example/key',
          fields: [],
        },
      ],
    };
    await using server = await openUniversalServer({ definition: { ...definition, credentials } });
    const { url, owner } = await server.aUrl();
    const session = await initialize(url);
    expect(session.result.capabilities.tools).toBeDefined();
    const { tools } = (await session.request('tools/list')).json.result;
    expect(tools.map(({ name }: { name: string }) => name)).toEqual(['connect_everything']);
    for (const answer of [
      await session.call('connect_everything'),
      await send(url, modern('tools/call', { name: 'echo' })),
    ]) {
      expect([answer.status, answer.json.result.isError]).toEqual([200, true]);
      expect(textOf(answer)).toContain('Everything');
      expect(textOf(answer)).toContain(`${server.config.publicUrl.origin}/console/connect/everything`);
      expect(textOf(answer)).toContain('https://help.example/key');
    }
    expect((await send(url, modern('server/discover'))).json.result.supportedVersions).toEqual([
      '2026-07-28',
    ]);

    const connected = await server.aUrl({ owner, label: 'second', fields: { token: 'x' } });
    const working = await initialize(connected.url);
    expect(textOf(await working.call('echo', { text: 'with one' }))).toBe('with one');
  });
});

function isZombie(pid: number): boolean {
  return startTicksOf(pid) === null;
}
