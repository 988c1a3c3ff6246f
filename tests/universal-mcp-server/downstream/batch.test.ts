import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { callAuditOf } from '../../support/callAudit.js';
import { aHostileService } from '../../support/aStdioService.js';
import { waitUntil } from '../../support/eventually.js';
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
    capabilities: { sampling: {} },
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
