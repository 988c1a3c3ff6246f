/** Failures over HTTP: one form of body, the right status, and nothing that was sent or thrown inside. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { errorCodes } from '../../backend/src/errors/errorCodes.js';
import { signClientAddress } from '../../backend/src/lifecycle/clientAddress.js';
import { goodPassword, openMainApi, sendRaw, type Answer, type OpenedMainApi } from '../support/mainApi.js';

const canary = 'canary-4d1c2b';

function expectProblem(answer: Answer, code: keyof typeof errorCodes): void {
  expect({ status: answer.status, code: answer.body.code }).toEqual({
    status: errorCodes[code].status,
    code,
  });
  expect(answer.headers.get('content-type')).toBe('application/problem+json');
  expect(answer.headers.get('cache-control')).toBe('no-store');
  expect(answer.body).toMatchObject({
    type: `urn:portolan:problem:${code.toLowerCase().replaceAll('_', '-')}`,
    title: errorCodes[code].title,
    status: answer.status,
    requestId: answer.headers.get('x-request-id'),
  });
}

describe('problems', () => {
  let api: OpenedMainApi;
  const frontKey = randomBytes(32);
  beforeAll(async () => {
    api = await openMainApi({ frontKey });
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
  });

  it('I05 gives what was asked for in vain one problem body each (RFC 9457)', async () => {
    const user = await api.aPerson();
    const admin = await api.anAdmin();
    expectProblem(await api.get(`/nowhere/${canary}`), 'NOT_FOUND');
    expectProblem(await api.get('/api/v1/users/%ff'), 'NOT_FOUND');
    expectProblem(await api.get('/api/v1/users/me'), 'UNAUTHENTICATED');
    expectProblem(await api.as(canary).get('/api/v1/users/me'), 'UNAUTHENTICATED');
    expectProblem(await user.get('/api/v1/users'), 'ACCESS_DENIED');
    expectProblem(await admin.get('/api/v1/users/not-a-uuid'), 'INVALID_REQUEST');
    expectProblem(await admin.put('/api/v1/users'), 'METHOD_NOT_ALLOWED');
    expectProblem(await user.get('/api/v1/services/none/instance'), 'NOT_FOUND');
    expectProblem(await user.post('/api/v1/services/none/authenticate', {}), 'SERVICE_UNKNOWN');
    expectProblem(await api.post('/api/v1/auth/login', `{"email": "${canary}`), 'INVALID_JSON');
    expectProblem(await api.post('/api/v1/auth/login', '[1, 2]'), 'INVALID_REQUEST');
    expectProblem(await api.post('/api/v1/auth/login', `"${'x'.repeat(1024 * 1024)}"`), 'PAYLOAD_TOO_LARGE');
    const deep = '[{"a":'.repeat(40) + '1' + '}]'.repeat(40);
    expectProblem(await api.post('/api/v1/auth/login', `{"email": ${deep}}`), 'INVALID_REQUEST');
    expect(api.logText()).not.toContain(canary);
  });

  it('I05 tells each wrong member by JSON pointer with what to do, and repeats no value', async () => {
    const admin = await api.anAdmin();
    const answer = await admin.post('/api/v1/users', { email: canary, role: canary, [`x/${canary}`]: 1 });
    expectProblem(answer, 'INVALID_REQUEST');
    expect(answer.body.errors).toEqual([
      { pointer: '/email', message: 'must be a valid email address' },
      { pointer: '/password', message: 'is needed: give a string' },
      { pointer: '/role', message: 'must be one of user, admin, auditor' },
      { pointer: `/x~1${canary}`, message: 'is not known here; leave it out' },
    ]);
    const short = await admin.post('/api/v1/users', { email: 'a@example.com', password: 'p4s5'.repeat(2) });
    expect(short.body.errors).toEqual([{ pointer: '/password', message: 'must be 12 to 1024 bytes long' }]);
    const query = await admin.get('/api/v1/users?limit=0&shape=round');
    expect(query.body.errors.map(({ pointer }: { pointer: string }) => pointer).sort()).toEqual([
      '/query/limit',
      '/query/shape',
    ]);
  });

  it('I05 says nothing of what broke inside, and logs it without the message', async () => {
    await using broken = await openMainApi({
      wrapPool: (pool) => ({
        ...pool,
        query: async () => {
          throw new Error(`connection to ${canary} broke`);
        },
      }),
    });
    const answer = await broken.post('/api/v1/auth/login', {
      email: 'a@example.com',
      password: goodPassword,
    });
    expectProblem(answer, 'INTERNAL');
    expect(JSON.stringify(answer.body)).not.toContain(canary);
    expect(broken.logText()).toContain('"a request failed"');
    expect(broken.logText()).not.toContain(canary);
    expect(broken.logText()).not.toContain('a@example.com');
  });

  it('logs the route pattern, never the URL, the query or a credential', async () => {
    const admin = await api.anAdmin();
    await admin.get(`/api/v1/users/00000000-0000-4000-8000-000000000000?key=${canary}`);
    await admin.get(`/api/v1/users?cursor=${canary}`);
    const lines = api.logText();
    expect(lines).toContain('"route":"/api/v1/users/:id"');
    expect(lines).not.toContain(canary);
    expect(lines).not.toContain(admin.accessToken);
    expect(lines).not.toContain('00000000-0000-4000-8000-000000000000');
  });

  it('gives every answer a request id, and keeps a usable one that came', async () => {
    const id = 'from-the-front-0001';
    expect((await api.get('/livez', { 'x-request-id': id })).headers.get('x-request-id')).toBe(id);
    for (const bad of ['short', 'with space and more', 'x'.repeat(65)]) {
      const made = (await api.get('/livez', { 'x-request-id': bad })).headers.get('x-request-id');
      expect(made).toMatch(/^[0-9a-f-]{36}$/);
    }
  });

  it('B06 answers 429 with Retry-After after 5 bad sign-ins, lets others in, and opens again by itself', async () => {
    await using strict = await openMainApi({ limits: { 'login-account': 5, 'login-address': 30 } });
    const user = await strict.aPerson();
    const other = await strict.aPerson();
    const signIn = (email: string, password: string) =>
      strict.post('/api/v1/auth/login', { email, password });
    for (let attempt = 0; attempt < 5; attempt += 1) {
      expect((await signIn(user.email, 'a wrong password')).status).toBe(401);
    }
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const limited = await signIn(user.email.toUpperCase(), goodPassword);
      expectProblem(limited, 'RATE_LIMIT_EXCEEDED');
      const seconds = Number(limited.headers.get('retry-after'));
      expect(seconds).toBeGreaterThan(0);
      expect(seconds).toBeLessThanOrEqual(300);
    }
    expect((await signIn(other.email, goodPassword)).status).toBe(200);
    expect((await user.get('/api/v1/users/me')).status).toBe(200);
    // The window's end comes: nothing has to be unlocked by anybody.
    const superuser = await strict.connected.site.db.superuser();
    await superuser.query('update rate_limits set expire = extract(epoch from now()) * 1000 - 1');
    expect((await signIn(user.email, goodPassword)).status).toBe(200);
  });

  it('B06 counts on across a restart, and does not lock anybody out when the clock was set back', async () => {
    await using strict = await openMainApi({ limits: { 'login-account': 1 } });
    const { email } = await strict.aPerson();
    const signIn = (password: string) => strict.post('/api/v1/auth/login', { email, password });
    await signIn('a wrong password');
    expect((await signIn(goodPassword)).status).toBe(429);
    const superuser = await strict.connected.site.db.superuser();
    const { rows } = await superuser.query(
      "select count(*)::int as n from rate_limits where key like 'login-account:%'",
    );
    expect(rows[0].n).toBe(1);
    // As if the window had been opened on a clock that was a day ahead.
    await superuser.query('update rate_limits set expire = expire + 86400000');
    expect((await signIn(goodPassword)).status).toBe(200);
  });

  it('B06 counts an address for all accounts, by the address that the front signed', async () => {
    await using strict = await openMainApi({ limits: { 'login-address': 3 }, frontKey });
    const signIn = (headers: Record<string, string>) =>
      strict.post(
        '/api/v1/auth/login',
        { email: `${randomBytes(4).toString('hex')}@example.com`, password: 'x' },
        headers,
      );
    const from = (address: string) => ({
      'x-portolan-client': signClientAddress(frontKey, address, Date.now()),
    });
    for (let attempt = 0; attempt < 3; attempt += 1)
      expect((await signIn(from('203.0.113.7'))).status).toBe(401);
    expect((await signIn(from('203.0.113.7'))).status).toBe(429);
    expect((await signIn(from('203.0.113.8'))).status).toBe(401);
    // What is not signed by the front, or forwarded by nobody that is trusted, moves nothing.
    const forged = { 'x-portolan-client': signClientAddress(randomBytes(32), '203.0.113.9', Date.now()) };
    for (const headers of [
      forged,
      { 'x-forwarded-for': '203.0.113.10' },
      { 'x-forwarded-for': '203.0.113.11' },
    ]) {
      expect((await signIn(headers)).status).toBe(401);
    }
    expect((await signIn({ 'x-forwarded-for': '203.0.113.12' })).status).toBe(429);
  });

  it('H04 shows metrics to the holder of the metrics token only, and to the loopback where it is opened', async () => {
    expectProblem(await api.get('/metrics'), 'NOT_FOUND');
    expectProblem(await api.as('wrong').get('/metrics'), 'NOT_FOUND');
    const metrics = await api.as('metrics-token-of-the-test').get('/metrics');
    expect(metrics.status).toBe(200);
    expect(metrics.headers.get('content-type')).toContain('text/plain');
    expect(metrics.body).toContain('portolan_auth_failures_total');
    await using open = await openMainApi({ env: { METRICS_OPEN: 'true' }, frontKey });
    expect((await open.get('/metrics')).status).toBe(200);
    const passedOn = { 'x-portolan-client': signClientAddress(frontKey, '127.0.0.1', Date.now()) };
    expect((await open.get('/metrics', passedOn)).status).toBe(404);
  });

  it('answers a HEAD without a body and a wrong method with those that exist', async () => {
    const head = await sendRaw(`${api.url}/livez`, { method: 'HEAD' });
    expect({ status: head.status, body: head.body }).toEqual({ status: 200, body: '' });
    const wrong = await api.delete('/api/v1/auth/login');
    expect({ status: wrong.status, allow: wrong.headers.get('allow') }).toEqual({
      status: 405,
      allow: 'POST',
    });
  });
});
