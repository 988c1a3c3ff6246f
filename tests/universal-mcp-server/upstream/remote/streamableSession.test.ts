import { afterEach, describe, expect, it } from '@jest/globals';
import { AppError } from '../../../../backend/src/errors/appError.js';
import {
  anInstance,
  aRemoteService,
  ask,
  call,
  Ear,
  never,
  openRemote,
  termsOf,
  textOf,
} from '../../../support/aRemoteUpstream.js';
import { waitUntil } from '../../../support/eventually.js';
import { openLegacyServer, type LegacyServerWish } from '../../../support/legacyServer.js';

const opened: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

async function open(wish: LegacyServerWish = {}, remote: object = {}) {
  const server = await openLegacyServer(wish);
  opened.push(server);
  const site = openRemote(aRemoteService(server.url, { ...remote }));
  opened.push(site);
  return { server, ...site };
}

async function failure(promise: Promise<unknown>): Promise<AppError> {
  const error: unknown = await promise.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(AppError);
  return error as AppError;
}

describe('U04 a server of the legacy era over Streamable HTTP', () => {
  it.each([
    ['streams', {}],
    ['JSON bodies', { json: true }],
  ] as const)('is initialized once and called with the credential, by %s', async (_name, wish) => {
    const { server, upstream } = await open(wish, { protocol: 'legacy' });
    const connection = await upstream.connect(termsOf('alice'), never);
    expect(connection.era).toBe('legacy');
    expect(connection.server).toMatchObject({
      protocolVersion: '2025-11-25',
      serverInfo: { name: 'legacy-fixture' },
      instructions: 'A server for tests.',
    });
    expect(textOf(await call(connection, 'echo', { text: 'grüße' }))).toBe('grüße');
    expect(textOf(await call(connection, 'whoami'))).toBe('Bearer key-of-alice');
    expect(server.of('initialize')).toHaveLength(1);
    expect(server.of('notifications/initialized')).toHaveLength(1);
    connection.release();
  });

  it('speaks with a server that has no sessions without one, a stream or an end', async () => {
    const { server, upstream } = await open(
      { stateless: true },
      { protocol: 'legacy', session: 'stateless' },
    );
    const connection = await upstream.connect(termsOf('alice'), never);
    connection.listen(new Ear());
    expect(textOf(await call(connection, 'whoami'))).toBe('Bearer key-of-alice');
    connection.release();
    await upstream[Symbol.asyncDispose]();
    expect(new Set(server.received.map(({ method }) => method))).toEqual(new Set(['POST']));
  });

  it('answers under the id that was asked with, and tells progress and logs to the one who asked', async () => {
    const { upstream } = await open();
    const connection = await upstream.connect(termsOf('alice'), never);
    const ear = new Ear();
    const request = {
      jsonrpc: '2.0',
      id: 'mine',
      method: 'tools/call',
      params: { name: 'report', _meta: { progressToken: 'p1' } },
    } as const;
    const response = await connection.request(request, ear, never);
    expect(response.id).toBe('mine');
    expect(textOf(response)).toBe('reported');
    expect(ear.notifications).toMatchObject([
      { method: 'notifications/progress', params: { progressToken: 'p1', progress: 1 } },
      { method: 'notifications/message', params: { data: 'half way' } },
    ]);
  });

  it('carries a question of the server to the one whose call it belongs to', async () => {
    const { upstream } = await open();
    const client = {
      protocolVersion: '2025-11-25',
      capabilities: { elicitation: {} },
      clientInfo: { name: 't', version: '1' },
    };
    const connection = await upstream.connect(termsOf('alice', { client }), never);
    const ears = [new Ear(), new Ear()];
    const answers = await Promise.all(ears.map((ear) => call(connection, 'ask', {}, { ear })));
    expect(answers.map(textOf)).toEqual(['decline', 'decline']);
    expect(ears.map(({ requests }) => requests.length)).toEqual([1, 1]);
  });

  it('R23 cancels at the server when the caller gives up', async () => {
    const { server, upstream } = await open();
    const connection = await upstream.connect(termsOf('alice'), never);
    const stop = new AbortController();
    const waiting = call(connection, 'wait', {}, { signal: stop.signal });
    await waitUntil('the call', () => server.of('tools/call').length === 1);
    stop.abort(new Error('the caller is gone'));
    await expect(waiting).rejects.toThrow('the caller is gone');
    await waitUntil('the cancellation', () => server.cancelled.includes('wait'));
  });

  it('hears the server outside of requests, and again after the stream broke', async () => {
    const { server, upstream } = await open({ resumable: true });
    const connection = await upstream.connect(termsOf('alice'), never);
    const ear = new Ear();
    connection.listen(ear);
    await waitUntil('the stream', () => server.received.some(({ method }) => method === 'GET'));
    await call(connection, 'changed');
    await waitUntil('the notification', () => ear.notifications.length === 1);
    server.breakConnections();
    await waitUntil(
      'another stream',
      () => server.received.filter(({ method }) => method === 'GET').length === 2,
      10_000,
    );
    // The server takes a moment to join the new stream to what it says.
    await waitUntil('another notification', async () => {
      await call(connection, 'changed');
      return ear.notifications.length > 1;
    });
    const second = server.received.filter(({ method }) => method === 'GET')[1];
    expect(second?.headers['last-event-id']).toBeDefined();
    expect(ear.closed).toBe(0);
  });

  it('begins a lost session anew with what was settled, and sends the refused call once more', async () => {
    const { server, upstream } = await open({}, { protocol: 'legacy' });
    const connection = await upstream.connect(termsOf('alice'), never);
    await ask(connection, 'logging/setLevel', { level: 'warning' });
    await ask(connection, 'resources/subscribe', { uri: 'file:///a' });
    server.loseSessions();
    const answers = await Promise.all([
      call(connection, 'echo', { text: 'one' }),
      call(connection, 'echo', { text: 'two' }),
    ]);
    expect(answers.map(textOf)).toEqual(['one', 'two']);
    expect(server.of('initialize')).toHaveLength(2);
    expect(server.settled).toEqual([
      'level warning',
      'subscribed file:///a',
      'level warning',
      'subscribed file:///a',
    ]);
  });

  it('R06 never says of a call that was sent that it was not, where its session cannot be begun anew', async () => {
    let isAway = false;
    const server = await openLegacyServer({
      intercept({ text }, response) {
        if (!text.includes('"echo"')) return false;
        isAway = true;
        response.writeHead(404).end();
        return true;
      },
    });
    opened.push(server);
    const values = { token: 't', fields: new Map([['token', 't']]) };
    const openValues = () => {
      if (isAway) throw new AppError('UPSTREAM_UNREACHABLE', 'refused');
      return values;
    };
    const site = openRemote(aRemoteService(server.url, { protocol: 'legacy' }), { openValues });
    opened.push(site);
    const connection = await site.upstream.connect(termsOf('alice'), never);
    const underWay = failure(call(connection, 'wait'));
    await waitUntil('the call is under way', () => server.of('tools/call').length === 1);
    await failure(call(connection, 'echo'));
    // As UPSTREAM_UNREACHABLE on a lost connection it would be sent a second time.
    expect((await underWay).code).toBe('UPSTREAM_FAILED');
    expect(connection.isLost).toBe(true);
  });

  it('ends the session at the server when the conversation is over', async () => {
    const { server, upstream } = await open();
    const connection = await upstream.connect(termsOf('alice'), never);
    expect(server.sessions.size).toBe(1);
    connection.release();
    await waitUntil('the end of the session', () => server.sessions.size === 0);
    expect(upstream.counts()).toMatchObject({ sessions: 0 });
  });

  it('closes what an instance holds when it is revoked, and nothing of its neighbour', async () => {
    const { server, upstream } = await open();
    const alice = await upstream.connect(termsOf('alice'), never);
    const bob = await upstream.connect(termsOf('bob'), never);
    const ear = new Ear();
    alice.listen(ear);
    const waiting = failure(call(alice, 'wait'));
    await waitUntil('the call', () => server.of('tools/call').length === 1);
    upstream.forget('instance-of-alice', null);
    expect((await waiting).code).toBe('UPSTREAM_FAILED');
    expect(ear.closed).toBe(1);
    expect(alice.isLost).toBe(true);
    expect(textOf(await call(bob, 'whoami'))).toBe('Bearer key-of-bob');
    await waitUntil('the end of the session', () => server.sessions.size === 1);
  });

  it('uses a credential that was replaced with the next message, and keeps what is of now', async () => {
    const { upstream, tokens } = await open();
    const terms = termsOf('alice');
    const connection = await upstream.connect(terms, never);
    tokens.set(terms.instance.id, 'fresh');
    expect(textOf(await call(connection, 'whoami'))).toBe('Bearer fresh');
    upstream.forget(terms.instance.id, anInstance('alice'));
    expect(textOf(await call(connection, 'whoami'))).toBe('Bearer fresh');
  });
});

describe('sessions that are shared', () => {
  it('joins the conversations of an instance that cannot be asked, and no others', async () => {
    const { server, upstream } = await open({}, { session: 'per-instance' });
    const asked = {
      protocolVersion: '2025-11-25',
      capabilities: { roots: {} },
      clientInfo: { name: 't', version: '1' },
    };
    const connections = [
      await upstream.connect(termsOf('alice'), never),
      await upstream.connect(termsOf('alice'), never),
      await upstream.connect(termsOf('alice', { client: asked }), never),
      await upstream.connect(termsOf('bob'), never),
    ];
    expect(server.sessions.size).toBe(3);
    const ears = connections.map(() => new Ear());
    const answers = await Promise.all(
      connections.map((connection, at) =>
        call(connection, 'report', {}, { ear: ears[at] as Ear, meta: { progressToken: 'same' } }),
      ),
    );
    expect(answers.map(textOf)).toEqual(['reported', 'reported', 'reported', 'reported']);
    for (const ear of ears)
      expect(ear.notifications.filter(({ method }) => method === 'notifications/progress')).toMatchObject([
        { params: { progressToken: 'same' } },
      ]);
  });

  it('keeps a level and subscriptions of each conversation, and tells the server what all need', async () => {
    const { server, upstream } = await open({}, { session: 'per-instance' });
    const one = await upstream.connect(termsOf('alice'), never);
    const other = await upstream.connect(termsOf('alice'), never);
    await ask(one, 'logging/setLevel', { level: 'debug' });
    await ask(other, 'logging/setLevel', { level: 'error' });
    const ears = [new Ear(), new Ear()];
    await call(one, 'report', {}, { ear: ears[0] as Ear });
    await call(other, 'report', {}, { ear: ears[1] as Ear });
    expect(ears.map(({ notifications }) => notifications.length)).toEqual([1, 0]);
    expect(server.settled).toEqual(['level debug']);
  });
});
