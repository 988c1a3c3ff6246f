/** What a client is answered while its child starts. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { aHostileService, hostileServer } from '../../support/aStdioService.js';
import { waitUntil } from '../../support/eventually.js';
import { initialize } from '../../support/mcpHttp.js';
import { openUniversalServer, type UniversalServer } from '../../support/universalServer.js';

jest.setTimeout(60_000);

describe('a child that starts', () => {
  const folder = mkdtempSync(join(tmpdir(), 'portolan-cold-'));
  /** While it is there, children begin to read only when it is gone. */
  const gate = join(folder, 'gate');
  /** While it is there, the server has one tool more. */
  const more = join(folder, 'more');
  let server: UniversalServer;

  beforeAll(async () => {
    const args = [hostileServer, `--wait-while=${gate}`, `--one-more-while=${more}`];
    server = await openUniversalServer({ definition: aHostileService({ args, maxPerUser: 20 }) });
  });
  afterAll(async () => {
    rmSync(gate, { force: true });
    await server[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  it('U08 I07 answers initialize and lists from what was said last, and calls once it runs', async () => {
    const { url } = await server.aUrl();
    const first = await initialize(url);
    const real = (await first.request('tools/list')).json?.result;
    expect(real.tools.length).toBeGreaterThan(5);
    await server.restart();

    writeFileSync(gate, '');
    const session = await initialize(url);
    expect(session.result).toMatchObject({
      serverInfo: { name: 'hostile' },
      instructions: 'Handle with care.',
    });
    expect((await session.request('tools/list')).json?.result.tools).toEqual(real.tools);
    let isCalled = false;
    const called = session.call('echo', { text: 'ahoy' }).then((answer) => {
      isCalled = true;
      return answer;
    });
    expect((await session.request('tools/list')).json?.result.tools).toEqual(real.tools);
    expect(isCalled).toBe(false);
    rmSync(gate);
    expect((await called).json?.result.content[0].text).toBe('ahoy');
  });

  it('U08 tells the client that lists changed when the real one is another', async () => {
    const { url } = await server.aUrl();
    const first = await initialize(url);
    const before = (await first.request('tools/list')).json?.result.tools;
    await server.restart();

    writeFileSync(gate, '');
    writeFileSync(more, '');
    const session = await initialize(url);
    const stream = await session.stream();
    expect((await session.request('tools/list')).json?.result.tools).toEqual(before);
    rmSync(gate);
    const told = await stream.next((message) => message.method === 'notifications/tools/list_changed');
    expect(told).toBeDefined();
    const now = (await session.request('tools/list')).json?.result.tools;
    expect(now).toHaveLength(before.length + 1);
    stream.close();
    rmSync(more);
  });

  it('U08 waits for a server that nothing is known of', async () => {
    const { url } = await server.aUrl();
    writeFileSync(gate, '');
    let isAnswered = false;
    const opening = initialize(url).then((session) => {
      isAnswered = true;
      return session;
    });
    const { url: other } = await server.aUrl();
    const another = initialize(other);
    await waitUntil('both start', async () => {
      const metrics = await fetch(`${server.origin}/metrics`, {
        headers: { authorization: `Bearer ${server.metricsToken}` },
      });
      return /state="starting"[^\n]* 2$/m.test(await metrics.text());
    });
    expect(isAnswered).toBe(false);
    rmSync(gate);
    expect((await opening).result.serverInfo.name).toBe('hostile');
    expect((await another).result.serverInfo.name).toBe('hostile');
  });
});
