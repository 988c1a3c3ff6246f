/** Children that mean harm, or are merely broken: what they do is theirs alone. */
import { afterEach, describe, expect, it } from '@jest/globals';
import type { UpstreamConnection } from '../../../../backend/src/mcp-servers/universal-mcp-server/upstream/upstream.js';
import {
  aListener,
  anUpstream,
  call,
  closeUpstreams,
  codeOf,
  never,
  termsOf,
  textOf,
} from '../../../support/aStdioUpstream.js';
import { waitUntil } from '../../../support/eventually.js';

afterEach(closeUpstreams);

const MiB = 1024 * 1024;

/** Bob calls as long as the work on Alice's child takes. @returns how often; every answer was right. */
async function besides(bob: UpstreamConnection, work: Promise<unknown>): Promise<number> {
  const over = new AbortController();
  void work.finally(() => over.abort()).catch(() => {});
  let calls = 0;
  while (!over.signal.aborted || calls === 0) {
    const said = `bob ${(calls += 1)}`;
    expect(textOf(await call(bob, 'echo', { text: said }))).toBe(said);
  }
  await work;
  return calls;
}

async function aliceAndBob() {
  const { upstream } = anUpstream({ maxPerUser: 10 });
  const alice = await upstream.connect(termsOf({ id: 'alice', userId: 'alice' }), never);
  const bob = await upstream.connect(termsOf({ id: 'bob', userId: 'bob' }), never);
  const pid = textOf(await call(bob, 'pid'));
  return { upstream, alice, bob, isBobUnharmed: async () => textOf(await call(bob, 'pid')) === pid };
}

describe('a hostile child', () => {
  it.each([
    ['floodStderr', { megabytes: 64 }, 'flooded'],
    ['twice', {}, 'first'],
    ['fail', {}, 'the tool failed'],
  ])('R07 R08 %s harms nobody, and goes on itself', async (tool, args, answer) => {
    const { alice, bob, isBobUnharmed } = await aliceAndBob();
    const before = process.memoryUsage().rss;
    const work = call(alice, tool, args);
    await besides(bob, work);
    expect(textOf(await work)).toBe(answer);
    expect(await isBobUnharmed()).toBe(true);
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * MiB);
  });

  it.each([
    ['hugeLine', { megabytes: 200 }],
    ['garbage', {}],
    ['binary', {}],
    ['babble', {}],
    ['crash', {}],
  ])('R07 R08 %s ends it alone', async (tool, args) => {
    const { upstream, alice, bob, isBobUnharmed } = await aliceAndBob();
    const before = process.memoryUsage().rss;
    const work = codeOf(call(alice, tool, args));
    await besides(bob, work);
    expect(await work).toBe('UPSTREAM_FAILED');
    expect(await isBobUnharmed()).toBe(true);
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * MiB);
    const again = await upstream.connect(termsOf({ id: 'alice', userId: 'alice' }), never);
    expect(textOf(await call(again, 'echo', { text: 'anew' }))).toBe('anew');
  });

  it('R08 that never reads has only so much kept for it, and what cannot be kept is refused', async () => {
    const { alice, bob, isBobUnharmed } = await aliceAndBob();
    expect(textOf(await call(alice, 'deaf'))).toBe('deaf from now on');
    const before = process.memoryUsage().rss;
    const giveUp = new AbortController();
    const text = 'x'.repeat(MiB);
    const calls = Array.from({ length: 100 }, () =>
      codeOf(call(alice, 'echo', { text }, { signal: giveUp.signal })),
    );
    for (let at = 0; at < 100; at += 1)
      alice.notify({ jsonrpc: '2.0', method: 'notifications/roots/list_changed', params: { text } });
    const refused = codeOf(call(alice, 'echo', { text: 'one more' }));
    await besides(bob, refused);
    expect(await refused).toBe('SERVICE_SATURATED');
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * MiB);
    expect(await isBobUnharmed()).toBe(true);
    giveUp.abort(new Error('enough'));
    await Promise.all(calls);
  });

  it('R05 R08 that says half of a message holds up nothing but itself', async () => {
    const { alice, bob, isBobUnharmed } = await aliceAndBob();
    const giveUp = new AbortController();
    const half = call(alice, 'halfLine', {}, { signal: giveUp.signal });
    await besides(bob, Promise.resolve());
    giveUp.abort(new Error('the deadline'));
    await expect(half).rejects.toThrow('the deadline');
    expect(await isBobUnharmed()).toBe(true);
  });

  it('U07 that answers what was not asked is heard by nobody', async () => {
    const { upstream, alice, isBobUnharmed } = await aliceAndBob();
    const heard = aListener();
    alice.listen({ ...heard, onClosed() {} });
    const other = await upstream.connect(termsOf({ id: 'alice', userId: 'alice', sessionId: 'b' }), never);
    expect(textOf(await call(alice, 'guess'))).toBe('guessing');
    for (const connection of [alice, other, alice])
      expect(textOf(await call(connection, 'echo', { text: 'mine' }))).toBe('mine');
    expect(heard.heard).toEqual([]);
    await waitUntil('nothing is under way', () => upstream.counts().busy === 0);
    expect(await isBobUnharmed()).toBe(true);
  });
});
