/** What a service process really shows after real calls: the series that alerts and dashboard are about. */
import { afterAll, beforeAll, expect, it, describe } from '@jest/globals';
import { aHostileService } from '../support/aStdioService.js';
import { waitUntil } from '../support/eventually.js';
import { initialize, send } from '../support/mcpHttp.js';
import { openUniversalServer, type UniversalServer } from '../support/universalServer.js';

describe('a scrape of a service', () => {
  let server: UniversalServer;
  const scrape = async (): Promise<(pattern: RegExp) => number> => {
    const authorization = `Bearer ${server.metricsToken}`;
    const answer = await send(`${server.origin}/metrics`, { method: 'GET', headers: { authorization } });
    expect(answer.status).toBe(200);
    const lines = answer.text.split('\n');
    return (pattern) =>
      lines
        .filter((line) => pattern.test(line))
        .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  };

  beforeAll(async () => {
    const definition = aHostileService();
    server = await openUniversalServer({
      definition: { ...definition, limits: { ...definition.limits, concurrency: 1 } },
    });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  it('X04 counts calls, their overhead and their errors, children, limits and refused ids, by service only', async () => {
    const { url, instanceId, id } = await server.aUrl();
    const session = await initialize(url);
    await session.request('tools/list');
    await session.call('echo', { text: 'hello' });
    await session.call('fail');
    const slow = await session.open('tools/call', { name: 'slow', _meta: { progressToken: 1 } });
    await slow.next();
    const refused = await session.call('echo');
    expect(refused.status).toBe(429);
    await slow.next((message) => message.id !== undefined);
    await session.call('crash');
    await send(url.replace(instanceId, `${instanceId.slice(0, -1)}x`), { body: {} });

    await waitUntil(
      'the refused id is counted',
      async () => (await scrape())(/^portolan_auth_failures_total\{service="everything"\}/) === 1,
    );
    const count = await scrape();
    const served = 'mcp_server_operation_duration_seconds_count';
    expect(count(new RegExp(`^${served}\\{.*"tools/call".*gen_ai_tool_name="echo"\\}`))).toBe(2);
    expect(count(new RegExp(`^${served}\\{.*error_type="rate_limit_exceeded"`))).toBe(1);
    expect(count(new RegExp(`^${served}\\{.*error_type="upstream_failed"`))).toBe(1);
    const asked = 'mcp_client_operation_duration_seconds_count';
    expect(count(new RegExp(`^${asked}\\{.*"tools/call"`))).toBe(4);
    expect(count(new RegExp(`^${asked}\\{.*error_type="tool_error"`))).toBe(1);
    expect(count(new RegExp(`^${asked}\\{.*error_type="upstream_failed"`))).toBe(1);
    // initialize, tools/list and the four calls that reached the child.
    expect(count(/^portolan_proxy_overhead_seconds_count\{service="everything"\}/)).toBe(6);
    expect(count(/^portolan_proxy_overhead_seconds_sum\{/)).toBeGreaterThan(0);
    expect(count(/^portolan_proxy_overhead_seconds_bucket\{le="5"/)).toBe(6);
    expect(count(/^portolan_rate_limited_total\{.*scope="instance-calls"\}/)).toBe(1);
    expect(count(/^portolan_auth_failures_total\{service="everything"\}/)).toBe(1);
    expect(count(/^portolan_audit_write_failures_total\{service="everything"\}/)).toBe(0);
    expect(count(/^portolan_circuit_state\{service="everything"\}/)).toBe(0);
    expect(count(/^portolan_db_pool_connections\{state="idle"\}/)).toBeGreaterThan(0);
    expect(count(new RegExp(`${instanceId}|${id}`))).toBe(0);
  });

  it('X04 shows the circuit as open once a child has crashed five times within a minute', async () => {
    const { url } = await server.aUrl();
    const session = await initialize(url);
    for (let crash = 0; crash < 5; crash += 1) await session.call('crash');
    await waitUntil(
      'the circuit is open',
      async () => {
        const count = await scrape();
        return count(/^portolan_circuit_state\{service="everything"\}/) === 2;
      },
      15_000,
    );
    const { json } = await session.call('echo');
    expect(JSON.stringify(json)).toContain('keeps stopping');
  });
});
