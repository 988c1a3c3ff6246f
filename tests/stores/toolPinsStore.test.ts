import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Client } from 'pg';
import type { DatabasePool } from '../../backend/src/database/pool.js';
import { withUser } from '../../backend/src/database/withUser.js';
import { purgeExpired } from '../../backend/src/stores/retentionStore.js';
import {
  decideTool,
  definitionBytesMax,
  findToolSightings,
  listToolSightings,
  readToolPins,
  reportTools,
} from '../../backend/src/stores/toolPinsStore.js';
import type { User } from '../../backend/src/stores/usersStore.js';
import { anInstance, aUser } from '../support/rows.js';
import { cloneDatabase, type TestDatabase } from '../support/testDatabase.js';

let db: TestDatabase;
let api: DatabasePool;
let service: DatabasePool;
let superuser: Client;
let alice: User;
let services = 0;

beforeAll(async () => {
  db = await cloneDatabase();
  [api, service, superuser] = [db.pool('api'), db.pool('service'), await db.superuser()];
  alice = await aUser(api, { role: 'admin' });
});
afterAll(() => db[Symbol.asyncDispose]());

/** A service that nobody has listed yet, and instances of it. */
async function aService(instances = 1) {
  const name = `service-${(services += 1)}`;
  const made: string[] = [];
  for (let at = 0; at < instances; at += 1)
    made.push((await anInstance(api, { owner: alice, service: name, label: `l${at}` })).instance.id);
  const report = async (
    tools: Readonly<Record<string, string>>,
    { by = made[0]!, isLast = true, isPlain = true } = {},
  ) => {
    const given = Object.entries(tools).map(([tool, definition]) => ({ tool, definition, isPlain }));
    const pins = await reportTools(service, { service: name, instanceId: by, tools: given, isLast });
    return pins.map(({ tool, state, isNew, isFirst }) => [tool, state, isNew, isFirst]);
  };
  return { name, instances: made, report };
}

const asAdmin = <T>(work: Parameters<typeof withUser<T>>[2]): Promise<T> =>
  withUser(api, { userId: alice.id, scope: 'admin' }, work);

describe('pins of tools', () => {
  it('trust the first list of a service, page by page, and nothing after it', async () => {
    const { report } = await aService();
    expect(await report({ read: 'r1' }, { isLast: false })).toEqual([['read', 'approved', true, true]]);
    expect(await report({ write: 'w1' })).toEqual([['write', 'approved', true, true]]);
    expect(await report({ read: 'r1', write: 'w1', late: 'l1' })).toEqual([
      ['read', 'approved', true, false],
      ['write', 'approved', true, false],
      ['late', 'waiting', true, true],
    ]);
    expect(await report({ read: 'r2' })).toEqual([['read', 'waiting', false, true]]);
    expect(await report({ read: 'r3' })).toEqual([['read', 'waiting', false, false]]);
  });

  it('trust only the instance that was the first, and it for a minute', async () => {
    const { name, instances, report } = await aService(2);
    await report({ read: 'r1' }, { isLast: false });
    expect(await report({ other: 'o1' }, { by: instances[1]! })).toEqual([['other', 'waiting', true, true]]);
    await superuser.query(
      `update tool_baselines set begun_at = begun_at - interval '61 s' where service = $1`,
      [name],
    );
    expect(await report({ late: 'l1' })).toEqual([['late', 'waiting', true, true]]);
  });

  it('make one of many processes the first', async () => {
    const { instances, report } = await aService(8);
    const states = await Promise.all(instances.map((by, at) => report({ read: `r${at}` }, { by })));
    expect(states.flat().filter(([, state]) => state === 'approved')).toHaveLength(1);
  });

  it('trust no definition of a name that a list has twice', async () => {
    const { report } = await aService();
    expect(await report({ read: 'r1' }, { isPlain: false })).toEqual([['read', 'waiting', false, true]]);
    expect(await report({ read: 'r2' }, { isPlain: false })).toEqual([['read', 'waiting', false, false]]);
  });

  it('are named by the digest of what an admin reads', async () => {
    const { name, report } = await aService();
    const text = '{"name":"é"}';
    await report({ é: text });
    const [pin] = await readToolPins(service, name);
    expect(pin?.digest).toBe(`v1:${createHash('sha256').update(text).digest('hex')}`);
  });

  it('are none for an instance that is gone or of another service', async () => {
    const one = await aService();
    const other = await aService();
    expect(await one.report({ read: 'r1' }, { by: other.instances[0]! })).toEqual([]);
    expect(await readToolPins(service, one.name)).toEqual([]);
  });

  it('are approved by no service process, and by nobody but an admin', async () => {
    const { name, report } = await aService();
    await report({ read: 'r1' });
    await report({ read: 'r2' });
    const [waiting] = await asAdmin((client) => findToolSightings(client, { service: name, tool: 'read' }));
    const decision = {
      service: name,
      tool: 'read',
      digest: waiting!.digest,
      state: 'approved' as const,
      decidedBy: alice.id,
    };
    await expect(decideTool(service, decision)).rejects.toThrow('permission denied');
    await expect(service.query('select * from tool_pins')).rejects.toThrow('permission denied');
    await withUser(api, { userId: alice.id, scope: 'self' }, async (client) => {
      await decideTool(client, decision);
      expect(await listToolSightings(client, name)).toEqual([]);
    });
    expect((await readToolPins(service, name)).filter(({ state }) => state === 'waiting')).toHaveLength(1);
    await asAdmin((client) => decideTool(client, decision));
    expect((await readToolPins(service, name)).map(({ state }) => state)).toEqual(['approved', 'approved']);
    await expect(
      asAdmin((client) => client.query(`update tool_pins set definition = 'x' where service = $1`, [name])),
    ).rejects.toThrow('permission denied');
  });

  it('stay within bounds: the oldest that waits leaves, what is approved or new never does', async () => {
    const { name, report } = await aService();
    await report({ read: 'r0', write: 'w0' });
    for (let at = 1; at <= 25; at += 1) await report({ read: `r${at}`, [`new${at}`]: 'n' });
    const sightings = await asAdmin((client) => listToolSightings(client, name));
    const ofRead = await asAdmin((client) => findToolSightings(client, { service: name, tool: 'read' }));
    expect(ofRead.map(({ definition }) => definition)).toEqual([
      ...Array.from({ length: 20 }, (_, at) => `r${25 - at}`),
      'r0',
    ]);
    expect(sightings.filter(({ tool }) => tool.startsWith('new'))).toHaveLength(25);
    await expect(report({ read: 'x'.repeat(definitionBytesMax + 1) })).rejects.toThrow(
      'tool_pins_definition',
    );
    const many = Object.fromEntries(Array.from({ length: 1_001 }, (_, at) => [`t${at}`, 'd']));
    await expect(report(many)).rejects.toThrow('too long');
  });

  it('forget what nobody listed for a month, unless it was decided', async () => {
    const { name, report } = await aService();
    await report({ read: 'r1' });
    await report({ read: 'r2', late: 'l1' });
    await superuser.query(`update tool_pins set seen_at = now() - interval '31 days' where service = $1`, [
      name,
    ]);
    expect((await purgeExpired(db.pool('jobs'))).get('tool_sightings')).toBe(1);
    expect((await readToolPins(service, name)).map(({ tool, state }) => `${tool} ${state}`).sort()).toEqual([
      'late waiting',
      'read approved',
    ]);
  });
});
