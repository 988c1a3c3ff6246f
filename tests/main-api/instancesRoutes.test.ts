import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { startMainApi, type RunningMainApi, type SignedIn } from '../support/instancesApi.js';

jest.setTimeout(30_000);

const one = '/api/v1/services/notes/instance';
const authenticate = '/api/v1/services/notes/authenticate';

/** A plain regular expression matches anything in `toMatchObject`. */
const text = (form: RegExp): unknown => expect.stringMatching(form);

async function audits(api: RunningMainApi, { userId }: SignedIn): Promise<Record<string, unknown>[]> {
  const root = await api.bench.site.db.superuser();
  const { rows } = await root.query<Record<string, unknown>>(
    `select action, outcome, error_code, target_kind, request_id from audit_events
     where actor_id = $1 and action not like 'auth.%' and action not like 'session.%' order by occurred_at`,
    [userId],
  );
  return rows;
}

describe('the routes of instances', () => {
  let api: RunningMainApi;
  beforeAll(async () => {
    api = await startMainApi();
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
  });

  it('I01 answers 201 with the URL for a new instance and 200 for a replaced credential', async () => {
    const alice = await api.signIn();
    const made = await alice.call('POST', authenticate, { apiKey: 'good-alice' });
    expect(made.status).toBe(201);
    expect(made.headers.get('cache-control')).toBe('no-store');
    expect(made.body).toMatchObject({
      id: text(/^[0-9a-f-]{36}$/),
      label: 'default',
      message: 'Connected to Notes as alice.',
      instanceUrl: `https://ports.example.com/${String(made.body.instanceId)}/notes`,
      state: 'ready',
    });
    const again = await alice.call('POST', authenticate, { additionalCredentials: { token: 'good-bob' } });
    expect(again).toMatchObject({
      status: 200,
      body: { id: made.body.id, instanceUrl: made.body.instanceUrl },
    });
    const bad = await alice.call('POST', authenticate, { apiKey: 'nonsense' });
    expect(bad.status).toBe(400);
    expect(bad.headers.get('content-type')).toBe('application/problem+json');
    expect(bad.body).toMatchObject({ code: 'CREDENTIAL_REJECTED', detail: text(/did not accept/) });
    expect(await audits(api, alice)).toMatchObject([
      { action: 'instance.created', outcome: 'success' },
      { action: 'credential.replaced', outcome: 'success' },
      { action: 'credential.refused', outcome: 'failure', error_code: 'CREDENTIAL_REJECTED' },
    ]);
  });

  it('I02 I03 I04 take a label in query or body, tell instances apart by it, and refuse two', async () => {
    const alice = await api.signIn();
    await alice.call('POST', authenticate, { apiKey: 'good-alice' });
    const work = await alice.call('POST', `${authenticate}?label=work`, { apiKey: 'good-work' });
    expect(work).toMatchObject({ status: 201, body: { label: 'work' } });
    expect(await alice.call('GET', `${one}?label=work`)).toMatchObject({
      status: 200,
      body: { serviceType: 'notes', label: 'work', identity: 'work', isActive: true, lastUsedAt: null },
    });
    const list = await alice.call('GET', '/api/v1/user/instances');
    expect(list.body.instances).toMatchObject([
      { serviceType: 'notes', label: 'default', isActive: true, createdAt: text(/T/) },
      { serviceType: 'notes', label: 'work' },
    ]);
    expect(await alice.call('POST', `${one}/rotate?label=work`, { label: 'default' })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/label' }] },
    });
    expect(await alice.call('PATCH', `${one}?label=work`, { label: 'job', isActive: false })).toMatchObject({
      status: 200,
      body: { label: 'job', isActive: false, state: 'paused' },
    });
    expect(await alice.call('DELETE', one, { label: 'job' })).toMatchObject({ status: 204 });
    expect(await alice.call('GET', `${one}?label=job`)).toMatchObject({ status: 404 });
    expect(await alice.call('GET', one)).toMatchObject({ status: 200 });
    for (const label of ['', 'x'.repeat(65), 'a\u0000b']) {
      expect((await alice.call('GET', `${one}?label=${encodeURIComponent(label)}`)).status).toBe(400);
    }
  });

  it('I02 I07 answers 404 with the setup instructions where there is no instance', async () => {
    const alice = await api.signIn();
    expect(await alice.call('GET', one)).toMatchObject({
      status: 404,
      body: {
        code: 'NOT_FOUND',
        requiresSetup: true,
        setup: {
          displayName: 'Notes',
          instructions: text(/API key|Key/),
          helpUrl: 'https://notes.example.com/keys',
          consoleUrl: 'https://ports.example.com/console/connect/notes',
        },
      },
    });
    expect(await alice.call('GET', '/api/v1/services/nothing/instance')).toMatchObject({ status: 404 });
    expect(await alice.call('POST', '/api/v1/services/nothing/authenticate', {})).toMatchObject({
      status: 404,
      body: { code: 'SERVICE_UNKNOWN' },
    });
  });

  it('I04 rotates with and without a grace, within bounds', async () => {
    const alice = await api.signIn();
    const made = await alice.call('POST', authenticate, { apiKey: 'good-alice' });
    const rotated = await alice.call('POST', `${one}/rotate`, { graceSeconds: 3_600 });
    expect(rotated).toMatchObject({
      status: 200,
      body: { id: made.body.id, previousUrlExpiresAt: text(/T/) },
    });
    expect(rotated.body.instanceUrl).not.toBe(made.body.instanceUrl);
    expect(await alice.call('POST', `${one}/rotate`)).toMatchObject({
      status: 200,
      body: { previousUrlExpiresAt: null },
    });
    for (const graceSeconds of [-1, 1.5, 10_000_000, '3600']) {
      expect((await alice.call('POST', `${one}/rotate`, { graceSeconds })).status).toBe(400);
    }
  });

  it('I02 hides the URL from an old sign-in and from personal keys, and says how to see it', async () => {
    const early = await api.signIn({ signedInMinutesAgo: 16 });
    const made = await early.call('POST', authenticate, { apiKey: 'good-alice' });
    expect(made.body.instanceUrl).toMatch(/^https:/);
    const shown = await early.call('GET', one);
    expect(shown.body).toMatchObject({ instanceId: null, instanceUrl: null, reveal: text(/sign in again/) });
    expect(await early.call('POST', `${one}/reveal`)).toMatchObject({
      status: 403,
      body: { code: 'REAUTHENTICATION_REQUIRED' },
    });
    const alice = await api.signIn();
    const url = (await alice.call('POST', authenticate, { apiKey: 'good-alice' })).body.instanceUrl;
    expect((await alice.call('POST', `${one}/reveal`)).body).toMatchObject({ instanceUrl: url });
    const { body } = await alice.call('POST', '/api/v1/users/me/keys', { name: 'test' });
    const byKey = (method: string, path: string) =>
      fetch(`${api.origin}${path}`, { method, headers: { authorization: `Bearer ${String(body.key)}` } });
    expect(await (await byKey('GET', one)).json()).toMatchObject({ instanceUrl: null });
    expect((await byKey('POST', `${one}/reveal`)).status).toBe(403);
    expect((await byKey('POST', `${one}/rotate`)).status).toBe(403);
  });

  it('limits reveals and tests of a connection to five a minute, with Retry-After', async () => {
    const alice = await api.signIn();
    await alice.call('POST', authenticate, { apiKey: 'good-alice' });
    for (const path of [`${one}/reveal`, `${one}/test`]) {
      const statuses: number[] = [];
      for (let turn = 0; turn < 6; turn += 1) statuses.push((await alice.call('POST', path)).status);
      expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
    }
    const refused = await alice.call('POST', `${one}/test`);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  });

  it('limits connecting to twenty tries a minute for each user, by either route', async () => {
    const [alice, bob] = [await api.signIn(), await api.signIn()];
    const statuses: number[] = [];
    for (let turn = 0; turn < 10; turn += 1) {
      statuses.push((await alice.call('POST', authenticate, { apiKey: 'no' })).status);
      statuses.push((await alice.call('PUT', '/api/v1/credentials/notes', { apiKey: 'no' })).status);
    }
    expect(statuses).toEqual(statuses.map(() => 400));
    const refused = await alice.call('POST', authenticate, { apiKey: 'good-alice' });
    expect(refused).toMatchObject({ status: 429, body: { code: 'RATE_LIMIT_EXCEEDED' } });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await bob.call('POST', authenticate, { apiKey: 'good-bob' })).status).toBe(201);
  });

  it('H05 writes exactly one audit row for each mutation, whether it succeeds or fails', async () => {
    const alice = await api.signIn();
    const mutations: [string, string, unknown?][] = [
      ['POST', authenticate, { apiKey: 'good-alice' }],
      ['POST', authenticate, { apiKey: 'nope' }],
      ['POST', authenticate, { apiKey: 7 }],
      ['POST', '/api/v1/services/away/authenticate', { apiKey: 'good-alice' }],
      ['POST', '/api/v1/services/nothing/authenticate', {}],
      ['PATCH', one, { isActive: false }],
      ['PATCH', one, { isActive: true }],
      ['PATCH', `${one}?label=none`, { isActive: true }],
      ['POST', `${one}/rotate`, { graceSeconds: 0 }],
      ['POST', `${one}/rotate?label=none`],
      ['POST', `${one}/reveal`],
      ['POST', `${one}/test`],
      ['PUT', `${one}/overrides`, { values: { region: 'us' } }],
      ['PUT', `${one}/overrides`, { values: { PATH: 'x' } }],
      ['PUT', '/api/v1/credentials/notes', { apiKey: 'good-alice' }],
      ['DELETE', '/api/v1/credentials/notes'],
      ['DELETE', '/api/v1/credentials/notes'],
      ['DELETE', one],
      ['DELETE', one],
    ];
    let before = (await audits(api, alice)).length;
    for (const [method, path, body] of mutations) {
      const { status } = await alice.call(method, path, body);
      const all = await audits(api, alice);
      const added = all.slice(before);
      expect({ method, path, status, rows: added.length }).toEqual({ method, path, status, rows: 1 });
      expect({ path, outcome: added[0]?.outcome === 'success' }).toEqual({ path, outcome: status < 400 });
      expect(added[0]?.request_id).not.toBeNull();
      before = all.length;
    }
  });

  it('H01 logs no credential, instance id or URL, whatever the outcome', async () => {
    const alice = await api.signIn();
    const made = await alice.call('POST', authenticate, { apiKey: 'good-canary-55' });
    await alice.call('POST', authenticate, { apiKey: 'bad-canary-55' });
    await alice.call('POST', authenticate, { apiKey: 'x\r\ncanary-55' });
    await alice.call('POST', '/api/v1/services/away/authenticate', { apiKey: 'canary-55' });
    await alice.call('GET', `${one}?label=canary-55`);
    await alice.call('POST', `${one}/reveal`);
    expect(api.logged()).toContain('/api/v1/services/:serviceType/authenticate');
    expect(api.logged()).not.toContain('canary-55');
    expect(api.logged()).not.toContain(String(made.body.instanceId));
  });
});
