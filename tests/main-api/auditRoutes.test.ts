/** C06: the audits over HTTP, for those who may read them. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createRoutes } from '../../backend/src/main-api/routes.js';
import { shipRecords } from '../support/callAudit.js';
import { openMainApi, type Answer, type OpenedMainApi, type Person } from '../support/mainApi.js';

const events = '/api/v1/audit/events';
const calls = '/api/v1/audit/calls';

describe('C06 the audits', () => {
  let api: OpenedMainApi;
  let [ada, bob, auditor, admin] = [] as unknown as [Person, Person, Person, Person];
  const instanceId = randomUUID();
  const callIds = Array.from({ length: 5 }, () => randomUUID());

  beforeAll(async () => {
    api = await openMainApi({ limits: { export: 100 } });
    [ada, bob] = [await api.aPerson(), await api.aPerson()];
    [auditor, admin] = [await api.aPerson('auditor'), await api.anAdmin()];
    await ada.patch('/api/v1/users/me', { displayName: 'Ada' });
    await bob.patch('/api/v1/users/me', { displayName: 'Bob' });
    const records = callIds.flatMap((callId, at) => {
      const userId = at < 3 ? ada.id : bob.id;
      const common = {
        callId,
        instanceId,
        userId,
        service: 'notes',
        method: 'tools/call',
        requestId: `r${at}`,
      };
      const second = (offset: number) => new Date(Date.now() - 60_000 + at * 1_000 + offset).toISOString();
      return [
        {
          ...common,
          position: at * 20 + 1,
          phase: 'intent' as const,
          occurredAt: second(0),
          name: at === 4 ? '=cmd()' : 'echo',
          clientAddress: '::1',
          argumentsDigest: 'ab'.repeat(32),
          argumentsBytes: 7,
        },
        {
          ...common,
          position: at * 20 + 2,
          phase: 'outcome' as const,
          occurredAt: second(500),
          name: at === 4 ? '=cmd()' : 'echo',
          outcome: at === 1 ? ('timeout' as const) : ('ok' as const),
          ...(at === 1 ? { errorCode: 'UPSTREAM_TIMEOUT' } : {}),
          durationMs: 500,
        },
      ];
    });
    await shipRecords(api.connected.site.db.pool('service'), 'spool', 'notes', records);
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
  });

  it('shows admins and auditors everybody’s, and others their own', async () => {
    const mine = `${events}?action=user.updated`;
    const actorsOf = async (person: Person): Promise<unknown[]> =>
      ((await person.get(`${events}?limit=200`)).body.events as { actorId: string; subjectUserId: string }[])
        .map(({ actorId, subjectUserId }) => [actorId, subjectUserId])
        .filter((pair) => !pair.includes(person.id));
    expect((await ada.get(mine)).status).toBe(200);
    expect(await actorsOf(ada)).toEqual([]);
    expect((await actorsOf(auditor)).length).toBeGreaterThan(2);
    expect((await actorsOf(admin)).length).toBeGreaterThan(2);
    const idsOf = async (person: Person) =>
      ((await person.get(calls)).body.calls as { id: string }[]).map(({ id }) => id);
    expect(await idsOf(ada)).toEqual(callIds.slice(0, 3).toReversed());
    expect(await idsOf(bob)).toEqual(callIds.slice(3).toReversed());
    expect(await idsOf(auditor)).toEqual(callIds.toReversed());
    // Asking for another's by name finds nothing.
    expect((await ada.get(`${calls}?userId=${bob.id}`)).body.calls).toEqual([]);
    expect((await ada.get(`${events}?actorId=${bob.id}`)).body.events).toEqual([]);
    expect((await api.get(events)).status).toBe(401);
  });

  it('joins a call’s intent and outcome, and filters by each of the named members', async () => {
    const { body } = await auditor.get(`${calls}?outcome=failed&instanceId=${instanceId}`);
    expect(body.calls).toMatchObject([
      {
        id: callIds[1],
        startedAt: expect.any(String),
        outcome: 'timeout',
        errorCode: 'UPSTREAM_TIMEOUT',
        clientAddress: '::1',
        argumentsDigest: 'ab'.repeat(32),
        argumentsBytes: 7,
        durationMs: 500,
      },
    ]);
    const count = async (query: string) => (await auditor.get(`${calls}?${query}`)).body.calls.length;
    expect(await count(`userId=${ada.id}`)).toBe(3);
    expect(await count('name=echo&service=notes&method=tools/call')).toBe(4);
    expect(await count('errorCode=UPSTREAM_TIMEOUT')).toBe(1);
    expect(await count('requestId=r2')).toBe(1);
    expect(await count('service=other')).toBe(0);
    expect(await count(`from=${new Date().toISOString()}`)).toBe(0);
    const found = async (query: string) => (await auditor.get(`${events}?${query}`)).body.events;
    const [event] = await found(`actorId=${ada.id}&action=user.updated`);
    expect(event ?? (await found(`actorId=${ada.id}`))[0]).toMatchObject({
      actorId: ada.id,
      outcome: 'success',
    });
    expect(await found('outcome=failure&errorCode=NONE')).toEqual([]);
    expect((await auditor.get(`${events}?password=x`)).status).toBe(400);
    expect((await auditor.get(`${events}?cursor=bm9uZQ`)).status).toBe(400);
  });

  it('gives every row exactly once, page by page', async () => {
    for (const [path, member] of [
      [events, 'events'],
      [calls, 'calls'],
    ] as const) {
      const all = (await auditor.get(`${path}?limit=200`)).body[member].map(({ id }: { id: string }) => id);
      const paged: string[] = [];
      for (let cursor: string | null = ''; cursor !== null;) {
        const { body }: Answer = await auditor.get(
          `${path}?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`,
        );
        paged.push(...body[member].map(({ id }: { id: string }) => id));
        cursor = body.nextCursor as string | null;
      }
      expect(paged).toEqual(all);
    }
  });

  it('exports as NDJSON and CSV with formulas made harmless, and audits that it did', async () => {
    const csv = await auditor.get('/api/v1/audit/export?audit=calls&format=csv');
    expect(csv.headers.get('content-type')).toBe('text/csv; charset=utf-8');
    const lines = String(csv.body).trim().split('\n');
    expect(lines).toHaveLength(6);
    expect(lines[0]).toMatch(/^id,startedAt,endedAt,/);
    expect(lines[1]).toContain(`,'=cmd(),`);
    const own = await ada.get(`/api/v1/audit/export?audit=calls&name=echo`);
    const rows = String(own.body)
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(rows.map(({ id }) => id)).toEqual(callIds.slice(0, 3).toReversed());
    for (const [person, answer] of [
      [auditor, csv],
      [ada, own],
    ] as const)
      expect(await api.auditOf(answer.headers.get('x-request-id')!)).toMatchObject([
        { action: 'audit.exported', actor_id: person.id, target_id: 'calls', outcome: 'success' },
      ]);
    expect((await ada.get('/api/v1/audit/export?audit=events&userId=' + ada.id)).status).toBe(400);
    const text = await admin.get('/api/v1/audit/export?audit=events');
    expect(String(text.body).trim().split('\n').length).toBeGreaterThan(5);
  });

  it('H02 exports nothing when that cannot be audited', async () => {
    const superuser = await api.connected.site.db.superuser();
    await superuser.query('revoke insert on audit_events from portolan_api');
    const { status, body } = await auditor.get('/api/v1/audit/export?audit=calls');
    await superuser.query('grant insert on audit_events to portolan_api');
    expect([status, body.code]).toEqual([503, 'AUDIT_UNAVAILABLE']);
  });

  it('tells admins and auditors how far it is proven', async () => {
    expect((await auditor.get('/api/v1/audit/verification')).body).toEqual({
      checkpoint: null,
      verification: null,
    });
    expect((await ada.get('/api/v1/audit/verification')).status).toBe(403);
  });

  it('lets an auditor do nothing else that an admin can, over the whole route table', async () => {
    const adminRoutes = createRoutes(api.ctx).routes.filter(({ auth }) => auth === 'admin');
    expect(adminRoutes.length).toBeGreaterThan(5);
    for (const { method, path, operationId } of adminRoutes) {
      const url = path.replace(':id', randomUUID()).replaceAll(/:\w+/g, 'notes');
      const { status, body } = await (method === 'get' ? auditor.get(url) : auditor[method](url, {}));
      expect([operationId, status, body.code]).toEqual([operationId, 403, 'ACCESS_DENIED']);
    }
  });
});
