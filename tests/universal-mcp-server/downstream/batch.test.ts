import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { BatchedByteReply } from '../../../backend/src/mcp-servers/universal-mcp-server/downstream/batchReply.js';
import { callAuditOf } from '../../support/callAudit.js';
import { aRemoteService } from '../../support/aRemoteUpstream.js';
import { aHostileService } from '../../support/aStdioService.js';
import { waitUntil } from '../../support/eventually.js';
import { openLegacyServer } from '../../support/legacyServer.js';
import { openEvents, send } from '../../support/mcpHttp.js';
import { openUniversalServer, type UniversalServer } from '../../support/universalServer.js';

const toCall = (id: string, name: string, args: object = {}) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name, arguments: args },
});

const open = async (url: string, protocolVersion = '2025-03-26'): Promise<Record<string, string>> => {
  const params = {
    protocolVersion,
    capabilities: { sampling: {}, elicitation: {} },
    clientInfo: { name: 'b', version: '1' },
  };
  const first = await send(url, { body: { jsonrpc: '2.0', id: 0, method: 'initialize', params } });
  expect(first.json.result.protocolVersion).toBe(protocolVersion);
  return { 'mcp-session-id': String(first.headers['mcp-session-id']) };
};

describe('batches of revision 2025-03-26', () => {
  let server: UniversalServer;
  beforeAll(async () => {
    const definition = aHostileService({ maxPerUser: 50, maxProcesses: 50 });
    const limits = { ...definition.limits, concurrency: 1 };
    server = await openUniversalServer({ definition: { ...definition, limits } });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  it('R08 holds no large answers back, and tells them on a stream instead', async () => {
    const { url } = await server.aUrl();
    const headers = await open(url);
    const text = 'x'.repeat(600_000);
    const body = ['a', 'b', 'c'].map((id) => toCall(id, 'echo', { text }));
    const answer = await send(url, { headers, body });
    expect(answer.headers['content-type']).toBe('text/event-stream');
    expect(answer.events.map(({ id, result }) => [id, result.content[0].text.length])).toEqual(
      body.map(({ id }) => [id, text.length]),
    );
  });

  it('R07 cuts a batch off whose upstream sent half an answer, and waits for nothing', async () => {
    let cuts = 0;
    const batch = { isGone: false, onGone: () => () => undefined, cut: () => (cuts += 1) };
    const reply = new BatchedByteReply(batch as never);
    reply.beginJson();
    reply.write('{"jsonrpc":"2.0","id":1,"resu');
    reply.end();
    await reply.done;
    expect(cuts).toBe(1);
  });

  it('U06 answers each request, in an array, and accounts for each call', async () => {
    const { url, id } = await server.aUrl();
    const headers = await open(url);
    const body = [
      toCall('a', 'echo', { text: 'one' }),
      { jsonrpc: '2.0', method: 'notifications/initialized' },
      { jsonrpc: '2.0', id: 'p', method: 'ping' },
      { not: 'a message' },
      { jsonrpc: '2.0', id: 'i', method: 'initialize', params: {} },
      toCall('b', 'echo', { text: 'two' }),
    ];
    const answer = await send(url, { headers, body });
    expect([answer.status, answer.headers['content-type']]).toEqual([200, 'application/json']);
    expect(answer.json).toEqual([
      { jsonrpc: '2.0', id: 'a', result: { content: [{ type: 'text', text: 'one' }] } },
      { jsonrpc: '2.0', id: 'p', result: {} },
      { jsonrpc: '2.0', id: null, error: expect.objectContaining({ code: -32600 }) },
      { jsonrpc: '2.0', id: 'i', error: expect.objectContaining({ code: -32600 }) },
      { jsonrpc: '2.0', id: 'b', result: { content: [{ type: 'text', text: 'two' }] } },
    ]);
    await waitUntil('both calls are accounted for', async () => {
      const rows = await callAuditOf(server, id);
      return rows.filter(({ method, phase }) => method === 'tools/call' && phase === 'outcome').length === 2;
    });
  });

  it('U06 is a stream when the server has a question, which a batch of responses may answer', async () => {
    const { url } = await server.aUrl();
    const headers = await open(url);
    const events = await openEvents(url, { headers, body: [toCall('a', 'echo'), toCall('b', 'sample')] });
    expect(await events.next()).toMatchObject({ id: 'a' });
    const asked = await events.next();
    expect(asked.method).toBe('sampling/createMessage');
    const result = { role: 'assistant', content: { type: 'text', text: 'hi' }, model: 'm' };
    const answered = await send(url, { headers, body: [{ jsonrpc: '2.0', id: asked.id, result }] });
    expect([answered.status, answered.text]).toEqual([202, '']);
    expect(JSON.parse((await events.next()).result.content[0].text)).toEqual(result);
    await events.ended;
  });

  it('refuses as a whole what is empty, too long, without a session, or of another revision', async () => {
    const { url, id } = await server.aUrl();
    const headers = await open(url);
    const one = toCall('a', 'echo');
    const newer = { ...(await open(url, '2025-06-18')) };
    const refused = [
      await send(url, { headers, body: [] }),
      await send(url, { headers, body: Array.from({ length: 65 }, () => one) }),
      await send(url, { body: [one] }),
      await send(url, { headers: newer, body: [one] }),
      await send(url, { headers: { ...newer, 'mcp-protocol-version': '2025-03-26' }, body: [one] }),
      await send(url, { headers: { ...headers, 'mcp-protocol-version': '2025-06-18' }, body: [one] }),
      await send(url, { headers: { ...headers, 'mcp-protocol-version': '2026-07-28' }, body: [one] }),
    ];
    expect(refused.map(({ status, json }) => [status, json.error.code])).toEqual(
      refused.map(() => [400, -32600]),
    );
    const unknown = await send(url, { headers: { 'mcp-session-id': 'unknown' }, body: [one] });
    expect(unknown.status).toBe(404);
    expect((await callAuditOf(server, id)).filter(({ method }) => method === 'tools/call')).toEqual([]);
  });
});

describe('batches of a session whose bytes pass', () => {
  it.each([true, false])(
    'U06 each call on its own, in the client’s one session upstream (JSON: %s)',
    async (json) => {
      await using behind = await openLegacyServer({ json });
      await using server = await openUniversalServer({ definition: aRemoteService(behind.url) });
      const { url, id } = await server.aUrl({ fields: { token: 'key' } });
      const headers = await open(url);
      const body = [
        toCall('a', 'echo', { text: 'one' }),
        { jsonrpc: '2.0', method: 'notifications/initialized' },
        { jsonrpc: '2.0', id: 'p', method: 'ping' },
        { jsonrpc: '2.0', id: 'i', method: 'initialize', params: {} },
        toCall('l', 'large', { bytes: 300_000 }),
        toCall('b', 'report'),
      ];
      const answer = await send(url, { headers, body });
      expect(answer.headers['content-type']).toBe(json ? 'application/json' : 'text/event-stream');
      const answers = (json ? answer.json : answer.events.filter((one) => 'id' in one)) as {
        id: string;
        error?: { code: number };
        result?: { content?: { text: string }[] };
      }[];
      expect(
        answers.map(({ id: of, error, result }) => [of, error?.code ?? result?.content?.[0]?.text.length]),
      ).toEqual([
        ['a', 3],
        ['p', undefined],
        ['i', -32600],
        ['l', 300_000],
        ['b', 8],
      ]);
      const sessions = behind.of('tools/call').map((one) => one.headers['mcp-session-id']);
      expect([sessions.length, new Set(sessions).size]).toEqual([3, 1]);
      await waitUntil('each call is accounted for', async () => {
        const rows = await callAuditOf(server, id);
        return (
          rows.filter(({ method, phase }) => method === 'tools/call' && phase === 'outcome').length === 3
        );
      });
    },
  );

  it('U06 a question of the server is answered on its way', async () => {
    await using behind = await openLegacyServer();
    await using server = await openUniversalServer({ definition: aRemoteService(behind.url) });
    const { url } = await server.aUrl({ fields: { token: 'key' } });
    const headers = await open(url);
    const events = await openEvents(url, {
      headers,
      body: [toCall('a', 'ask'), toCall('b', 'echo', { text: 'b' })],
    });
    const asked = await events.next(({ method }) => method === 'elicitation/create');
    const answered = { jsonrpc: '2.0', id: asked.id, result: { action: 'decline' } };
    expect((await send(url, { headers, body: [answered] })).status).toBe(202);
    expect((await events.next()).result.content[0].text).toBe('decline');
    expect((await events.next()).result.content[0].text).toBe('b');
    await events.ended;
  });

  it('refuses those of other revisions, and executes nothing of them', async () => {
    await using behind = await openLegacyServer();
    await using server = await openUniversalServer({ definition: aRemoteService(behind.url) });
    const { url } = await server.aUrl({ fields: { token: 'key' } });
    const headers = await open(url, '2025-06-18');
    expect((await send(url, { headers, body: [toCall('a', 'echo')] })).status).toBe(400);
    expect(behind.of('tools/call')).toEqual([]);
  });
});
