import { randomUUID } from 'node:crypto';
import { expect, it } from '@jest/globals';
import type { Client } from 'pg';
import { withUser } from '../../backend/src/database/withUser.js';
import {
  dropAuditPartitions,
  ensureAuditPartitions,
  insertAuditEvent,
  type AuditEvent,
} from '../../backend/src/stores/auditStore.js';
import {
  findSpoolChain,
  forgetSpool,
  shipCallAudit,
  type CallAuditRecord,
} from '../../backend/src/stores/callAuditStore.js';
import {
  forgetHealthExcept,
  listHealth,
  listHealthChanges,
  recordHealth,
} from '../../backend/src/stores/healthStore.js';
import { deleteInstance } from '../../backend/src/stores/instancesStore.js';
import { purgeExpired } from '../../backend/src/stores/retentionStore.js';
import { shipRecords } from '../support/callAudit.js';
import { anInstance, aUser } from '../support/rows.js';
import { cloneDatabase } from '../support/testDatabase.js';

const anEvent = (userId: string): AuditEvent => ({
  actorKind: 'user',
  actorId: userId,
  actorVia: null,
  subjectUserId: userId,
  action: 'instance.created',
  targetKind: 'instance',
  targetId: randomUUID(),
  service: 'figma',
  outcome: 'success',
  errorCode: null,
  requestId: 'r1',
  clientAddress: '127.0.0.1',
  details: { label: 'default' },
});

const aRecord = (position: number, more: Partial<CallAuditRecord> = {}): CallAuditRecord => ({
  position,
  phase: 'intent',
  callId: randomUUID(),
  occurredAt: new Date().toISOString(),
  instanceId: randomUUID(),
  userId: randomUUID(),
  service: 'figma',
  method: 'tools/call',
  name: 'get_file',
  ...more,
});

const countCalls = async (client: Client): Promise<number> =>
  (await client.query<{ n: number }>('select count(*)::int as n from audit_calls')).rows[0]!.n;

it('an audited change and its audit are there together or not at all', async () => {
  await using db = await cloneDatabase();
  const api = db.pool('api');
  const superuser = await db.superuser();
  const alice = await aUser(api);
  const { instance } = await anInstance(api, { owner: alice });
  const change = (fail: boolean) =>
    withUser(api, { userId: alice.id, scope: 'self' }, async (client) => {
      await deleteInstance(client, instance);
      await insertAuditEvent(client, randomUUID(), anEvent(alice.id));
      if (fail) throw new Error('after both');
    });
  const count = async () =>
    (
      await superuser.query(
        `select (select count(*)::int from audit_events) as events,
           (select count(*)::int from instances where deleted_at is not null) as deleted`,
      )
    ).rows;
  await expect(change(true)).rejects.toThrow('after both');
  expect(await count()).toEqual([{ events: 0, deleted: 0 }]);
  await change(false);
  expect(await count()).toEqual([{ events: 1, deleted: 1 }]);
});

it('R11 call records are shipped exactly once: the same batch again, cut differently, and from two shippers', async () => {
  await using db = await cloneDatabase();
  const service = db.pool('service');
  const superuser = await db.superuser();
  const records = Array.from({ length: 10 }, (_, n) => aRecord((n + 1) * 100));
  const positionOf = async (spoolId: string) => (await findSpoolChain(service, spoolId)).position;
  expect(await findSpoolChain(service, 's1')).toEqual({ position: 0, seq: 0, head: null });
  await shipRecords(service, 's1', 'figma', records.slice(0, 5));
  await shipRecords(service, 's1', 'figma', records.slice(0, 5));
  expect([await countCalls(superuser), await positionOf('s1')]).toEqual([5, 500]);
  await shipRecords(service, 's1', 'figma', records.slice(2, 7));
  expect([await countCalls(superuser), await positionOf('s1')]).toEqual([7, 700]);
  await Promise.all([
    shipRecords(service, 's1', 'figma', records),
    shipRecords(service, 's1', 'figma', records),
  ]);
  expect(await countCalls(superuser)).toBe(10);
  expect(await findSpoolChain(service, 's1')).toMatchObject({ position: 1_000, seq: 10 });
  // An empty batch and another spool change nothing of it.
  await shipRecords(service, 's1', 'figma', []);
  await shipRecords(service, 's2', 'figma', [aRecord(50)]);
  expect([await positionOf('s1'), await positionOf('s2')]).toEqual([1_000, 50]);
  await forgetSpool(service, 's1');
  expect(await positionOf('s1')).toBe(0);
});

it('R30 takes what the version before ships, without a chain, also in the middle of a spool', async () => {
  await using db = await cloneDatabase();
  const service = db.pool('service');
  const superuser = await db.superuser();
  const shipOld = (records: readonly CallAuditRecord[]) =>
    service.query(`select * from ship_call_audit('s', 'figma', $1)`, [JSON.stringify(records)]);
  const records = Array.from({ length: 6 }, (_, n) => aRecord((n + 1) * 100));
  await shipOld(records.slice(0, 2));
  await shipRecords(service, 's', 'figma', records.slice(0, 4));
  await shipOld(records.slice(2, 5));
  await shipRecords(service, 's', 'figma', records);
  const { rows } = await superuser.query(
    'select seq::int, mac is not null as "isChained" from audit_calls order by spool_position',
  );
  expect(rows).toEqual([null, null, 1, 2, null, 3].map((seq) => ({ seq, isChained: seq !== null })));
});

it('refuses records that leave a gap in a chain, or go over what is there, and adds none of them', async () => {
  await using db = await cloneDatabase();
  const service = db.pool('service');
  const mac = Buffer.alloc(32).toString('base64');
  const ship = (seqs: readonly number[]) =>
    shipCallAudit(service, {
      spoolId: 's',
      service: 'figma',
      records: JSON.stringify(seqs.map((seq) => ({ ...aRecord(seq * 10), seq, mac }))),
      firstSeq: seqs[0]!,
      position: seqs.at(-1)! * 10,
      head: Buffer.alloc(32),
    });
  const outOfStep = { code: '40001' };
  await expect(ship([2])).rejects.toMatchObject(outOfStep);
  expect(await ship([1, 2])).toBe(2);
  await expect(ship([4])).rejects.toMatchObject(outOfStep);
  await expect(ship([1, 2, 3])).rejects.toMatchObject(outOfStep);
  // Nothing of a batch whose numbers are not what it says is added.
  await expect(ship([3, 1])).rejects.toMatchObject(outOfStep);
  expect(await ship([3])).toBe(1);
  expect(await countCalls(await db.superuser())).toBe(3);
});

it('R11 a batch with one unusable record adds nothing and moves nothing', async () => {
  await using db = await cloneDatabase();
  const service = db.pool('service');
  const broken = aRecord(200, { callId: 'no uuid' });
  await expect(shipRecords(service, 's', 'figma', [aRecord(100), broken])).rejects.toThrow('uuid');
  expect((await findSpoolChain(service, 's')).position).toBe(0);
  expect(await countCalls(await db.superuser())).toBe(0);
});

it('an outcome keeps all that is known of a call', async () => {
  await using db = await cloneDatabase();
  const record = aRecord(10, {
    phase: 'outcome',
    era: 'modern',
    requestId: 'r',
    clientAddress: '::1',
    argumentsDigest: 'ab'.repeat(32),
    argumentsBytes: 12,
    outcome: 'tool_error',
    httpStatus: 200,
    jsonRpcCode: -32603,
    isError: true,
    errorCode: 'UPSTREAM_FAILED',
    durationMs: 12.5,
    resultBytes: 3_000_000_000,
  });
  await shipRecords(db.pool('service'), 's', 'figma', [record]);
  const { rows } = await (await db.superuser()).query('select * from audit_calls');
  expect(rows[0]).toMatchObject({
    occurred_at: new Date(record.occurredAt),
    call_id: record.callId,
    phase: 'outcome',
    instance_id: record.instanceId,
    user_id: record.userId,
    service: 'figma',
    method: 'tools/call',
    name: 'get_file',
    era: 'modern',
    arguments_digest: Buffer.from(record.argumentsDigest!, 'hex'),
    outcome: 'tool_error',
    http_status: 200,
    json_rpc_code: -32603,
    is_error: true,
    duration_ms: 12.5,
    result_bytes: '3000000000',
    spool_id: 's',
    spool_position: '10',
  });
});

const at = (day: string) => aRecord(Date.parse(day), { occurredAt: day });

it('audits are kept by day: rows that came before their partition move into it, and old days are dropped whole', async () => {
  await using db = await cloneDatabase();
  const jobs = db.pool('jobs');
  const superuser = await db.superuser();
  await shipRecords(db.pool('service'), 's', 'figma', [
    at('2026-01-01T00:00:00.000Z'),
    at('2026-01-01T23:59:59.999Z'),
    at('2026-01-02T00:00:00.000Z'),
    at('2026-01-05T12:00:00.000Z'),
  ]);
  const where = async () =>
    (
      await superuser.query<{ place: string; n: number }>(
        'select tableoid::regclass::text as place, count(*)::int as n from audit_calls group by 1 order by 1',
      )
    ).rows.map(({ place, n }) => `${place} ${n}`);
  expect(await where()).toEqual(['audit_calls_default 4']);
  expect(await ensureAuditPartitions(jobs, new Date('2026-01-01T12:00:00Z'), 3)).toBe(6);
  expect(await ensureAuditPartitions(jobs, new Date('2026-01-01T12:00:00Z'), 3)).toBe(0);
  expect(await where()).toEqual([
    'audit_calls_20260101 2',
    'audit_calls_20260102 1',
    'audit_calls_default 1',
  ]);
  expect(await dropAuditPartitions(jobs, new Date('2026-01-02T00:00:00Z'))).toBe(2);
  expect(await where()).toEqual(['audit_calls_20260102 1', 'audit_calls_default 1']);
  // New rows find their day, and the partition is as closed as its parent.
  await shipRecords(db.pool('service'), 's2', 'figma', [at('2026-01-03T00:00:00.000Z')]);
  expect(await where()).toContain('audit_calls_20260103 1');
  await expect(
    withUser(db.pool('api'), { userId: null, scope: 'admin' }, (client) =>
      client.query('select * from audit_calls_20260103'),
    ),
  ).rejects.toMatchObject({ code: '42501' });
});

it('P05 health keeps what is now and every change of it', async () => {
  await using db = await cloneDatabase();
  const jobs = db.pool('jobs');
  const probe = {
    service: 'figma',
    state: 'RUNNING',
    isHealthy: true,
    lastCheckAt: new Date(),
    responseTimeMs: 2.5,
    error: null,
    failures: 0,
  } as const;
  const first = await recordHealth(jobs, probe);
  const second = await recordHealth(jobs, { ...probe, responseTimeMs: 3 });
  expect(second.since).toEqual(first.since);
  await recordHealth(jobs, { ...probe, state: 'FAILED', isHealthy: false, error: 'timeout', failures: 1 });
  await recordHealth(jobs, { ...probe, service: 'github' });
  const api = db.pool('api');
  expect((await listHealth(api)).map(({ service, state }) => [service, state])).toEqual([
    ['figma', 'FAILED'],
    ['github', 'RUNNING'],
  ]);
  const changes = await listHealthChanges(api, { service: 'figma', limit: 10 });
  expect(changes.map(({ oldState, newState, reason }) => [oldState, newState, reason])).toEqual([
    ['RUNNING', 'FAILED', 'timeout'],
    [null, 'RUNNING', null],
  ]);
  expect(await forgetHealthExcept(jobs, ['figma'])).toBe(1);
  await expect(recordHealth(api, probe)).rejects.toMatchObject({ code: '42501' });
});

it('what has ended is purged, what has not stays', async () => {
  await using db = await cloneDatabase();
  const api = db.pool('api');
  const superuser = await db.superuser();
  const alice = await aUser(api);
  const gone = await anInstance(api, { owner: alice, label: 'gone' });
  await anInstance(api, { owner: alice, label: 'kept' });
  await withUser(api, { userId: alice.id, scope: 'self' }, (client) => deleteInstance(client, gone.instance));
  await superuser.query(`update instances set deleted_at = now() - interval '31 days' where id = $1`, [
    gone.instance.id,
  ]);
  for (const [days, n] of [
    [-1, 1],
    [8, 2],
  ]) {
    const session = randomUUID();
    await superuser.query(
      `insert into login_sessions (id, user_id, expires_at) values ($1, $2, now() - $3 * interval '1 day')`,
      [session, alice.id, days],
    );
    await superuser.query(
      `insert into refresh_tokens (id, session_id, user_id, digest, expires_at) values ($1, $2, $3, sha256($4), now())`,
      [randomUUID(), session, alice.id, Buffer.from([n!])],
    );
  }
  await superuser.query(
    `insert into rate_limits (key, points, expire) values ('old', 1, 1), ('new', 1, 9e15)`,
  );
  const purged = await purgeExpired(db.pool('jobs'));
  expect(Object.fromEntries([...purged].filter(([, n]) => n > 0))).toEqual({
    deleted_instances: 1,
    login_sessions: 1,
    rate_limits: 1,
  });
  const { rows } = await superuser.query(
    `select (select count(*)::int from instances) as instances, (select count(*)::int from refresh_tokens) as tokens`,
  );
  expect(rows).toEqual([{ instances: 1, tokens: 1 }]);
  expect([...(await purgeExpired(db.pool('jobs'))).values()].every((n) => n === 0)).toBe(true);
  await expect(purgeExpired(api)).rejects.toMatchObject({ code: '42501' });
});
