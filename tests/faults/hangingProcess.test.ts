/** A process of a running fleet that stops to turn, as one does that computes without an end (R28; 12.26). */
import { setTimeout } from 'node:timers/promises';
import { expect, it } from '@jest/globals';
import { waitUntil } from '../support/eventually.js';
import { startWholeFleet } from '../support/fleet.js';
import { connectClient } from '../support/mcpClients.js';
import { aUser, anAdmin, connect } from '../support/people.js';

it('R28 a service that hangs is unready, killed and back within 15 s, and nobody else notices', async () => {
  await using fleet = await startWholeFleet();
  const alice = await aUser(fleet, await anAdmin(fleet), 'alice');
  const [memory, everything] = [await connect(alice, 'memory'), await connect(alice, 'everything')];
  // Both have been used, so that what comes is no first start.
  for (const { instanceUrl } of [memory, everything]) {
    await using client = await connectClient('SDK v1', instanceUrl);
    await client.toolNames();
  }
  const before = await fleet.apps();
  const { pid } = await fleet.app('mcp-memory');

  const over = new AbortController();
  let besides = 0;
  const others = (async () => {
    await using client = await connectClient('SDK v1', everything.instanceUrl);
    while (!over.signal.aborted) {
      expect(await client.callTool('echo', { message: `${besides}` })).toContain(`${besides}`);
      besides += 1;
      await setTimeout(20);
    }
  })();
  const ready = (): Promise<boolean> =>
    fetch(`${fleet.serviceOrigin('memory')}/readyz`, { signal: AbortSignal.timeout(500) }).then(
      ({ status }) => status === 200,
      () => false,
    );
  expect(await ready()).toBe(true);
  const stoppedAt = performance.now();
  process.kill(pid, 'SIGSTOP');
  expect(await ready()).toBe(false);
  await waitUntil('the service is ready again', ready, 60_000);
  const outageMs = performance.now() - stoppedAt;
  await using client = await connectClient('SDK v1', memory.instanceUrl);
  expect(await client.toolNames()).toContain('read_graph');
  over.abort();
  await others;

  process.stdout.write(`R28 outage of a process that hangs: ${Math.round(outageMs)} ms\n`);
  expect(outageMs).toBeLessThan(15_000);
  expect(besides).toBeGreaterThan(20);
  const pidsOf = (apps: typeof before) =>
    apps.filter(({ name }) => name !== 'mcp-memory').map(({ name, pid: of }) => [name, of]);
  expect(pidsOf(await fleet.apps())).toEqual(pidsOf(before));
  expect((await fleet.app('mcp-memory')).pid).not.toBe(pid);
}, 300_000);
