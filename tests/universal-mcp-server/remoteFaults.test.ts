/**
 * What a remote server does wrong, on every way to it: bytes that pass (client and server of one era) and messages that
 * are translated (of two), answers as JSON and as events. Each fault ends that call alone, and in time (06).
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Era } from '../../backend/src/mcp-servers/universal-mcp-server/protocol/revisions.js';
import { aRemoteService } from '../support/aRemoteUpstream.js';
import { callAuditOf } from '../support/callAudit.js';
import { waitUntil } from '../support/eventually.js';
import {
  openHostileRemote,
  type AnswerForm,
  type FaultyTool,
  type HostileRemote,
} from '../support/hostileRemote.js';
import { initialize, modern, send, startRequest, textOf, type RawAnswer } from '../support/mcpHttp.js';
import { openUniversalServer, type InstanceUrl, type UniversalServer } from '../support/universalServer.js';

const timeoutMs = 1_200;
const eras: readonly Era[] = ['legacy', 'modern'];
const ways = eras.flatMap((client) => eras.map((server) => ({ client, server })));
const forms: readonly AnswerForm[] = ['json', 'events'];

interface Caller {
  call(tool: FaultyTool, args?: object, meta?: object): Promise<RawAnswer>;
  /** The request as it goes over the wire. */
  wish(
    tool: FaultyTool,
    args?: object,
  ): { readonly headers: Readonly<Record<string, string>>; readonly body: unknown };
}

describe.each(ways)('a $client client before a $server remote server', ({ client, server: era }) => {
  let hostile: HostileRemote;
  let server: UniversalServer;
  let alice: InstanceUrl;
  let bob: InstanceUrl;
  let callers: { readonly alice: Caller; readonly bob: Caller };

  beforeAll(async () => {
    hostile = await openHostileRemote(era);
    const limits = { timeoutMs, maxResponseBytes: 2 * 1024 * 1024, concurrency: 4 };
    server = await openUniversalServer({ definition: aRemoteService(hostile.url, {}, { limits }) });
    [alice, bob] = [
      await server.aUrl({ fields: { token: 'a' } }),
      await server.aUrl({ fields: { token: 'b' } }),
    ];
    callers = { alice: await aCaller(client, alice.url), bob: await aCaller(client, bob.url) };
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await hostile[Symbol.asyncDispose]();
  });

  /** Bob's calls go on, and Alice has all her places again. */
  const expectOthersUntouched = async (): Promise<void> => {
    const all = [callers.bob, callers.alice, callers.alice, callers.alice, callers.alice];
    const answers = await Promise.all(all.map((one) => one.call('echo', { text: 'fine' })));
    expect(answers.map((answer) => [answer.status, textOf(answer)])).toEqual(all.map(() => [200, 'fine']));
  };
  const outcomes = async (): Promise<(string | null)[]> =>
    (await callAuditOf(server, alice.id))
      .filter(({ phase, name }) => phase === 'outcome' && name !== 'echo' && name !== null)
      .map(({ outcome }) => outcome);

  it.each(forms)('R05 ends a call whose server says nothing (%s), and cancels it there', async (form) => {
    const before = hostile.cutOff;
    for (const tool of ['hang', 'silent'] as const)
      expect(['UPSTREAM_TIMEOUT']).toContain(endOf(await callers.alice.call(tool, { form })));
    await waitUntil('the server was left', () => hostile.open === 0 && hostile.cutOff === before + 2);
    await expectOthersUntouched();
  });

  it('R05 ends a call at its total deadline, however lively its progress is', async () => {
    const answer = await callers.alice.call('progress', {}, { progressToken: 'p' });
    expect(['UPSTREAM_TIMEOUT']).toContain(endOf(answer));
    await waitUntil('the server was left', () => hostile.open === 0);
    await expectOthersUntouched();
  });

  it.each(forms)(
    'R06 tells one error when the server dies in the middle (%s), and asks no second time',
    async (form) => {
      const before = hostile.called.length;
      expect(['UPSTREAM_FAILED']).toContain(endOf(await callers.alice.call('die', { form })));
      expect(hostile.called.length).toBe(before + 1);
      await expectOthersUntouched();
    },
  );

  it.each(forms)('R07 tells one error when the server sends garbage (%s)', async (form) => {
    expect(['UPSTREAM_FAILED', 'UPSTREAM_TIMEOUT']).toContain(
      endOf(await callers.alice.call('garbage', { form })),
    );
    await expectOthersUntouched();
  });

  it.each(forms)('R08 takes no gzip bomb (%s)', async (form) => {
    const before = process.memoryUsage().rss;
    expect(['UPSTREAM_FAILED']).toContain(endOf(await callers.alice.call('bomb', { form })));
    await waitUntil('the server was left', () => hostile.open === 0);
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
    await expectOthersUntouched();
  });

  it.each(forms)('R08 cuts a message of 200 MB (%s) without keeping it', async (form) => {
    const before = process.memoryUsage().rss;
    // What was passed on before its end was known is cut off, and no whole answer.
    const answer = await callers.alice.call('huge', { form }).catch(() => null);
    expect(['cut off', 'UPSTREAM_FAILED', 'PAYLOAD_TOO_LARGE']).toContain(
      answer === null ? 'cut off' : endOf(answer),
    );
    await waitUntil('the server was left', () => hostile.open === 0);
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
    await expectOthersUntouched();
  });

  it.each(forms)('R09 ends a call that drips (%s) at its deadline', async (form) => {
    const answer = await callers.alice.call('drip', { form });
    expect(['UPSTREAM_TIMEOUT']).toContain(endOf(answer));
    await waitUntil('the server was left', () => hostile.open === 0);
    await expectOthersUntouched();
  });

  it.each(forms)(
    'R23 leaves the server within a second of its client (%s), and has the place free again',
    async (form) => {
      for (const tool of ['hang', 'silent', 'drip'] as const) {
        const { request, response } = startRequest(alice.url, { ...callers.alice.wish(tool, { form }) });
        response.catch(() => {});
        await waitUntil('the call arrived', () => hostile.open === 1);
        request.destroy();
        await waitUntil('the server was left', () => hostile.open === 0, 1_000);
        expect(hostile.open).toBe(0);
      }
      await expectOthersUntouched();
    },
  );

  it('each call has one outcome in the audit, and it is none that says it went well', async () => {
    await waitUntil('all outcomes are told', async () => (await outcomes()).length >= 19);
    expect(new Set(await outcomes())).toEqual(new Set(['timeout', 'error', 'cancelled']));
  });
});

async function aCaller(era: Era, url: string): Promise<Caller> {
  if (era === 'legacy') {
    const session = await initialize(url);
    return {
      call: (tool, args = {}, meta) => session.call(tool, args, meta),
      wish: (name, args = {}) => ({
        headers: session.headers,
        body: { jsonrpc: '2.0', id: 99, method: 'tools/call', params: { name, arguments: args } },
      }),
    };
  }
  return { call: (tool, args, meta) => send(url, modernWish(tool, args, meta)), wish: modernWish };
}

const modernWish = (name: FaultyTool, args: object = {}, meta: object = {}) => {
  const { headers = {}, body } = modern('tools/call', { name, arguments: args }, { meta });
  return { headers, body };
};

/** What went wrong, by the one message that ends the call. */
const endOf = (answer: RawAnswer): string => {
  const ends =
    answer.events.length === 0 ? [answer.json] : answer.events.filter(({ id }) => id !== undefined);
  return ends.map((end) => String(end.error?.data?.code)).join();
};
