/** `pm2 reload` under load: no call is lost, through the front and straight on the port (P06, R13). */
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startWholeFleet, type Fleet } from '../support/fleet.js';
import { connectClient } from '../support/mcpClients.js';
import { aUser, anAdmin, connect, type Connected } from '../support/people.js';

const people = ['alice', 'bob', 'carol', 'dave'];
let fleet: Fleet;
/** One of `everything` for each of the people: an instance has limits of its own. */
let instances: Connected[];

beforeAll(async () => {
  fleet = await startWholeFleet();
  const admin = await anAdmin(fleet);
  instances = [];
  for (const name of people) instances.push(await connect(await aUser(fleet, admin, name), 'everything'));
}, 180_000);
afterAll(async () => {
  await fleet?.[Symbol.asyncDispose]();
}, 120_000);

interface Load {
  readonly calls: number;
  readonly failures: readonly string[];
}

/** Below the 60 requests a second of an instance: five for each round of a client. */
const paceMs = 125;

/** Calls from one client for each URL until it is over, in old sessions and new ones; a client stops at its first failure. */
async function load(urls: readonly string[], over: AbortSignal): Promise<Load> {
  let calls = 0;
  const failures: string[] = [];
  const one = async (url: string, at: number): Promise<void> => {
    await using lasting = await connectClient('SDK v1', url);
    while (!over.aborted) {
      const pace = setTimeout(paceMs);
      try {
        const message = `${people[at]} ${(calls += 1)}`;
        expect(await lasting.callTool('echo', { message })).toContain(message);
        await using fresh = await connectClient('SDK v1', url);
        expect(await fresh.callTool('echo', { message })).toContain(message);
      } catch (error) {
        failures.push(`${people[at]}: ${toText(error)}`);
        return;
      }
      await pace;
    }
  };
  await Promise.all(urls.map(one));
  return { calls, failures };
}

/** With the HTTP status, where there was one, and the cause, where there was none. */
function toText(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  const code = 'code' in error ? String(error.code) : '';
  return `${error.message} ${code} ${error.cause instanceof Error ? error.cause.message : ''}`;
}

const throughFront = (): string[] => instances.map(({ instanceUrl }) => instanceUrl);
const onPort = (): string[] =>
  throughFront().map((url) => url.replace(fleet.origin, fleet.serviceOrigin('everything')));

describe('pm2 reload under load', () => {
  const rows = [
    ['mcp-everything', 'the front', throughFront],
    ['mcp-everything', 'the port', onPort],
    ['front', 'the front', throughFront],
    ['main-api', 'the front', throughFront],
  ] as const;

  it.each(rows)(
    'P06 R13 of %s loses no call through %s',
    async (app, _way, urlsOf) => {
      const { pid } = await fleet.app(app);
      const over = new AbortController();
      const loading = load(urlsOf(), over.signal);
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
    const [url = ''] = onPort();
    await using client = await connectClient('SDK v1', url);
    const tool = (await client.toolNames()).find((name) => /long.?running/i.test(name)) ?? '';
    const calling = client.callTool(tool, { duration: 6, steps: 3 });
    const reloaded = await fleet.run('pm2', 'reload', 'mcp-everything');
    expect(reloaded.code).toBe(0);
    expect(await calling).toMatch(/completed/i);
  }, 120_000);
});
