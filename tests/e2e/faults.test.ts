/** Every program is killed once; the fleet heals, and what the others do goes on. */
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { isAlive } from '../../backend/src/supervisor/processes.js';
import { waitUntil } from '../support/eventually.js';
import { startWholeFleet, type Fleet } from '../support/fleet.js';
import { connectClient, type TestClient } from '../support/mcpClients.js';
import { aUser, anAdmin, callApi, connect, type Connected, type Person } from '../support/people.js';
import { childrenOf } from '../support/processTree.js';

let fleet: Fleet;
let ada: Person;
let alice: Person;
let everything: Connected;
let memory: Connected;

beforeAll(async () => {
  fleet = await startWholeFleet();
  ada = await anAdmin(fleet);
  alice = await aUser(fleet, ada, 'alice');
  everything = await connect(alice, 'everything');
  memory = await connect(alice, 'memory');
}, 180_000);
afterAll(async () => {
  await fleet?.[Symbol.asyncDispose]();
}, 120_000);

const echoWorks = async (url = everything.instanceUrl): Promise<boolean> => {
  try {
    await using client = await connectClient('SDK v1', url);
    return (await client.callTool('echo', { message: 'still here' })).includes('still here');
  } catch {
    return false;
  }
};
const onPort = (url: string, service: string): string =>
  url.replace(fleet.origin, fleet.serviceOrigin(service));

/** Resolves with the pid of the program that took its place. */
async function killAndWait(name: string, healthUrl: string | null): Promise<number> {
  const { pid } = await fleet.app(name);
  process.kill(pid, 'SIGKILL');
  await waitUntil(
    `${name} is back`,
    async () => {
      const app = await fleet.app(name);
      if (app.pid === pid || app.pid === 0 || app.status !== 'online') return false;
      if (healthUrl === null) return true;
      return await callApi(healthUrl, 'GET', '/health').then(
        ({ status }) => status === 200,
        () => false,
      );
    },
    40_000,
  );
  return (await fleet.app(name)).pid;
}

describe('kill -9', () => {
  it.each(['mcp-everything', 'mcp-memory', 'mcp-portolan'])(
    'of %s heals, and leaves no child behind',
    async (name) => {
      await echoWorks();
      const { pid } = await fleet.app(name);
      const children = childrenOf(pid).map((child) => child.pid);
      expect(await killAndWait(name, fleet.serviceOrigin(name.slice('mcp-'.length)))).not.toBe(pid);
      await waitUntil('its children are gone', () => !children.some(isAlive), 5_000);
      await waitUntil('calls work again', () => echoWorks(), 10_000);
    },
    90_000,
  );

  it('of the main API heals, and instance traffic does not notice (R12)', async () => {
    await using client = await connectClient('SDK v1', everything.instanceUrl);
    const { pid } = await fleet.app('main-api');
    process.kill(pid, 'SIGKILL');
    for (let call = 0; call < 50; call += 1) {
      expect(await client.callTool('echo', { message: `call ${call}` })).toContain(`call ${call}`);
    }
    await waitUntil(
      'the main API answers',
      () =>
        callApi(fleet.origin, 'GET', '/health').then(
          ({ status }) => status === 200,
          () => false,
        ),
      40_000,
    );
    expect((await alice.call('GET', '/api/v1/users/me')).status).toBe(200);
  }, 90_000);

  it('of the front heals', async () => {
    expect(await killAndWait('front', fleet.origin)).toBeGreaterThan(0);
    await waitUntil('calls work again', () => echoWorks(), 10_000);
  }, 90_000);

  it('of the health monitor heals', async () => {
    const origin = `http://127.0.0.1:${fleet.config.ports.monitor}`;
    expect(await killAndWait('health-monitor', origin)).toBeGreaterThan(0);
  }, 90_000);

  it('of PostgreSQL heals, and what was stored is there', async () => {
    expect(await killAndWait('postgres', null)).toBeGreaterThan(0);
    await waitUntil('calls work again', () => echoWorks(), 30_000);
    await waitUntil(
      'the account is there',
      async () => (await alice.call('GET', '/api/v1/users/me')).status === 200,
      30_000,
    );
  }, 120_000);
});

describe('restarts', () => {
  it('R12 a restart of the main API during 100 sessions fails no call on the service ports', async () => {
    const sessions: TestClient[] = [];
    try {
      // Ten sessions of each of ten people: an instance has its own limits.
      for (let person = 0; person < 10; person += 1) {
        const user = await aUser(fleet, ada, `user-${person}`);
        const url = onPort((await connect(user, 'everything')).instanceUrl, 'everything');
        for (let at = 0; at < 10; at += 1) sessions.push(await connectClient('SDK v1', url));
      }
      const restarting = fleet.run('pm2', 'restart', 'main-api');
      const over = new AbortController();
      void restarting.then(() => over.abort());
      let calls = 0;
      do {
        const pace = setTimeout(250);
        const answers = await Promise.all(
          sessions.map((session, at) => session.callTool('echo', { message: `session ${at}` })),
        );
        answers.forEach((answer, at) => expect(answer).toContain(`session ${at}`));
        calls += answers.length;
        await pace;
      } while (!over.signal.aborted);
      expect(calls).toBeGreaterThanOrEqual(100);
      expect(await restarting).toMatchObject({ code: 0 });
    } finally {
      await Promise.all(sessions.map((session) => session[Symbol.asyncDispose]()));
    }
  }, 180_000);

  it('P05 the monitor revives what PM2 was told to stop looking after, and shows it', async () => {
    await fleet.run('pm2', 'stop', 'mcp-memory');
    expect(await fleet.app('mcp-memory')).toMatchObject({ pid: 0, status: 'stopped' });
    await fleet.run('pm2', 'start', 'mcp-memory');
    const crash = async (): Promise<void> => {
      const { pid, status } = await fleet.app('mcp-memory');
      if (status === 'online' && pid !== 0) process.kill(pid, 'SIGKILL');
    };
    await waitUntil(
      'PM2 has given up',
      async () => {
        await crash();
        return (await fleet.app('mcp-memory')).status === 'errored';
      },
      60_000,
    );
    await waitUntil(
      'the monitor has revived it',
      async () => {
        const { status } = await fleet.app('mcp-memory');
        return status === 'online';
      },
      60_000,
    );
    await waitUntil(
      'calls work again',
      async () => {
        try {
          await using client = await connectClient('SDK v1', memory.instanceUrl);
          return (await client.toolNames()).includes('read_graph');
        } catch {
          return false;
        }
      },
      30_000,
    );
  }, 180_000);
});
