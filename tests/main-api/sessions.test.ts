/** Login sessions over HTTP: refreshing them, ending them, and how soon an ended one opens nothing. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { waitUntil } from '../support/eventually.js';
import { goodPassword, openMainApi, type OpenedMainApi } from '../support/mainApi.js';

const newPassword = 'another good pass phrase';

describe('login sessions', () => {
  let api: OpenedMainApi;
  beforeAll(async () => {
    api = await openMainApi();
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
  });

  it('C01 refreshes a session, and gives out each refresh token once', async () => {
    const user = await api.aPerson();
    const next = await api.post('/api/v1/auth/refresh', { refreshToken: user.refreshToken });
    expect(next.status).toBe(200);
    expect(next.body.refreshToken).not.toBe(user.refreshToken);
    expect((await api.as(next.body.accessToken).get('/api/v1/users/me')).body.id).toBe(user.id);
  });

  it('B05 ends the whole family when a refresh token is used twice, and audits it', async () => {
    const user = await api.aPerson();
    const next = await api.post('/api/v1/auth/refresh', { refreshToken: user.refreshToken });
    const reuse = await api.post('/api/v1/auth/refresh', { refreshToken: user.refreshToken });
    expect(reuse.status).toBe(401);
    const audited = await api.auditOf(reuse.headers.get('x-request-id')!);
    expect(audited.map(({ action, outcome }) => ({ action, outcome }))).toEqual([
      { action: 'auth.refresh_reused', outcome: 'denied' },
    ]);
    expect((await api.post('/api/v1/auth/refresh', { refreshToken: next.body.refreshToken })).status).toBe(
      401,
    );
    expect((await api.as(next.body.accessToken).get('/api/v1/users/me')).status).toBe(401);
    expect((await user.get('/api/v1/users/me')).status).toBe(401);
  });

  it('B04 ends access and refresh at once when the session logs out', async () => {
    const user = await api.aPerson();
    expect((await user.get('/api/v1/users/me')).status).toBe(200);
    expect((await user.post('/api/v1/auth/logout')).status).toBe(204);
    expect((await user.get('/api/v1/users/me')).status).toBe(401);
    expect((await api.post('/api/v1/auth/refresh', { refreshToken: user.refreshToken })).status).toBe(401);
  });

  it('B04 ends every session when the password changes, and takes the new password only', async () => {
    const user = await api.aPerson();
    const other = await api.post('/api/v1/auth/login', { email: user.email, password: goodPassword });
    const wrong = await user.post('/api/v1/users/me/password', {
      currentPassword: 'not the password',
      newPassword,
    });
    expect(wrong.status).toBe(403);
    const changed = await user.post('/api/v1/users/me/password', {
      currentPassword: goodPassword,
      newPassword,
    });
    expect(changed.status).toBe(204);
    for (const token of [user.accessToken, other.body.accessToken as string]) {
      expect((await api.as(token).get('/api/v1/users/me')).status).toBe(401);
    }
    expect((await api.post('/api/v1/auth/refresh', { refreshToken: other.body.refreshToken })).status).toBe(
      401,
    );
    expect((await api.post('/api/v1/auth/login', { email: user.email, password: goodPassword })).status).toBe(
      401,
    );
    expect((await api.post('/api/v1/auth/login', { email: user.email, password: newPassword })).status).toBe(
      200,
    );
  });

  it('B04 hears of a session that another process ended, with LISTEN and without', async () => {
    const superuser = await api.connected.site.db.superuser();
    const endElsewhere = (id: string) =>
      superuser.query('update login_sessions set revoked_at = now() where user_id = $1', [id]);
    const user = await api.aPerson();
    expect((await user.get('/api/v1/users/me')).status).toBe(200);
    await endElsewhere(user.id);
    await waitUntil('access is dead', async () => (await user.get('/api/v1/users/me')).status === 401, 5_000);

    const other = await api.aPerson();
    expect((await other.get('/api/v1/users/me')).status).toBe(200);
    // Without its trigger no NOTIFY comes, and what was remembered goes by its age alone.
    await superuser.query('alter table login_sessions disable trigger notify_session_revoked');
    await endElsewhere(other.id);
    await waitUntil(
      'access is dead',
      async () => (await other.get('/api/v1/users/me')).status === 401,
      5_500,
    );
    await superuser.query('alter table login_sessions enable trigger notify_session_revoked');
  });

  it('A08 refuses a disabled user: sign-in, refresh, access and keys', async () => {
    const admin = await api.anAdmin();
    const user = await api.aPerson();
    const key = await user.post('/api/v1/users/me/keys', { name: 'script' });
    expect((await api.as(key.body.key).get('/api/v1/users/me')).status).toBe(200);
    expect((await admin.patch(`/api/v1/users/${user.id}`, { status: 'disabled' })).status).toBe(200);
    expect((await user.get('/api/v1/users/me')).status).toBe(401);
    expect((await api.as(key.body.key).get('/api/v1/users/me')).status).toBe(401);
    expect((await api.post('/api/v1/auth/refresh', { refreshToken: user.refreshToken })).status).toBe(401);
    const login = await api.post('/api/v1/auth/login', { email: user.email, password: goodPassword });
    const unknown = await api.post('/api/v1/auth/login', {
      email: 'nobody@example.com',
      password: goodPassword,
    });
    const { requestId: _one, ...refusal } = login.body;
    const { requestId: _two, ...same } = unknown.body;
    expect(login.status).toBe(401);
    expect(refusal).toEqual(same);
  });

  it('lists sessions, ends another one, and takes a password again as a recent sign-in', async () => {
    const user = await api.aPerson();
    const other = await api.post('/api/v1/auth/login', { email: user.email, password: goodPassword });
    const { body } = await user.get('/api/v1/users/me/sessions');
    expect(body.sessions).toHaveLength(2);
    const foreign = body.sessions.find(({ isCurrent }: { isCurrent: boolean }) => !isCurrent);
    expect((await user.delete(`/api/v1/users/me/sessions/${foreign.id}`)).status).toBe(204);
    expect((await api.as(other.body.accessToken).get('/api/v1/users/me')).status).toBe(401);
    expect((await user.post('/api/v1/auth/reauthenticate', { password: 'wrong password' })).status).toBe(403);
    expect((await user.post('/api/v1/auth/reauthenticate', { password: goodPassword })).status).toBe(204);
  });
});
