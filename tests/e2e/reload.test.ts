/** `pm2 reload` under load: no call is lost, through the front and straight on the port (P06, R13). */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startWholeFleet, type Fleet } from '../support/fleet.js';
import { connectClient } from '../support/mcpClients.js';
import { aUser, anAdmin, connect, type Connected } from '../support/people.js';

let fleet: Fleet;
let everything: Connected;

beforeAll(async () => {
  fleet = await startWholeFleet();
  everything = await connect(await aUser(fleet, await anAdmin(fleet), 'alice'), 'everything');
}, 180_000);
afterAll(async () => {
  await fleet?.[Symbol.asyncDispose]();
}, 120_000);

interface Load {
  readonly calls: number;
  readonly failures: readonly string[];
}

/** Calls from several clients, one after the other each, until it is over; new sessions and old ones alike. */
async function load(url: string, over: AbortSignal): Promise<Load> {
  let calls = 0;
  const failures: string[] = [];
  const one = async (name: string): Promise<void> => {
    await using lasting = await connectClient('SDK v1', url);
    while (!over.aborted) {
      try {
        const message = `${name} ${(calls += 1)}`;
        expect(await lasting.callTool('echo', { message })).toContain(message);
        await using fresh = await connectClient('SDK v1', url);
        expect(await fresh.callTool('echo', { message })).toContain(message);
      } catch (error) {
        failures.push(
          `${name}: ${error instanceof Error ? `${error.message} ${String(error.cause)}` : 'unknown'}`,
        );
      }
    }
  };
  await Promise.all(['one', 'two', 'three', 'four'].map(one));
  return { calls, failures };
}

describe('pm2 reload under load', () => {
  const rows = [
    ['mcp-everything', 'the front', (): string => everything.instanceUrl],
    [
      'mcp-everything',
      'the port',
      (): string => everything.instanceUrl.replace(fleet.origin, fleet.serviceOrigin('everything')),
    ],
    ['front', 'the front', (): string => everything.instanceUrl],
    ['main-api', 'the front', (): string => everything.instanceUrl],
  ] as const;

  it.each(rows)(
    'P06 R13 of %s loses no call through %s',
    async (app, _way, urlOf) => {
      const { pid } = await fleet.app(app);
      const over = new AbortController();
      const loading = load(urlOf(), over.signal);
      const reloaded = await fleet.run('pm2', 'reload', app);
      over.abort();
      const { calls, failures } = await loading;
      expect(reloaded.code).toBe(0);
      expect((await fleet.app(app)).pid).not.toBe(pid);
      expect(failures).toEqual([]);
      expect(calls).toBeGreaterThan(10);
    },
    120_000,
  );

  it('R13 a call that takes its time is finished before the old process ends', async () => {
    const url = everything.instanceUrl.replace(fleet.origin, fleet.serviceOrigin('everything'));
    await using client = await connectClient('SDK v1', url);
    const tool = (await client.toolNames()).find((name) => /long.?running/i.test(name)) ?? '';
    const calling = client.callTool(tool, { duration: 6, steps: 3 });
    const reloaded = await fleet.run('pm2', 'reload', 'mcp-everything');
    expect(reloaded.code).toBe(0);
    expect(await calling).toMatch(/completed/i);
  }, 120_000);
});
