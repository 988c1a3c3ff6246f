/** `limits.dailyCalls`: counted over processes, restarts and instances made anew, and never exceeded (spec 05 "Rate limits"). */
import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Client } from 'pg';
import type { DatabasePool } from '../../../backend/src/database/pool.js';
import { withUser } from '../../../backend/src/database/withUser.js';
import {
  createDailyCalls,
  type DailyCalls,
} from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/dailyCalls.js';
import { deleteInstance } from '../../../backend/src/stores/instancesStore.js';
import { anApiService, aTool } from '../../support/anApiService.js';
import { modern, send } from '../../support/mcpHttp.js';
import { json, startRecordingUpstream } from '../../support/recordingUpstream.js';
import { anInstance, aUser } from '../../support/rows.js';
import { cloneDatabase, type TestDatabase } from '../../support/testDatabase.js';
import { openUniversalServer } from '../../support/universalServer.js';

const aDefinition = (dailyCalls: number, multiple = false) =>
  anApiService(
    { baseUrl: 'http://127.0.0.1:9999', tools: [aTool('list', { method: 'GET', path: '/' })] },
    {
      limits: { dailyCalls },
      credentials: {
        multiple,
        maxPerUser: 2,
        methods: [
          { id: 'key', type: 'fields', label: 'Key', tokenField: 't', fields: [{ name: 't', label: 'T' }] },
        ],
      },
    },
  );

/** How many of so many tries at once got through. */
const takeMany = async (process: Pick<DailyCalls, 'take'>, instance: { id: string }, tries: number) => {
  const taken = await Promise.allSettled(
    Array.from({ length: tries }, async () => process.take(instance, 'tools/call')),
  );
  return taken.filter(({ status }) => status === 'fulfilled').length;
};

describe('calls of a day', () => {
  let db: TestDatabase;
  let superuser: Client;
  let service: DatabasePool;
  beforeAll(async () => {
    db = await cloneDatabase();
    superuser = await db.superuser();
    service = db.pool('service');
  });
  afterAll(async () => {
    await db[Symbol.asyncDispose]();
  });

  const aProcess = (
    dailyCalls: number,
    more: { multiple?: boolean; now?: () => number; db?: DatabasePool } = {},
  ) =>
    createDailyCalls({
      definition: aDefinition(dailyCalls, more.multiple),
      db: more.db ?? service,
      log: { warn: () => undefined },
      ...(more.now === undefined ? {} : { now: more.now }),
    });
  const owned = async () => {
    const owner = await aUser(db.pool('api'));
    const { instance } = await anInstance(db.pool('api'), { owner, service: 'notes' });
    return { id: instance.id, owner };
  };
  const leasedOf = async (id: string): Promise<number> => {
    const { rows } = await superuser.query<{ leased: number }>(
      'select coalesce(sum(leased), 0)::int as leased from daily_calls where instance_id = $1',
      [id],
    );
    return rows[0]!.leased;
  };

  it('are exactly the limit for several processes that ask at once, and the last of them is refused until midnight', async () => {
    const instance = await owned();
    const processes = Array.from({ length: 4 }, () => aProcess(250));
    const taken = await Promise.all(processes.map((one) => takeMany(one, instance, 100)));
    const sum = taken.reduce((total, one) => total + one, 0);
    expect(sum).toBeLessThanOrEqual(250);
    // What some of them hold unspent, the next may use.
    await Promise.all(processes.map((one) => one.close()));
    const first = aProcess(250);
    expect(sum + (await takeMany(first, instance, 250))).toBe(250);
    const refusal = await Promise.resolve(first.take(instance, 'tools/call')).catch(
      (thrown: unknown) => thrown,
    );
    expect(refusal).toMatchObject({ code: 'RATE_LIMIT_EXCEEDED' });
    const { retryAfterSeconds } = (refusal as { options: { retryAfterSeconds: number } }).options;
    const { rows } = await superuser.query<{ left: number }>(
      `select extract(epoch from date_trunc('day', at) + interval '1 day' - at)::float8 as left
       from (select clock_timestamp() at time zone 'UTC' as at) t`,
    );
    expect(Math.abs(retryAfterSeconds - rows[0]!.left)).toBeLessThan(30);
    // Greetings and lists are free.
    expect(first.take(instance, 'tools/list')).toBeUndefined();
    await first.close();
    expect(await leasedOf(instance.id)).toBe(250);
  });

  it('ask the database once for a block, not once for a call', async () => {
    const instance = await owned();
    let statements = 0;
    const counting = {
      ...service,
      query: (...given: Parameters<DatabasePool['query']>) => {
        statements += 1;
        return service.query(...given);
      },
    } as DatabasePool;
    const process = aProcess(10_000, { db: counting });
    expect(await takeMany(process, instance, 100)).toBe(100);
    expect(statements).toBe(1);
    for (let call = 0; call < 900; call += 1) await process.take(instance, 'tools/call');
    expect(statements).toBe(10);
    await process.close();
  });

  it('that a process did not spend are there again after its orderly end, and lost after a kill', async () => {
    const instance = await owned();
    const ended = aProcess(100);
    await ended.take(instance, 'tools/call');
    expect(await leasedOf(instance.id)).toBe(25);
    await ended.close();
    expect(await leasedOf(instance.id)).toBe(1);
    // Nobody hears of this one again.
    const killed = aProcess(100);
    await killed.take(instance, 'tools/call');
    const lost = (await leasedOf(instance.id)) - 2;
    const next = aProcess(100);
    expect(await takeMany(next, instance, 100)).toBe(100 - 2 - lost);
    expect(lost).toBeLessThanOrEqual(100);
    await next.close();
    await killed.close();
  });

  it('are not made more by deleting an instance and making it anew', async () => {
    const instance = await owned();
    const process = aProcess(5);
    expect(await takeMany(process, instance, 10)).toBe(5);
    await withUser(db.pool('api'), { userId: instance.owner.id, scope: 'self' }, (client) =>
      deleteInstance(client, { id: instance.id, userId: instance.owner.id }),
    );
    const again = await anInstance(db.pool('api'), { owner: instance.owner, service: 'notes' });
    expect(await takeMany(process, again.instance, 10)).toBe(0);
    // Of another user they are another's.
    expect(await takeMany(process, await owned(), 10)).toBe(5);
    // Who may have two instances may use as much with two, and no more.
    const two = aProcess(5, { multiple: true });
    expect(await takeMany(two, again.instance, 10)).toBe(5);
    const third = await anInstance(db.pool('api'), {
      owner: instance.owner,
      service: 'notes',
      label: 'third',
    });
    expect(await takeMany(two, third.instance, 10)).toBe(0);
  });

  it('R16 end with their day by the clock of the database, whatever the clock of the process says', async () => {
    const instance = await owned();
    let at = 0;
    const process = aProcess(100, { now: () => at });
    await process.take(instance, 'tools/call');
    expect(await leasedOf(instance.id)).toBe(25);
    // A day and more passes by the monotonic clock: what was leased for the day is worth nothing.
    at += 86_400_000;
    await superuser.query('update daily_calls set day = day - 1 where instance_id = $1', [instance.id]);
    expect(await takeMany(process, instance, 200)).toBe(100);
    expect(await leasedOf(instance.id)).toBe(25 + 100);
    await process.close();
  });

  it('are refused when nobody can tell what is left, and go on while a block lasts', async () => {
    const instance = await owned();
    const breaking = db.pool('service', { connectionsMax: 1 });
    const process = aProcess(1_000, { db: breaking });
    await process.take(instance, 'tools/call');
    await breaking.close();
    expect(await takeMany(process, instance, 99)).toBe(99);
    await expect(Promise.resolve(process.take(instance, 'tools/call'))).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
    });
    await process.close();
  });

  it('are leased to nobody for what is not an instance of the service, and nobody gets back more than was leased', async () => {
    const instance = await owned();
    const process = aProcess(10);
    expect(await takeMany(process, { id: randomUUID() }, 3)).toBe(0);
    await service.query('select lease_daily_calls($1, $2, 10, 10, 10)', [instance.id, 'other']);
    expect(await leasedOf(instance.id)).toBe(0);
    await process.take(instance, 'tools/call');
    await service.query('select return_daily_calls($1, $2, current_date, 2000000000)', [
      instance.id,
      'notes',
    ]);
    await service.query('select return_daily_calls($1, $2, current_date, -2000000000)', [
      instance.id,
      'notes',
    ]);
    expect(await leasedOf(instance.id)).toBe(0);
    await process.close();
  });
});

describe('a service with a limit for the day', () => {
  it('answers 429 with the time until midnight, by every way, and after a restart too', async () => {
    await using notes = await startRecordingUpstream();
    notes.on('/', json(200, { ok: true }));
    const definition = anApiService(
      {
        baseUrl: notes.origin,
        tools: [aTool('list', { method: 'GET', path: '/' }, { annotations: { readOnlyHint: true } })],
      },
      { limits: { dailyCalls: 3 } },
    );
    await using server = await openUniversalServer({ definition });
    const { url } = await server.aUrl({ fields: { token: `key-${randomBytes(4).toString('hex')}` } });
    const call = () => send(url, modern('tools/call', { name: 'list', arguments: {} }));
    const rest = () => send(`${url}/list`, { method: 'GET', headers: { accept: 'application/json' } });
    const statuses = [(await call()).status, (await rest()).status, (await call()).status];
    expect(statuses).toEqual([200, 200, 200]);
    for (const round of [1, 2]) {
      const [refused, refusedRest] = [await call(), await rest()];
      expect([round, refused.status, refusedRest.status]).toEqual([round, 429, 429]);
      expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
      expect(Number(refusedRest.headers['retry-after'])).toBeGreaterThan(0);
      expect(refused.json.error.data.detail ?? refused.json.error.message).toContain('3 calls of today');
      expect((await send(url, modern('tools/list'))).status).toBe(200);
      if (round === 1) await server.restart();
    }
    expect(notes.requests.length).toBe(3);
  });
});
