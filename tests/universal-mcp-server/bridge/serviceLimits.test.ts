import { describe, expect, it } from '@jest/globals';
import type { ServiceLimits } from '../../../backend/src/catalog/servicePolicies.js';
import { createRequestBucket } from '../../../backend/src/mcp-servers/universal-mcp-server/upstream/requestBucket.js';
import { callAuditOf } from '../../support/callAudit.js';
import { anApiService, aTool } from '../../support/anApiService.js';
import { aHostileService } from '../../support/aStdioService.js';
import { waitUntil } from '../../support/eventually.js';
import { initialize, modern, send, textOf } from '../../support/mcpHttp.js';
import { json, startRecordingUpstream } from '../../support/recordingUpstream.js';
import { openUniversalServer } from '../../support/universalServer.js';

const aLimitedService = (limits: Partial<ServiceLimits>) => {
  const definition = aHostileService();
  return { ...definition, limits: { ...definition.limits, ...limits } };
};

const count = (url: string) => send(url, modern('tools/call', { name: 'count' }));

describe('limits of a service', () => {
  it('maxResponseBytes: an error stands in for an answer that is larger, and the child lives on', async () => {
    await using server = await openUniversalServer({
      definition: aLimitedService({ maxResponseBytes: 4_096 }),
    });
    const { url, id } = await server.aUrl();
    const session = await initialize(url);
    const pid = textOf(await session.call('pid'));
    for (const answer of [
      await session.call('big', { bytes: 5_000 }),
      await send(url, modern('tools/call', { name: 'big', arguments: { bytes: 5_000 } })),
    ]) {
      expect([answer.status, answer.json.result.isError]).toEqual([200, true]);
      expect(textOf(answer)).toContain('PAYLOAD_TOO_LARGE');
      expect(answer.text.length).toBeLessThan(1_000);
    }
    expect(textOf(await session.call('big', { bytes: 3_000 }))).toHaveLength(3_000);
    // It is bytes that count, not characters.
    expect(textOf(await session.call('echo', { text: '€'.repeat(1_400) }))).toContain('PAYLOAD_TOO_LARGE');
    expect(textOf(await session.call('pid'))).toBe(pid);
    await waitUntil(
      'the audit tells the three',
      async () =>
        (await callAuditOf(server, id)).filter(({ outcome }) => outcome === 'tool_error').length === 3,
    );
  });

  it('maxResponseBytes: a list that is larger is an error of the protocol', async () => {
    await using server = await openUniversalServer({
      definition: aLimitedService({ maxResponseBytes: 1_024 }),
    });
    const session = await initialize((await server.aUrl()).url);
    const { status, json: body } = await session.request('tools/list');
    expect([status, body.error.code, body.error.data.code]).toEqual([200, -32603, 'PAYLOAD_TOO_LARGE']);
  });

  it('perUserRequestsPerMinute: all instances of a user share it, another user has their own', async () => {
    await using server = await openUniversalServer({
      definition: aLimitedService({ perUserRequestsPerMinute: 6 }),
    });
    const first = await server.aUrl();
    const second = await server.aUrl({ owner: first.owner, label: 'second' });
    const other = await server.aUrl();
    const statuses: number[] = [];
    for (let at = 0; at < 10; at += 1)
      statuses.push((await send([first, second][at % 2]!.url, modern('tools/list'))).status);
    expect(statuses).toEqual([...Array<number>(6).fill(200), ...Array<number>(4).fill(429)]);
    const refused = await send(second.url, modern('tools/list'));
    expect([refused.status, refused.json.error.data.code]).toEqual([429, 'RATE_LIMIT_EXCEEDED']);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
    expect((await send(other.url, modern('tools/list'))).status).toBe(200);
  });

  it('upstreamRequestsPerMinute: all users of a stdio service share it, and the child hears of no more', async () => {
    await using server = await openUniversalServer({
      definition: aLimitedService({ upstreamRequestsPerMinute: 4 }),
    });
    const [alice, bob] = [await server.aUrl(), await server.aUrl()];
    expect(textOf(await count(alice.url))).toBe('1');
    expect(textOf(await count(bob.url))).toBe('1');
    expect(textOf(await count(alice.url))).toBe('2');
    expect(textOf(await count(alice.url))).toBe('3');
    for (const { url } of [alice, bob]) {
      const refused = await count(url);
      expect([refused.status, refused.json.error.data.code]).toEqual([429, 'RATE_LIMIT_EXCEEDED']);
      expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
    }
  });

  it('upstreamRequestsPerMinute: an api service sends no more than that, over MCP and REST alike', async () => {
    await using site = await startRecordingUpstream();
    site.on('/thing', json(200, { ok: true }));
    const definition = anApiService(
      { baseUrl: site.origin, tools: [aTool('get_thing', { method: 'GET', path: '/thing' })] },
      { limits: { upstreamRequestsPerMinute: 2 } },
    );
    await using server = await openUniversalServer({ definition });
    const { url } = await server.aUrl({ fields: { token: 'k' } });
    const overMcp = () => send(url, modern('tools/call', { name: 'get_thing', arguments: {} }));
    const overRest = () => send(`${url}/get-thing`, { method: 'GET' });
    expect([(await overMcp()).status, (await overRest()).status]).toEqual([200, 200]);
    expect([(await overMcp()).status, (await overRest()).status]).toEqual([429, 429]);
    expect(site.requests).toHaveLength(2);
    expect((await send(url, modern('tools/list'))).status).toBe(200);
  });

  it('a bucket says in whole seconds when there is room, fills steadily and never above its capacity', () => {
    let now = 0;
    const bucket = createRequestBucket(30, 2, () => now);
    expect([bucket.take(), bucket.take(), bucket.take()]).toEqual([0, 0, 2]);
    now = 2_000;
    expect([bucket.isFull, bucket.take(), bucket.take()]).toEqual([false, 0, 2]);
    now = 3_600_000;
    expect([bucket.isFull, bucket.take(), bucket.take(), bucket.take()]).toEqual([true, 0, 0, 2]);
  });
});
