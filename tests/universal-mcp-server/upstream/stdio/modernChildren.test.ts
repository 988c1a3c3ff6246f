/** Children that speak revision 2026-07-28 over stdio, alone or beside the legacy era. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { toEnvelope } from '../../../../backend/src/mcp-servers/universal-mcp-server/protocol/envelope.js';
import type { UpstreamConnection } from '../../../../backend/src/mcp-servers/universal-mcp-server/upstream/upstream.js';
import { aHostileService, stdioServersDir } from '../../../support/aStdioService.js';
import {
  aListener,
  anUpstream,
  call,
  closeUpstreams,
  never,
  termsOf,
  textOf,
} from '../../../support/aStdioUpstream.js';
import { waitUntil } from '../../../support/eventually.js';

afterEach(closeUpstreams);

const modernServer = join(stdioServersDir, 'modernServer.mjs');
const client = { clientInfo: { name: 'test', version: '1' }, capabilities: { elicitation: { form: {} } } };
const meta = toEnvelope(client);
const logging = { ...meta, 'io.modelcontextprotocol/logLevel': 'info' };

const aModernUpstream = (protocol: 'auto' | 'legacy' | 'modern', ...flags: string[]) =>
  anUpstream({ args: [modernServer, ...flags], protocol });

const eraOf = async (connection: UpstreamConnection): Promise<string[]> => [
  connection.era,
  textOf(await call(connection, 'era', {}, connection.era === 'modern' ? { meta } : {})),
];

/** Listens for changes of the list of tools; resolves when it is acknowledged. */
async function listen(connection: UpstreamConnection, id: string, signal = never) {
  const listener = aListener();
  const params = { _meta: meta, notifications: { toolsListChanged: true } };
  const request = { jsonrpc: '2.0', id, method: 'subscriptions/listen', params } as const;
  const ended = connection.request(request, listener, signal).catch((error: unknown) => error);
  await waitUntil('the stream is acknowledged', () => listener.heard.length > 0);
  return { listener, ended };
}

const subscriptionOf = ({ params }: { params?: Readonly<Record<string, unknown>> }): unknown =>
  (params?.['_meta'] as Record<string, unknown> | undefined)?.['io.modelcontextprotocol/subscriptionId'];

describe('a modern stdio child', () => {
  it('U02 U07 answers in the era of each client when it speaks both, with a child for each era', async () => {
    const { upstream } = aModernUpstream('auto');
    const [legacy, modern] = [
      await upstream.connect(termsOf({ preferredEra: 'legacy' }), never),
      await upstream.connect(termsOf({ preferredEra: 'modern', sessionId: null }), never),
    ];
    expect(await eraOf(legacy)).toEqual(['legacy', 'legacy']);
    expect(await eraOf(modern)).toEqual(['modern', 'modern']);
    expect(modern.server).toMatchObject({
      protocolVersion: '2026-07-28',
      serverInfo: { name: 'both-eras' },
      instructions: 'served in the modern era',
    });
    const again = await upstream.connect(termsOf({ preferredEra: 'legacy', sessionId: 'another' }), never);
    expect(textOf(await call(again, 'pid'))).toBe(textOf(await call(legacy, 'pid')));
    expect(upstream.counts()).toMatchObject({ idle: 2, starting: 0 });
  });

  it.each(['legacy', 'modern'] as const)(
    'U02 serves a client of the %s era in the only era that the server speaks, over one child',
    async (preferredEra) => {
      const modernOnly = aModernUpstream('auto', '--modern-only').upstream;
      const connection = await modernOnly.connect(termsOf({ preferredEra }), never);
      expect(await eraOf(connection)).toEqual(['modern', 'modern']);
      const other = preferredEra === 'legacy' ? 'modern' : 'legacy';
      const another = await modernOnly.connect(termsOf({ preferredEra: other, sessionId: 'b' }), never);
      expect(another.era).toBe('modern');
      expect(textOf(await call(another, 'pid', {}, { meta }))).toBe(
        textOf(await call(connection, 'pid', {}, { meta })),
      );
      expect(modernOnly.counts()).toMatchObject({ idle: 1, starting: 0 });

      const legacyOnly = anUpstream({ protocol: 'auto' }).upstream;
      const found = await legacyOnly.connect(termsOf({ preferredEra }), never);
      expect(found.era).toBe('legacy');
      expect(textOf(await call(found, 'echo', { text: 'legacy' }))).toBe('legacy');
      const second = await legacyOnly.connect(termsOf({ preferredEra: other }), never);
      await waitUntil('one child is left', () => {
        const { idle, stopping } = legacyOnly.counts();
        return idle === 1 && stopping === 0;
      });
      expect(textOf(await call(second, 'pid'))).toBe(textOf(await call(found, 'pid')));
    },
  );

  it('U02 starts a server once more that ends at a request before `initialize`, and takes the file at its word', async () => {
    const { upstream } = aModernUpstream('auto', '--brittle');
    const connection = await upstream.connect(termsOf({ preferredEra: 'modern' }), never);
    expect(await eraOf(connection)).toEqual(['legacy', 'legacy']);

    const pinned = aModernUpstream('legacy').upstream;
    expect((await pinned.connect(termsOf({ preferredEra: 'modern' }), never)).era).toBe('legacy');
    const modern = aModernUpstream('modern').upstream;
    expect((await modern.connect(termsOf({ preferredEra: 'legacy' }), never)).era).toBe('modern');
    const refusing = anUpstream({ protocol: 'modern' }).upstream;
    await expect(refusing.connect(termsOf(), never)).rejects.toMatchObject({ code: 'UPSTREAM_FAILED' });
  });

  it('U07 is shared by all conversations of an instance, even those that can be asked', async () => {
    const { upstream } = aModernUpstream('modern');
    const capabilities = { elicitation: {} };
    const alice = await upstream.connect(termsOf({ sessionId: 'a', capabilities }), never);
    const bob = await upstream.connect(termsOf({ sessionId: 'b', capabilities }), never);
    const carol = await upstream.connect(termsOf({ id: 'other', userId: 'carol' }), never);
    const [first, second, third] = [
      await call(alice, 'pid', {}, { meta }),
      await call(bob, 'pid', {}, { meta }),
      await call(carol, 'pid', {}, { meta }),
    ];
    expect(textOf(first)).toBe(textOf(second));
    expect(textOf(first)).not.toBe(textOf(third));
  });

  it('U07 passes the envelope, maps ids and progress, and gives questions back as results', async () => {
    const { upstream } = aModernUpstream('modern');
    const connection = await upstream.connect(termsOf({ preferredEra: 'modern' }), never);
    expect(JSON.parse(textOf(await call(connection, 'meta', {}, { meta })))).toEqual(meta);
    const listener = aListener();
    const progressed = await call(
      connection,
      'progress',
      {},
      { meta: { ...meta, progressToken: 'p' }, listener },
    );
    expect(textOf(progressed)).toBe('done');
    expect(listener.heard.map(({ params }) => params?.['progressToken'])).toEqual(['p', 'p']);

    const asked = await call(connection, 'ask', {}, { meta });
    expect(asked).toMatchObject({ result: { resultType: 'input_required', requestState: 'round 1' } });
    const inputResponses = { name: { action: 'accept', content: { name: 'Ada' } } };
    const more = { inputResponses, requestState: 'round 1' };
    expect(textOf(await call(connection, 'ask', {}, { meta, more }))).toBe('hello Ada');
  });

  it('U07 keeps the streams of two conversations apart under their own ids, and ends one without the other', async () => {
    const { upstream } = aModernUpstream('modern');
    const [alice, bob] = [
      await upstream.connect(termsOf({ sessionId: 'a' }), never),
      await upstream.connect(termsOf({ sessionId: 'b' }), never),
    ];
    const leaving = new AbortController();
    const ofAlice = await listen(alice, 'same-id', leaving.signal);
    const ofBob = await listen(bob, 'same-id');
    await call(alice, 'grow', {}, { meta });
    await waitUntil('both heard of it', () =>
      [ofAlice, ofBob].every(({ listener }) => listener.heard.length === 2),
    );
    for (const { listener } of [ofAlice, ofBob])
      expect(listener.heard.map(subscriptionOf)).toEqual(['same-id', 'same-id']);

    leaving.abort(new Error('gone'));
    await ofAlice.ended;
    await call(bob, 'grow', {}, { meta });
    await waitUntil('Bob heard of it', () => ofBob.listener.heard.length === 3);
    expect(ofAlice.listener.heard).toHaveLength(2);
    bob.release();
    await ofBob.ended;
    expect(upstream.counts()).toMatchObject({ busy: 0, idle: 1 });
  });

  it('U07 tells a log line to the one request that wanted it, and to nobody when two did', async () => {
    const { upstream } = aModernUpstream('modern');
    const [alice, bob] = [
      await upstream.connect(termsOf({ sessionId: 'a' }), never),
      await upstream.connect(termsOf({ sessionId: 'b' }), never),
    ];
    const [ofAlice, ofBob] = [aListener(), aListener()];
    await Promise.all([
      call(alice, 'log', { line: 'of Alice' }, { meta: logging, listener: ofAlice }),
      call(bob, 'log', { line: 'of Bob' }, { meta, listener: ofBob }),
    ]);
    expect(ofAlice.heard.map(({ params }) => params?.['data'])).toEqual(['of Alice']);
    expect(ofBob.heard).toEqual([]);
    const both = [aListener(), aListener()] as const;
    await Promise.all([
      call(alice, 'log', { line: 'secret' }, { meta: logging, listener: both[0] }),
      call(bob, 'log', { line: 'secret' }, { meta: logging, listener: both[1] }),
    ]);
    expect([...both[0].heard, ...both[1].heard]).toEqual([]);
  });

  it('R23 cancels at a modern child what its caller gave up', async () => {
    const { upstream, stateDir } = aModernUpstream('modern');
    const connection = await upstream.connect(termsOf(), never);
    const controller = new AbortController();
    const cancelFile = join(stateDir, 'cancelled');
    const hanging = call(connection, 'hang', { cancelFile }, { meta, signal: controller.signal });
    await call(connection, 'pid', {}, { meta });
    controller.abort(new Error('gone'));
    await expect(hanging).rejects.toThrow('gone');
    await waitUntil('the child heard of it', () => existsSync(cancelFile));
  });

  it('U02 probes a modern server by listing its tools', async () => {
    expect(await aModernUpstream('auto', '--modern-only').upstream.probe(termsOf(), never)).toEqual({
      outcome: 'accepted',
    });
    expect(aHostileService().stdio?.protocol).toBe('auto');
  });
});
