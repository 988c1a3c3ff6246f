/* eslint-disable typescript/no-explicit-any -- what comes over the wire has the form that each test asserts */
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { join } from 'node:path';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import type { StdioDefinition } from '../../../backend/src/catalog/mcpServerDefinitions.js';
import { aStdioService, stdioServersDir } from '../../support/aStdioService.js';
import { callAuditOf } from '../../support/callAudit.js';
import { eventually, waitUntil } from '../../support/eventually.js';
import { modern, openEvents, send, textOf, type RawAnswer } from '../../support/mcpHttp.js';
import { openUniversalServer, revokeInstance, type UniversalServer } from '../../support/universalServer.js';

const anAskingService = (stdio: Partial<StdioDefinition> = {}) =>
  aStdioService('everything', {
    command: process.execPath,
    args: [join(stdioServersDir, 'askingServer.mjs')],
    package: null,
    // Children are told apart by their pids, which are all alike where each has a namespace of its own.
    sandbox: { mode: 'off', readPaths: [], writePaths: [], network: 'host' },
    ...stdio,
  });

const everyCapability = { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} };

const ask = (
  url: string,
  method: string,
  params: Readonly<Record<string, unknown>>,
  capabilities: object = everyCapability,
  meta: object = {},
): Promise<RawAnswer> =>
  send(
    url,
    modern(method, params, {
      meta: { 'io.modelcontextprotocol/clientCapabilities': capabilities, ...meta },
    }),
  );
const call = (
  url: string,
  name: string,
  round: Readonly<Record<string, unknown>> = {},
  capabilities: object = everyCapability,
  meta: object = {},
): Promise<RawAnswer> => ask(url, 'tools/call', { name, arguments: {}, ...round }, capabilities, meta);

/** Answers all questions of a round, with the text given for forms. */
function answersTo({ inputRequests }: any, value = 'Ada'): Record<string, object> {
  return Object.fromEntries(
    Object.entries<any>(inputRequests).map(([key, { method }]) => {
      if (method === 'elicitation/create') return [key, { action: 'accept', content: { value } }];
      if (method === 'roots/list') return [key, { roots: [{ uri: 'file:///work' }] }];
      return [key, { role: 'assistant', content: { type: 'text', text: 'sampled' }, model: 'test' }];
    }),
  );
}

const roundOf = (answer: RawAnswer, value?: string) => ({
  inputResponses: answersTo(answer.json.result, value),
  requestState: answer.json.result.requestState,
});

const loud = (progressToken: string) => ({ progressToken, 'io.modelcontextprotocol/logLevel': 'info' });

const lost = {
  code: -32602,
  message: expect.stringMatching(/^Invalid or expired requestState.*may have run/),
};

describe('calls of modern clients that their legacy stdio server asks about', () => {
  let server: UniversalServer;

  beforeAll(async () => {
    server = await openUniversalServer({ definition: anAskingService() });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  afterEach(() => {
    jest.restoreAllMocks();
  });

  it('U06 U07 the v2 client is asked by the real everything server, and its handlers’ answers arrive', async () => {
    await using everything = await openUniversalServer({
      definition: aStdioService('everything'),
      site: server.site,
    });
    const { url } = await everything.aUrl();
    const client = new Client(
      { name: 'v2', version: '1' },
      {
        versionNegotiation: { mode: { pin: '2026-07-28' } },
        capabilities: { sampling: {}, elicitation: { form: {} }, roots: {} },
      },
    );
    client.setRequestHandler('sampling/createMessage', () => ({
      role: 'assistant',
      content: { type: 'text', text: 'sampled by the client' },
      model: 'test',
    }));
    client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { name: 'Ada' } }));
    client.setRequestHandler('roots/list', () => ({ roots: [{ uri: 'file:///work', name: 'work' }] }));
    await client.connect(new StreamableHTTPClientTransport(new URL(url)));
    const sampled = await client.callTool({
      name: 'trigger-sampling-request',
      arguments: { prompt: 'hi', maxTokens: 5 },
    });
    expect(JSON.stringify(sampled.content)).toContain('sampled by the client');
    const elicited = await client.callTool({ name: 'trigger-elicitation-request', arguments: {} });
    expect(JSON.stringify(elicited.content)).toContain('Name: Ada');
    const roots = await client.callTool({ name: 'get-roots-list', arguments: {} });
    expect(JSON.stringify(roots.content)).toContain('file:///work');
    await client.close();
  });

  it('U07 one call runs over two rounds: run once, audited once, its progress and logs with whoever waits', async () => {
    const alice = await server.aUrl();
    const first = await call(alice.url, 'twoRounds', {}, everyCapability, loud('one'));
    expect(first.json.result).toMatchObject({
      resultType: 'input_required',
      inputRequests: { 'input-1': { method: 'elicitation/create', params: { message: 'first?' } } },
      _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'asking' } },
    });
    expect(first.events.slice(0, -1).map(({ params }) => [params.progressToken, params.data])).toEqual([
      ['one', undefined],
      [undefined, 'before the first'],
    ]);
    const second = await call(alice.url, 'twoRounds', roundOf(first), everyCapability, loud('two'));
    expect(second.events.slice(0, -1).map(({ params }) => [params.progressToken, params.data])).toEqual([
      ['two', undefined],
      [undefined, 'between'],
    ]);
    expect(second.json.result.inputRequests).toMatchObject({ 'input-2': { params: { message: 'second?' } } });
    const last = await call(alice.url, 'twoRounds', roundOf(second, 'Byron'));
    expect(last.json.result.resultType).toBe('complete');
    expect(JSON.parse(textOf(last))).toEqual({
      first: { action: 'accept', content: { value: 'Ada' } },
      second: { action: 'accept', content: { value: 'Byron' } },
    });
    expect(JSON.parse(textOf(await call(alice.url, 'told')))).toMatchObject({ runs: 1, cancelled: [] });
    const rows = await eventually(async () => {
      const value = (await callAuditOf(server, alice.id)).filter(({ call_id: id, phase, name }, _at, all) =>
        all.some((row) => row.call_id === id && (row.name ?? name) === 'twoRounds' && phase !== ''),
      );
      return { isDone: value.length >= 2, value };
    });
    expect(rows.map(({ phase, outcome }) => [phase, outcome])).toEqual([
      ['intent', null],
      ['outcome', 'ok'],
    ]);
  });

  it('U07 what a server asks together is asked together, and what was not answered is asked again', async () => {
    const { url } = await server.aUrl();
    const first = await call(url, 'together');
    const methods = Object.values<any>(first.json.result.inputRequests).map(({ method }) => method);
    expect(new Set(methods)).toEqual(new Set(['elicitation/create', 'roots/list', 'sampling/createMessage']));
    const { inputResponses, requestState } = roundOf(first);
    const [[key, answer] = ['', {}], ...others] = Object.entries(inputResponses);
    const wrapped = { method: 'x', result: answer };
    const second = await call(url, 'together', {
      inputResponses: { ...Object.fromEntries(others), [key]: wrapped, unknown: {} },
      requestState,
    });
    expect(Object.keys(second.json.result.inputRequests)).toEqual([key]);
    const last = await call(url, 'together', roundOf(second));
    expect(JSON.parse(textOf(last))).toEqual([
      { action: 'accept', content: { value: 'Ada' } },
      { role: 'assistant', content: { type: 'text', text: 'sampled' }, model: 'test' },
      { roots: [{ uri: 'file:///work' }] },
    ]);
  });

  it('U07 prompts and resources ask as tools do; a list cannot ask', async () => {
    const { url } = await server.aUrl();
    for (const [method, params] of [
      ['prompts/get', { name: 'any' }],
      ['resources/read', { uri: 'test://one' }],
    ] as const) {
      const first = await ask(url, method, params);
      const last = await ask(url, method, { ...params, ...roundOf(first, 'of the round') });
      expect(JSON.stringify(last.json.result)).toContain('of the round');
    }
    const listed = await ask(url, 'prompts/list', {});
    expect(JSON.parse(listed.json.result.prompts[0].name)).toMatchObject({ error: { code: -32601 } });
    const none = await ask(url, 'resources/read', { uri: 'test://none' });
    expect(none.json.error).toMatchObject({ code: -32602, data: { uri: 'test://none' } });
  });

  it('U07 parallel calls of one client are each asked their own question', async () => {
    const { url } = await server.aUrl();
    const questions = ['one?', 'two?'];
    const firsts = await Promise.all(
      questions.map((question) => call(url, 'form', { arguments: { question } })),
    );
    const asked = firsts.map(({ json }) => Object.values<any>(json.result.inputRequests));
    expect(asked.map((one) => one.map(({ params }) => params.message))).toEqual([['one?'], ['two?']]);
    // The held ones hold nobody up: a call that asks nothing is answered meanwhile.
    expect(textOf(await call(url, 'pid'))).toMatch(/^\d+$/);
    const lasts = await Promise.all(
      questions.map((question, at) =>
        call(url, 'form', { arguments: { question }, ...roundOf(firsts[at] as RawAnswer, question) }),
      ),
    );
    expect(lasts.map((last) => JSON.parse(textOf(last)).content.value)).toEqual(questions);
  });

  it('U07 calls one after another meet the same child; a client that cannot be asked has another', async () => {
    const { url } = await server.aUrl();
    const [one, two, other] = [
      textOf(await call(url, 'pid')),
      textOf(await call(url, 'pid')),
      textOf(await call(url, 'pid', {}, {})),
    ];
    expect(two).toBe(one);
    expect(other).not.toBe(one);
    const told = JSON.parse(
      textOf(await call(url, 'told', {}, { elicitation: {}, roots: { listChanged: true } })),
    );
    expect(told.initialized.capabilities).toEqual({ elicitation: {}, roots: {} });
  });

  it('U07 a client is never asked for what it did not declare: −32021 names it, and the server hears an error', async () => {
    const { url } = await server.aUrl();
    const cases = [
      ['form', {}, { elicitation: { form: {} } }],
      ['sample', { elicitation: {} }, { sampling: {} }],
      ['page', { elicitation: {} }, { elicitation: { url: {} } }],
      ['pageFirst', { elicitation: {} }, { elicitation: { url: {} } }],
    ] as const;
    for (const [tool, capabilities, requiredCapabilities] of cases) {
      const answer = await call(url, tool, {}, capabilities);
      expect([answer.status, answer.json.error.code]).toEqual([400, -32021]);
      expect(answer.json.error.data.requiredCapabilities).toEqual(requiredCapabilities);
    }
  });

  it('U07 a page that is asked for carries no legacy id, and −32042 becomes a round', async () => {
    const { url } = await server.aUrl();
    const first = await call(url, 'page');
    expect(first.json.result.inputRequests).toEqual({
      'input-1': {
        method: 'elicitation/create',
        params: { mode: 'url', message: 'sign in', url: 'https://example.org/in' },
      },
    });
    const opened = await call(url, 'page', {
      requestState: first.json.result.requestState,
      inputResponses: { 'input-1': { action: 'accept' } },
    });
    expect(JSON.parse(textOf(opened))).toEqual({ action: 'accept' });

    const wanted = await call(url, 'pageFirst');
    expect(wanted.json.result).toMatchObject({
      resultType: 'input_required',
      inputRequests: {
        'page-1': { params: { mode: 'url', url: 'https://example.org/one', message: 'open this' } },
      },
    });
    const { requestState } = wanted.json.result;
    const declined = await call(url, 'pageFirst', {
      requestState,
      inputResponses: { 'page-1': { action: 'decline' } },
    });
    expect(declined.json.result).toMatchObject({ isError: true, resultType: 'complete' });
    const accepted = await call(url, 'pageFirst', {
      requestState,
      inputResponses: { 'page-1': { action: 'accept' } },
    });
    expect(textOf(accepted)).toBe('opened');
  });

  it('U07 a state opens only for its instance, method, tool and arguments, once, and tells its carrier nothing', async () => {
    const [alice, bob] = [await server.aUrl(), await server.aUrl()];
    const first = await call(alice.url, 'form', { arguments: { question: 'mine?' } });
    const round = roundOf(first);
    const state: string = round.requestState;
    expect(Buffer.from(state, 'base64url').toString('latin1')).not.toMatch(/callId|held|mine/);
    const other = state[40] === 'A' ? 'B' : 'A';
    const attempts: readonly [string, string, Readonly<Record<string, unknown>>][] = [
      ['another tenant', bob.url, { arguments: { question: 'mine?' }, ...round }],
      ['other arguments', alice.url, { arguments: { question: 'yours?' }, ...round }],
      ['no arguments', alice.url, round],
      ['another tool', alice.url, { name: 'sample', arguments: { question: 'mine?' }, ...round }],
      [
        'a changed state',
        alice.url,
        {
          arguments: { question: 'mine?' },
          ...round,
          requestState: `${state.slice(0, 40)}${other}${state.slice(41)}`,
        },
      ],
      ['no state at all', alice.url, { arguments: { question: 'mine?' }, ...round, requestState: 7 }],
      ['an empty state', alice.url, { arguments: { question: 'mine?' }, ...round, requestState: '' }],
    ];
    for (const [what, url, params] of attempts) {
      const refused = await call(url, 'form', params);
      expect([what, refused.json.error]).toEqual([what, expect.objectContaining(lost)]);
    }
    const bad = await call(alice.url, 'form', {
      arguments: { question: 'mine?' },
      requestState: state,
      inputResponses: 'text',
    });
    expect(bad.json.error.code).toBe(-32602);
    // None of that took anything from the call itself; its members may come in another order.
    const answered = await call(alice.url, 'form', { ...round, arguments: { question: 'mine?' } });
    expect(JSON.parse(textOf(answered)).content).toEqual({ value: 'Ada' });
    const again = await call(alice.url, 'form', { arguments: { question: 'mine?' }, ...round });
    expect(again.json.error).toMatchObject(lost);
  });

  it('U07 a client that leaves while it waits cancels the call; one that was asked may leave', async () => {
    const { url } = await server.aUrl();
    const first = await call(url, 'form');
    const told = async () => JSON.parse(textOf(await call(url, 'told')));
    // The connection of the first round is closed, and the call goes on.
    const { pid } = await told();
    const last = await call(url, 'form', roundOf(first));
    expect(JSON.parse(textOf(last)).action).toBe('accept');
    expect(pid).not.toBe((await told()).pid);
    expect((await told()).cancelled).toEqual([]);
    const meta = { progressToken: 'p', 'io.modelcontextprotocol/clientCapabilities': everyCapability };
    const waiting = await openEvents(url, modern('tools/call', { name: 'block' }, { meta }));
    expect(await waiting.next()).toMatchObject({ method: 'notifications/progress' });
    waiting.close();
    await waitUntil('the server heard of it', async () => (await told()).cancelled.length === 1);
  });

  it('U07 what ends while its client is away is kept for it, and where there is no room for more, it is said', async () => {
    await using own = await openUniversalServer({
      definition: anAskingService({ maxPerUser: 4 }),
      site: server.site,
    });
    const { url } = await own.aUrl();
    const impatient = await call(url, 'impatient');
    const held = [];
    for (let count = 0; count < 3; count += 1) held.push(await call(url, 'form'));
    const refused = await call(url, 'form');
    expect([refused.status, refused.json.error.data.code]).toEqual([503, 'SERVICE_SATURATED']);
    const lasts = await Promise.all(held.map((one) => call(url, 'form', roundOf(one))));
    expect(lasts.map((last) => JSON.parse(textOf(last)).action)).toEqual(['accept', 'accept', 'accept']);
    const { requestState } = impatient.json.result;
    const unanswered = await call(url, 'impatient', { requestState });
    expect(unanswered.json.result.resultType).toBe('input_required');
    // A list waits for no call, so it reaches the same connection and ends what blocks there.
    await ask(url, 'resources/list', {});
    const ended = await call(url, 'impatient', { requestState: unanswered.json.result.requestState });
    expect([ended.json.result.resultType, textOf(ended)]).toEqual(['complete', 'released']);
  });

  it('U07 a call that waited when its process ended is lost, says so, and is not made again', async () => {
    await using own = await openUniversalServer({ definition: anAskingService(), site: server.site });
    const { url } = await own.aUrl();
    const first = await call(url, 'twoRounds');
    await own.restart();
    const refused = await call(url, 'twoRounds', roundOf(first));
    expect(refused.json.error).toMatchObject(lost);
    expect(JSON.parse(textOf(await call(url, 'told')))).toMatchObject({ runs: 0 });
  });

  it('U07 a client that comes back after five minutes finds the call cancelled', async () => {
    const now = jest.spyOn(Date, 'now');
    await using own = await openUniversalServer({ definition: anAskingService(), site: server.site });
    const { url } = await own.aUrl();
    const first = await call(url, 'form');
    const later = Date.now() + 5 * 60_000;
    now.mockImplementation(() => later);
    await waitUntil(
      'the server heard of it',
      async () => JSON.parse(textOf(await call(url, 'told'))).cancelled.length === 1,
    );
    const refused = await call(url, 'form', roundOf(first));
    expect(refused.json.error).toMatchObject(lost);
  });

  it('A04 revoking the instance ends its held calls', async () => {
    const alice = await server.aUrl();
    const first = await call(alice.url, 'form');
    await revokeInstance(server, alice);
    await waitUntil('the instance is gone', async () => {
      const answer = await send(alice.url, modern('server/discover'));
      return answer.status === 404;
    });
    expect((await call(alice.url, 'form', roundOf(first))).status).toBe(404);
    const rows = await eventually(async () => {
      const value = (await callAuditOf(server, alice.id)).filter(
        ({ phase, method }) => phase === 'outcome' && method === 'tools/call',
      );
      return { isDone: value.length > 0, value };
    });
    expect(rows.map(({ outcome }) => outcome)).toEqual(['error']);
  });
});
