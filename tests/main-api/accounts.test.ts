/** Accounts over HTTP: users, invites, personal API keys. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Actor } from '../../backend/src/services/changeAudit.js';
import { goodPassword, openMainApi, type OpenedMainApi } from '../support/mainApi.js';

const newPassword = 'another good pass phrase';

const actorOf = (userId: string): Actor => ({
  userId,
  role: 'admin',
  via: `session:${randomUUID()}`,
  authenticatedAt: null,
  requestId: null,
  clientAddress: null,
});

describe('accounts', () => {
  let api: OpenedMainApi;
  beforeAll(async () => {
    api = await openMainApi();
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
  });

  it('C01 lets an admin make an account, which signs in and sees itself', async () => {
    const admin = await api.anAdmin();
    const email = 'Grace@Example.com';
    const made = await admin.post('/api/v1/users', { email, password: goodPassword, role: 'auditor' });
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({ email, role: 'auditor', status: 'active', displayName: null });
    expect(JSON.stringify(made.body)).not.toMatch(/argon2|password_hash|passwordHash/);

    const login = await api.post('/api/v1/auth/login', {
      email: email.toLowerCase(),
      password: goodPassword,
    });
    expect(login.status).toBe(200);
    expect(Object.keys(login.body).sort()).toEqual(['accessToken', 'expiresIn', 'refreshToken']);
    expect(login.body.expiresIn).toBe(600);
    const me = await api.as(login.body.accessToken).get('/api/v1/users/me');
    expect(me.body).toMatchObject({ id: made.body.id, role: 'auditor' });
    expect(me.headers.get('cache-control')).toBe('no-store');
  });

  it('C01 refuses a second account with the same address in any case', async () => {
    const admin = await api.anAdmin();
    const account = { email: 'twice@example.com', password: goodPassword };
    expect((await admin.post('/api/v1/users', account)).status).toBe(201);
    const again = await admin.post('/api/v1/users', { ...account, email: 'TWICE@example.com' });
    expect(again.status).toBe(409);
    expect(again.body.code).toBe('CONFLICT');
  });

  it('B11 counts a demotion on the very next call of a running session', async () => {
    const admin = await api.anAdmin();
    const second = await api.anAdmin();
    expect((await second.get('/api/v1/users')).status).toBe(200);
    const demoted = await admin.patch(`/api/v1/users/${second.id}`, { role: 'user' });
    expect(demoted.body.role).toBe('user');
    const refused = await second.get('/api/v1/users');
    expect(refused.status).toBe(403);
    expect(refused.body.code).toBe('ACCESS_DENIED');
  });

  it('B10 refuses members that would give rights, when registering and when changing oneself', async () => {
    const admin = await api.anAdmin();
    const invite = await admin.post('/api/v1/invites', { email: 'new@example.com' });
    const registration = { inviteCode: invite.body.code, email: 'new@example.com', password: goodPassword };
    for (const extra of [{ role: 'admin' }, { is_admin: true }, { tenant_id: 'x' }, { status: 'active' }]) {
      const answer = await api.post('/api/v1/auth/register', { ...registration, ...extra });
      expect(answer.status).toBe(400);
      expect(answer.body.errors[0].pointer).toBe(`/${Object.keys(extra)[0]}`);
    }
    const registered = await api.post('/api/v1/auth/register', registration);
    expect(registered.status).toBe(201);
    expect(registered.body.role).toBe('user');
    const user = await api.aPerson();
    expect((await user.patch('/api/v1/users/me', { displayName: 'Eve', role: 'admin' })).status).toBe(400);
  });

  it('C01 lets an invite be used once, by its address only, and tells nothing of taken addresses', async () => {
    const admin = await api.anAdmin();
    const taken = await api.aPerson();
    const { body: bound } = await admin.post('/api/v1/invites', {
      email: 'bound@example.com',
      role: 'auditor',
    });
    const { body: open } = await admin.post('/api/v1/invites', {});
    const register = (inviteCode: string, email: string) =>
      api.post('/api/v1/auth/register', { inviteCode, email, password: goodPassword });
    const refusals = [
      await register('no such code', 'x@example.com'),
      await register(bound.code, 'other@example.com'),
      await register(open.code, taken.email),
    ];
    for (const { status, body } of refusals) {
      expect({ status, code: body.code }).toEqual({ status: 403, code: 'INVITE_INVALID' });
    }
    const registered = await register(bound.code, 'bound@example.com');
    expect({ status: registered.status, role: registered.body.role }).toEqual({
      status: 201,
      role: 'auditor',
    });
    expect((await register(bound.code, 'bound@example.com')).status).toBe(403);
    expect((await register(open.code, 'free@example.com')).status).toBe(201);
    const listed = await admin.get('/api/v1/invites');
    expect(listed.body.invites.map(({ id }: { id: string }) => id)).not.toContain(bound.id);
  });

  it('C01 keeps the last active admin, even from two admins who demote each other at once', async () => {
    await using own = await openMainApi();
    const [one, two] = [await own.anAdmin(), await own.anAdmin()];
    // The helper's own admin, which made the two, would otherwise remain.
    const { body } = await one.get('/api/v1/users');
    for (const { id, role } of body.users) {
      if (role === 'admin' && id !== one.id && id !== two.id) await one.delete(`/api/v1/users/${id}`);
    }
    const outcomes = await Promise.allSettled([
      own.ctx.users.change(actorOf(one.id), two.id, { role: 'user' }),
      own.ctx.users.change(actorOf(two.id), one.id, { status: 'disabled' }),
    ]);
    const refused = outcomes.flatMap((outcome) =>
      outcome.status === 'rejected' ? [outcome.reason.code] : [],
    );
    expect(refused).toEqual(['CONFLICT']);
  });

  it('C01 pages users without losing or repeating one', async () => {
    await using own = await openMainApi();
    const admin = await own.anAdmin();
    for (let made = 0; made < 5; made += 1) await own.aPerson();
    const { body: whole } = await admin.get('/api/v1/users?limit=200');
    const seen: string[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const page = await admin.get(`/api/v1/users?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`);
      expect(page.status).toBe(200);
      seen.push(...page.body.users.map(({ id }: { id: string }) => id));
      cursor = page.body.nextCursor;
    }
    expect(seen).toEqual(whole.users.map(({ id }: { id: string }) => id));
    expect((await admin.get('/api/v1/users?cursor=nonsense')).status).toBe(400);
  });

  it('C01 deletes a user with sessions, keys, instances and data keys', async () => {
    const admin = await api.anAdmin();
    const user = await api.aPerson();
    const key = await user.post('/api/v1/users/me/keys', { name: 'k' });
    const connected = await user.post('/api/v1/services/plain/authenticate', {});
    expect(connected.status).toBe(201);
    expect((await admin.delete(`/api/v1/users/${user.id}`)).status).toBe(204);
    expect((await admin.get(`/api/v1/users/${user.id}`)).status).toBe(404);
    expect((await user.get('/api/v1/users/me')).status).toBe(401);
    expect((await api.as(key.body.key).get('/api/v1/users/me')).status).toBe(401);
    const superuser = await api.connected.site.db.superuser();
    const { rows } = await superuser.query(
      `select (select count(*) from data_keys where user_id = $1)::int as keys,
              (select count(*) from instances where user_id = $1 and deleted_at is null)::int as instances`,
      [user.id],
    );
    expect(rows[0]).toEqual({ keys: 0, instances: 0 });
  });

  it('shows a personal API key once, lets it act for its owner, and not where a sign-in is asked for', async () => {
    const user = await api.aPerson();
    const made = await user.post('/api/v1/users/me/keys', { name: 'ci' });
    expect(made.status).toBe(201);
    expect(made.body.key).toMatch(/^ptk_[0-9A-Za-z]{33}$/);
    const script = api.as(made.body.key);
    const listed = await script.get('/api/v1/users/me/keys');
    expect(listed.body.keys).toHaveLength(1);
    expect(listed.body.keys[0]).toMatchObject({
      id: made.body.id,
      name: 'ci',
      hint: made.body.key.slice(0, 8),
    });
    expect(JSON.stringify(listed.body)).not.toContain(made.body.key);
    for (const answer of [
      await script.post('/api/v1/users/me/keys', { name: 'another' }),
      await script.post('/api/v1/auth/reauthenticate', { password: goodPassword }),
      await script.post('/api/v1/users/me/password', { currentPassword: goodPassword, newPassword }),
      await script.get('/api/v1/users/me/sessions'),
    ]) {
      expect({ status: answer.status, code: answer.body.code }).toEqual({
        status: 403,
        code: 'ACCESS_DENIED',
      });
    }
    expect((await user.delete(`/api/v1/users/me/keys/${made.body.id}`)).status).toBe(204);
    expect((await script.get('/api/v1/users/me')).status).toBe(401);
  });

  it('refuses a personal API key past its end, and one made for the past', async () => {
    const user = await api.aPerson();
    const past = await user.post('/api/v1/users/me/keys', { name: 'k', expiresAt: '2020-01-01T00:00:00Z' });
    expect(past.status).toBe(400);
    let clock = Date.now();
    await using later = await openMainApi({ now: () => clock });
    const owner = await later.aPerson();
    const expiresAt = new Date(clock + 60_000).toISOString();
    const key = await owner.post('/api/v1/users/me/keys', { name: 'k', expiresAt });
    expect((await later.as(key.body.key).get('/api/v1/users/me')).status).toBe(200);
    clock += 61_000;
    expect((await later.as(key.body.key).get('/api/v1/users/me')).status).toBe(401);
  });

  it('A03 answers 404 for the sessions and keys of somebody else', async () => {
    const [alice, bob] = [await api.aPerson(), await api.aPerson()];
    const key = await bob.post('/api/v1/users/me/keys', { name: 'bobs' });
    const { body } = await bob.get('/api/v1/users/me/sessions');
    expect((await alice.delete(`/api/v1/users/me/keys/${key.body.id}`)).status).toBe(404);
    expect((await alice.delete(`/api/v1/users/me/sessions/${body.sessions[0].id}`)).status).toBe(404);
    expect((await bob.get('/api/v1/users/me')).status).toBe(200);
    expect((await api.as(key.body.key).get('/api/v1/users/me')).status).toBe(200);
  });
});
