/** The story of a first day, on a whole fleet: from the printed code to tool calls with everybody's own credentials. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { waitUntil } from '../support/eventually.js';
import { startWholeFleet, type Fleet } from '../support/fleet.js';
import { clientKinds, connectClient } from '../support/mcpClients.js';
import {
  aPersonalKey,
  aUser,
  anAdmin,
  callApi,
  connect,
  type Connected,
  type Person,
} from '../support/people.js';

let fleet: Fleet;
let admin: Person;
let alice: Person;
let bob: Person;
const urls: Record<'alice' | 'bob', Record<'everything' | 'memory' | 'portolan', Connected>> = {
  alice: {} as never,
  bob: {} as never,
};

beforeAll(async () => {
  fleet = await startWholeFleet();
}, 120_000);
afterAll(async () => {
  await fleet?.[Symbol.asyncDispose]();
}, 120_000);

const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1' } },
};

/** How long a process may take to hear of a change: NOTIFY comes after the answer to who made it (06 R26). */
const atOnceMs = 2_000;

async function postMcp(url: string): Promise<number> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
    body: JSON.stringify(initialize),
  });
  await response.text();
  return response.status;
}

describe('the first day', () => {
  it('C01 makes the first admin with the code from the file, which is then gone', async () => {
    expect(statSync(fleet.config.paths.setupCode).mode & 0o777).toBe(0o600);
    admin = await anAdmin(fleet);
    const me = await admin.call('GET', '/api/v1/users/me');
    expect(me).toMatchObject({ status: 200, body: { email: admin.email, role: 'admin' } });
    await waitUntil('the set-up code is gone', () => !existsSync(fleet.config.paths.setupCode));
    const again = await callApi(fleet.origin, 'POST', '/api/v1/auth/setup', {
      body: { setupCode: 'AAAA-AAAA', email: 'eve@example.com', password: 'a long enough password' },
    });
    expect(again.status).toBe(404);
  });

  it('I01 I03 two users each connect to everything, memory and portolan, and get URLs of their own', async () => {
    alice = await aUser(fleet, admin, 'alice');
    bob = await aUser(fleet, admin, 'bob');
    for (const [name, person] of [
      ['alice', alice],
      ['bob', bob],
    ] as const) {
      urls[name] = {
        everything: await connect(person, 'everything'),
        memory: await connect(person, 'memory'),
        portolan: await connect(person, 'portolan', { apiKey: await aPersonalKey(person) }),
      };
      const { body } = await person.call('GET', '/api/v1/user/instances');
      expect(JSON.stringify(body)).toContain(urls[name].memory.id);
    }
    const all = Object.values(urls).flatMap((services) => Object.values(services));
    expect(new Set(all.map(({ instanceUrl }) => instanceUrl)).size).toBe(6);
    for (const { instanceUrl } of all) expect(instanceUrl.startsWith(`${fleet.origin}/`)).toBe(true);
  }, 60_000);

  it('I01 refuses a wrong API key with 400 before anything is stored', async () => {
    const { status } = await bob.call('POST', '/api/v1/services/portolan/authenticate', {
      apiKey: 'not-a-key',
      label: 'wrong',
    });
    expect(status).toBe(400);
    const { body } = await bob.call('GET', '/api/v1/user/instances');
    expect(JSON.stringify(body)).not.toContain('"wrong"');
  });

  describe.each(clientKinds)('%s', (kind) => {
    it('P04 U06 lists and calls tools, through the front and straight on the port', async () => {
      const { instanceUrl } = urls.alice.everything;
      const direct = instanceUrl.replace(fleet.origin, fleet.serviceOrigin('everything'));
      for (const url of [instanceUrl, `${instanceUrl}/mcp`, direct]) {
        await using client = await connectClient(kind, url);
        expect(await client.toolNames()).toContain('echo');
        expect(await client.callTool('echo', { message: `by ${kind}` })).toContain(`by ${kind}`);
      }
    }, 60_000);

    it('U02 what one user stores in memory, the other never sees', async () => {
      await using mine = await connectClient(kind, urls.alice.memory.instanceUrl);
      await using theirs = await connectClient(kind, urls.bob.memory.instanceUrl);
      const name = `secret of alice, ${kind}`;
      await mine.callTool('create_entities', {
        entities: [{ name, entityType: 'note', observations: ['only hers'] }],
      });
      expect(await mine.callTool('read_graph')).toContain(name);
      expect(await theirs.callTool('read_graph')).not.toContain('secret of alice');
    }, 60_000);

    it("U01 portolan's tools answer with the caller's own data", async () => {
      for (const [person, own] of [
        [alice, urls.alice],
        [bob, urls.bob],
      ] as const) {
        await using client = await connectClient(kind, own.portolan.instanceUrl);
        const whoAmI = (await client.toolNames()).find((tool) =>
          /get_?(?:my_?account|me|users_me)$/i.test(tool),
        );
        expect(whoAmI).toBeDefined();
        expect(await client.callTool(whoAmI ?? '')).toContain(person.email);
      }
    }, 60_000);
  });

  it('I04 A05 rotate gives a new URL at once, and the old one is unknown', async () => {
    const before = urls.alice.everything.instanceUrl;
    expect(await postMcp(before)).toBe(200);
    const { status, body } = await alice.call('POST', '/api/v1/services/everything/instance/rotate', {});
    expect(status).toBe(200);
    const after = String(body.instanceUrl);
    expect(after).not.toBe(before);
    expect(await postMcp(after)).toBe(200);
    await waitUntil('the old URL is unknown', async () => (await postMcp(before)) === 404, atOnceMs);
  });

  it('I04 revoke works at once, through the front and on the port', async () => {
    const { instanceUrl } = urls.bob.everything;
    expect(await postMcp(instanceUrl)).toBe(200);
    const { status } = await bob.call('DELETE', '/api/v1/services/everything/instance');
    expect([200, 204]).toContain(status);
    await waitUntil('the URL is unknown', async () => (await postMcp(instanceUrl)) === 404, atOnceMs);
    expect(await postMcp(instanceUrl.replace(fleet.origin, fleet.serviceOrigin('everything')))).toBe(404);
  });

  it('P06 the fleet shows itself: pm2 ls, status, /metrics, /api/v1/health/services', async () => {
    const { code, output } = await fleet.run('pm2', 'ls');
    expect(code).toBe(0);
    for (const app of [
      'main-api',
      'front',
      'health-monitor',
      'mcp-everything',
      'mcp-memory',
      'mcp-portolan',
    ]) {
      expect(output).toContain(app);
    }
    const status = await fleet.run('status', '--json');
    expect(status.code).toBe(0);
    const rows = JSON.parse(status.output) as { app: string; status: string; health: string | null }[];
    expect(rows.filter((row) => row.status !== 'online' || row.health === 'unhealthy')).toEqual([]);

    const metricsKey = readFileSync(fleet.config.paths.metricsToken, 'utf8').trim();
    for (const origin of [fleet.apiOrigin, fleet.serviceOrigin('everything')]) {
      const metrics = await callApi(origin, 'GET', '/metrics', { bearer: metricsKey });
      expect(metrics.status).toBe(200);
      expect(String(metrics.body.text)).toContain('portolan_');
      expect((await callApi(origin, 'GET', '/metrics')).status).toBeGreaterThanOrEqual(401);
    }
    await waitUntil(
      'the monitor has seen memory healthy',
      async () => {
        const { body } = await admin.call('GET', '/api/v1/health/services');
        return /"memory"[^}]*"isHealthy":true|"isHealthy":true[^}]*"memory"/.test(JSON.stringify(body));
      },
      15_000,
    );
  }, 60_000);
});
