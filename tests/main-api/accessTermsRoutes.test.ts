import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startMainApi, type RunningMainApi, type SignedIn } from '../support/instancesApi.js';

const one = '/api/v1/services/notes/instance';
const keys = `${one}/keys`;

describe('who may use an instance', () => {
  let api: RunningMainApi;
  beforeAll(async () => {
    api = await startMainApi();
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
  });

  const connected = async (minutesAgo = 0): Promise<SignedIn> => {
    const user = await api.signIn({ signedInMinutesAgo: minutesAgo });
    const made = await user.call('POST', '/api/v1/services/notes/authenticate', { apiKey: 'good-alice' });
    expect(made).toMatchObject({
      status: 201,
      body: { accessMode: 'url', allowedCidrs: [], expiresAt: null },
    });
    return user;
  };
  const rowOf = async ({ userId }: SignedIn): Promise<{ epoch: number; allowed_cidrs: string[] }> => {
    const root = await api.bench.site.db.superuser();
    return (await root.query('select * from instances where user_id = $1', [userId])).rows[0];
  };

  it('is narrowed by its owner, which cuts what is open, and normalised', async () => {
    const alice = await connected(20);
    const { epoch } = await rowOf(alice);
    const raised = await alice.call('PATCH', one, { accessMode: 'url+token' });
    expect(raised).toMatchObject({ status: 200, body: { accessMode: 'url+token' } });
    const listed = await alice.call('PATCH', one, {
      allowedCidrs: ['10.9.9.9/8', '::ffff:10.0.0.0/104', '2001:DB8::1'],
      expiresAt: '2999-01-01T00:00:00+02:00',
    });
    expect(listed.body).toMatchObject({
      allowedCidrs: ['10.0.0.0/8', '2001:db8::1'],
      expiresAt: '2998-12-31T22:00:00.000Z',
    });
    expect((await rowOf(alice)).epoch).toBe(epoch + 2);
    // The same once more changes nothing.
    await alice.call('PATCH', one, { accessMode: 'url+token', allowedCidrs: ['10.0.0.0/8', '2001:db8::1'] });
    expect((await rowOf(alice)).epoch).toBe(epoch + 2);
  });

  it('is widened after a recent sign-in only', async () => {
    const alice = await connected(20);
    await alice.call('PATCH', one, {
      accessMode: 'url+token',
      allowedCidrs: ['10.0.0.0/8', '192.0.2.0/24'],
      expiresAt: '2900-01-01T00:00:00Z',
    });
    const before = await rowOf(alice);
    for (const wider of [
      { accessMode: 'url' },
      { allowedCidrs: [] },
      { allowedCidrs: ['10.0.0.0/8', '0.0.0.0/0'] },
      { expiresAt: null },
      { expiresAt: '2901-01-01T00:00:00Z' },
    ]) {
      const answer = await alice.call('PATCH', one, wider);
      expect([wider, answer.status, answer.body.code]).toEqual([wider, 403, 'REAUTHENTICATION_REQUIRED']);
    }
    expect(await rowOf(alice)).toEqual(before);
    const narrower = await alice.call('PATCH', one, { allowedCidrs: ['10.0.0.0/8'] });
    expect(narrower.status).toBe(200);
    const root = await api.bench.site.db.superuser();
    await root.query('update login_sessions set authenticated_at = now() where user_id = $1', [alice.userId]);
    const again = await api.signIn();
    expect(again.userId).not.toBe(alice.userId);
  });

  it('refuses what cannot be: oauth, no block, too many, an end that is over', async () => {
    const alice = await connected();
    const before = await rowOf(alice);
    for (const [change, pointer] of [
      [{ accessMode: 'oauth' }, '/accessMode'],
      [{ allowedCidrs: ['10.0.0.0/33'] }, '/allowedCidrs/0'],
      [{ allowedCidrs: ['10.0.0.1', 'localhost'] }, '/allowedCidrs/1'],
      [{ allowedCidrs: Array.from({ length: 33 }, (_, n) => `10.0.0.${n}`) }, '/allowedCidrs'],
      [{ expiresAt: '2020-01-01T00:00:00Z' }, '/expiresAt'],
    ] as const) {
      const answer = await alice.call('PATCH', one, change);
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer }] } });
    }
    const refused = await alice.call('PATCH', one, { accessMode: 'oauth' });
    expect(JSON.stringify(refused.body)).toContain('oauth comes with a later release');
    expect(await rowOf(alice)).toEqual(before);
  });

  it('shows its owner that it has ended, and lets them extend it', async () => {
    const alice = await connected();
    const root = await api.bench.site.db.superuser();
    await root.query(`update instances set expires_at = now() - interval '1 s' where user_id = $1`, [
      alice.userId,
    ]);
    const shown = await alice.call('GET', one);
    expect(shown.body).toMatchObject({ state: 'expired', nextAction: 'Extend it, or delete it.' });
    expect((await alice.call('POST', `${one}/test`)).body).toMatchObject({ status: 409, code: 'CONFLICT' });
    const extended = await alice.call('PATCH', one, { expiresAt: '2999-01-01T00:00:00Z' });
    expect(extended.body).toMatchObject({ state: 'ready' });
  });

  it('gives a key once, stores no more than its keyed digest, lists it without itself, and revokes it for good', async () => {
    const alice = await connected();
    const made = await alice.call('POST', keys, { name: 'laptop', expiresAt: '2999-01-01T00:00:00Z' });
    const [id, key] = [String(made.body.id), String(made.body.key)];
    expect(made.status).toBe(201);
    expect(key).toMatch(/^ptk_[0-9A-Za-z]{33}$/);
    const listed = await alice.call('GET', keys);
    expect(listed.body.keys).toMatchObject([{ id, name: 'laptop', hint: key.slice(0, 8), lastUsedAt: null }]);
    expect(JSON.stringify(listed.body)).not.toContain(key);
    const root = await api.bench.site.db.superuser();
    const { rows } = await root.query(
      `select to_jsonb(k)::text || coalesce((select jsonb_agg(e)::text from audit_events e), '') as all from access_keys k
       where id = $1`,
      [id],
    );
    expect(rows[0].all).not.toContain(key);
    expect(api.logged()).not.toContain(key);
    // It is no credential of Portolan's own API.
    const asApi = await fetch(`${api.origin}/api/v1/users/me`, {
      headers: { authorization: `Bearer ${key}` },
    });
    expect(asApi.status).toBe(401);
    expect((await alice.call('DELETE', `${keys}/${id}`)).status).toBe(204);
    expect((await alice.call('DELETE', `${keys}/${id}`)).status).toBe(404);
    expect((await alice.call('GET', keys)).body.keys).toEqual([]);
  });

  it('makes a key after a recent sign-in only, never by a personal API key, and no more than 50', async () => {
    const stale = await connected(20);
    expect((await stale.call('POST', keys, { name: 'x' })).body.code).toBe('REAUTHENTICATION_REQUIRED');
    const alice = await connected();
    const personal = await alice.call('POST', '/api/v1/users/me/keys', { name: 'ci' });
    const byKey = await fetch(api.origin + keys, {
      method: 'POST',
      headers: { authorization: `Bearer ${String(personal.body.key)}`, 'content-type': 'application/json' },
      body: '{"name":"x"}',
    });
    expect(byKey.status).toBe(403);
    for (let made = 0; made < 50; made += 1)
      expect((await alice.call('POST', keys, { name: `n${made}` })).status).toBe(201);
    expect((await alice.call('POST', keys, { name: 'one more' })).status).toBe(409);
  });

  it('A03 makes no key for an instance of somebody else, not even past the routes', async () => {
    const [alice, bob] = [await connected(), await connected()];
    const root = await api.bench.site.db.superuser();
    const { rows } = await root.query('select id from instances where user_id = $1', [bob.userId]);
    await expect(
      root.query(
        `insert into access_keys (id, instance_id, user_id, name, hint, digest)
         values (gen_random_uuid(), $1, $2, 'x', 'x', sha256('x'))`,
        [rows[0].id, alice.userId],
      ),
    ).rejects.toMatchObject({ code: '23503' });
  });
});
