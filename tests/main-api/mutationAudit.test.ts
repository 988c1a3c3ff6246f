/**
 * H05: each mutation of the route table × outcome writes exactly one complete audit record. The table is the declared
 * routes themselves; a route without a case here fails.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createRoutes } from '../../backend/src/main-api/routes.js';
import type { Route } from '../../backend/src/main-api/defineRoute.js';
import { reportTools } from '../../backend/src/stores/toolPinsStore.js';
import { writeService } from '../support/connectedSite.js';
import {
  goodPassword,
  openMainApi,
  type Answer,
  type AuditRow,
  type OpenedMainApi,
  type Person,
} from '../support/mainApi.js';

interface Case {
  /** Makes what the mutation needs and sends it; the last answer is the mutation's. */
  readonly succeed: (api: OpenedMainApi) => Promise<Answer>;
  readonly fail: (api: OpenedMainApi) => Promise<Answer>;
  /** What the rows say; the route's own action unless said otherwise. */
  readonly actions?: { readonly success?: string; readonly failure?: string };
}

const nowhere = '00000000-0000-4000-8000-000000000000';
const email = (): string => `${randomUUID()}@example.com`;
const notes = '/api/v1/services/notes';
const sharedOfCommon = '/api/v1/services/common/shared-credential';

/** Somebody with a ready instance of `notes`. */
async function aNotesUser(api: OpenedMainApi): Promise<Person> {
  const user = await api.aPerson();
  const { status } = await user.post(`${notes}/authenticate`, { apiKey: 'good-one' });
  expect(status).toBe(201);
  return user;
}

const noDigest = `v1:${'0'.repeat(64)}`;

/** A definition of `read` that nobody has seen before, and its digest. */
async function aWaitingTool(api: OpenedMainApi): Promise<string> {
  const { site } = api.connected;
  const { id: instanceId } = await site.anInstance({ owner: await site.aUser() });
  const report = (definition: string) =>
    reportTools(site.db.pool('service'), {
      service: 'notes',
      instanceId,
      tools: [{ tool: 'read', definition, isPlain: true }],
      isLast: true,
    });
  await report('{}');
  return (await report(JSON.stringify({ name: randomUUID() })))[0]!.digest;
}

const cases: Readonly<Record<string, Case>> = {
  set_up_first_admin: {
    // Closed as soon as there is an admin, so this one goes first.
    succeed: async (api) => {
      await api.ctx.firstAdmin.keepCode();
      const setupCode = readFileSync(api.config.paths.setupCode, 'utf8').trim();
      return api.post('/api/v1/auth/setup', { setupCode, email: email(), password: goodPassword });
    },
    fail: (api) => api.post('/api/v1/auth/setup', { setupCode: 'x', email: email(), password: goodPassword }),
  },
  register_with_invite: {
    succeed: async (api) => {
      const { body } = await (await api.anAdmin()).post('/api/v1/invites', {});
      return api.post('/api/v1/auth/register', {
        inviteCode: body.code,
        email: email(),
        password: goodPassword,
      });
    },
    fail: (api) =>
      api.post('/api/v1/auth/register', { inviteCode: 'x', email: email(), password: goodPassword }),
  },
  log_in: {
    succeed: async (api) => {
      const user = await api.aPerson();
      return api.post('/api/v1/auth/login', { email: user.email, password: goodPassword });
    },
    fail: (api) => api.post('/api/v1/auth/login', { email: email(), password: goodPassword }),
  },
  refresh_session: {
    succeed: async (api) => {
      const { refreshToken } = await api.aPerson();
      return api.post('/api/v1/auth/refresh', { refreshToken });
    },
    fail: (api) => api.post('/api/v1/auth/refresh', { refreshToken: 'x' }),
  },
  log_out: {
    succeed: async (api) => (await api.aPerson()).post('/api/v1/auth/logout'),
    fail: async (api) => (await aScript(api)).post('/api/v1/auth/logout'),
  },
  confirm_my_password: {
    succeed: async (api) =>
      (await api.aPerson()).post('/api/v1/auth/reauthenticate', { password: goodPassword }),
    fail: async (api) => (await api.aPerson()).post('/api/v1/auth/reauthenticate', { password: 'wrong' }),
  },
  change_my_account: {
    succeed: async (api) => (await api.aPerson()).patch('/api/v1/users/me', { displayName: 'Ada' }),
    fail: async (api) => (await api.aPerson()).patch('/api/v1/users/me', { displayName: '' }),
  },
  change_my_password: {
    succeed: async (api) =>
      (await api.aPerson()).post('/api/v1/users/me/password', {
        currentPassword: goodPassword,
        newPassword: 'another good pass phrase',
      }),
    fail: async (api) =>
      (await api.aPerson()).post('/api/v1/users/me/password', {
        currentPassword: 'wrong',
        newPassword: 'another good pass phrase',
      }),
  },
  end_my_session: {
    succeed: async (api) => {
      const user = await api.aPerson();
      const { body } = await user.get('/api/v1/users/me/sessions');
      return user.delete(`/api/v1/users/me/sessions/${body.sessions[0].id}`);
    },
    fail: async (api) => (await api.aPerson()).delete(`/api/v1/users/me/sessions/${nowhere}`),
  },
  create_my_api_key: {
    succeed: async (api) => (await api.aPerson()).post('/api/v1/users/me/keys', { name: 'ci' }),
    fail: async (api) => (await aScript(api)).post('/api/v1/users/me/keys', { name: 'ci' }),
  },
  delete_my_api_key: {
    succeed: async (api) => {
      const user = await api.aPerson();
      const { body } = await user.post('/api/v1/users/me/keys', { name: 'ci' });
      return user.delete(`/api/v1/users/me/keys/${body.id}`);
    },
    fail: async (api) => (await api.aPerson()).delete(`/api/v1/users/me/keys/${nowhere}`),
  },
  create_user: {
    succeed: async (api) =>
      (await api.anAdmin()).post('/api/v1/users', { email: email(), password: goodPassword }),
    fail: async (api) =>
      (await api.aPerson()).post('/api/v1/users', { email: email(), password: goodPassword }),
  },
  change_user: {
    succeed: async (api) => {
      const { id } = await api.aPerson();
      return (await api.anAdmin()).patch(`/api/v1/users/${id}`, { role: 'auditor' });
    },
    fail: async (api) => (await api.anAdmin()).patch(`/api/v1/users/${nowhere}`, { role: 'auditor' }),
  },
  delete_user: {
    succeed: async (api) => {
      const { id } = await api.aPerson();
      return (await api.anAdmin()).delete(`/api/v1/users/${id}`);
    },
    fail: async (api) => (await api.anAdmin()).delete(`/api/v1/users/${nowhere}`),
  },
  create_invite: {
    succeed: async (api) => (await api.anAdmin()).post('/api/v1/invites', {}),
    fail: async (api) => (await api.aPerson('auditor')).post('/api/v1/invites', {}),
  },
  delete_invite: {
    succeed: async (api) => {
      const admin = await api.anAdmin();
      const { body } = await admin.post('/api/v1/invites', {});
      return admin.delete(`/api/v1/invites/${body.id}`);
    },
    fail: async (api) => (await api.anAdmin()).delete(`/api/v1/invites/${nowhere}`),
  },
  connect_service: {
    succeed: async (api) => (await api.aPerson()).post(`${notes}/authenticate`, { apiKey: 'good-one' }),
    fail: async (api) => (await api.aPerson()).post(`${notes}/authenticate`, { apiKey: 'bad-one' }),
    actions: { success: 'instance.created', failure: 'credential.refused' },
  },
  change_instance: {
    succeed: async (api) => (await aNotesUser(api)).patch(`${notes}/instance`, { isActive: false }),
    fail: async (api) => (await api.aPerson()).patch(`${notes}/instance`, { isActive: false }),
  },
  delete_instance: {
    succeed: async (api) => (await aNotesUser(api)).delete(`${notes}/instance`),
    fail: async (api) => (await api.aPerson()).delete(`${notes}/instance`),
  },
  rotate_instance_url: {
    succeed: async (api) => (await aNotesUser(api)).post(`${notes}/instance/rotate`, {}),
    fail: async (api) => (await api.aPerson()).post(`${notes}/instance/rotate`, {}),
  },
  reveal_instance_url: {
    succeed: async (api) => (await aNotesUser(api)).post(`${notes}/instance/reveal`, {}),
    fail: async (api) => (await api.aPerson()).post(`${notes}/instance/reveal`, {}),
  },
  create_access_key: {
    succeed: async (api) => (await aNotesUser(api)).post(`${notes}/instance/keys`, { name: 'ci' }),
    fail: async (api) => (await api.aPerson()).post(`${notes}/instance/keys`, { name: 'ci' }),
  },
  delete_access_key: {
    succeed: async (api) => {
      const user = await aNotesUser(api);
      const { body } = await user.post(`${notes}/instance/keys`, { name: 'ci' });
      return user.delete(`${notes}/instance/keys/${body.id}`);
    },
    fail: async (api) => (await aNotesUser(api)).delete(`${notes}/instance/keys/${nowhere}`),
  },
  test_instance: {
    succeed: async (api) => (await aNotesUser(api)).post(`${notes}/instance/test`, {}),
    fail: async (api) => (await api.aPerson()).post(`${notes}/instance/test`, {}),
  },
  put_credential: {
    succeed: async (api) => (await aNotesUser(api)).put(`/api/v1/credentials/notes`, { apiKey: 'good-two' }),
    fail: async (api) => (await aNotesUser(api)).put(`/api/v1/credentials/notes`, { apiKey: 'bad-one' }),
  },
  put_shared_credential: {
    succeed: async (api) => (await api.anAdmin()).put(sharedOfCommon, { apiKey: 'good-one' }),
    fail: async (api) => (await api.anAdmin()).put(sharedOfCommon, { apiKey: 'bad-one' }),
    actions: { success: 'shared_credential.stored', failure: 'shared_credential.refused' },
  },
  delete_shared_credential: {
    succeed: async (api) => {
      const admin = await api.anAdmin();
      await admin.put(sharedOfCommon, { apiKey: 'good-one' });
      return admin.delete(sharedOfCommon);
    },
    fail: async (api) => (await api.aPerson()).delete(sharedOfCommon),
  },
  approve_tool: {
    succeed: async (api) => {
      const digest = await aWaitingTool(api);
      return (await api.anAdmin()).post(`${notes}/tools/read/approve`, { digest });
    },
    fail: async (api) => (await api.anAdmin()).post(`${notes}/tools/read/approve`, { digest: noDigest }),
  },
  reject_tool: {
    succeed: async (api) => {
      const digest = await aWaitingTool(api);
      return (await api.anAdmin()).post(`${notes}/tools/read/reject`, { digest });
    },
    fail: async (api) => (await api.aPerson()).post(`${notes}/tools/read/reject`, { digest: noDigest }),
  },
  delete_credential: {
    succeed: async (api) => (await aNotesUser(api)).delete(`/api/v1/credentials/notes`),
    fail: async (api) => (await api.aPerson()).delete(`/api/v1/credentials/notes`),
  },
  put_overrides: {
    succeed: async (api) =>
      (await aNotesUser(api)).put(`${notes}/instance/overrides`, { values: { region: 'us' } }),
    fail: async (api) =>
      (await api.aPerson()).put(`${notes}/instance/overrides`, { values: { region: 'us' } }),
  },
  begin_service_sign_in: {
    succeed: async (api) => {
      const oauth2 = {
        authorizationUrl: 'https://door.example.com/authorize',
        tokenUrl: 'https://door.example.com/token',
        clientId: 'portolan',
        clientAuth: 'none',
      };
      writeService(api.connected.mcpPortsDir, 'door', {
        kind: 'api',
        port: 1028,
        instancePrefix: 'dor',
        title: 'Door',
        api: {
          baseUrl: 'https://door.example.com',
          tools: [
            {
              name: 'knock',
              description: 'Knocks.',
              inputSchema: { type: 'object' },
              request: { method: 'GET', path: '/' },
            },
          ],
        },
        credentials: { methods: [{ id: 'sign-in', type: 'oauth2', label: 'Sign in', oauth2 }] },
      });
      api.connected.registry.reload();
      return (await api.aPerson()).post('/api/v1/services/door/oauth/start');
    },
    fail: async (api) => (await api.aPerson()).post(`${notes}/oauth/start`),
  },
};

/** A client with a personal API key. */
async function aScript(api: OpenedMainApi) {
  const { body } = await (await api.aPerson()).post('/api/v1/users/me/keys', { name: 'script' });
  return api.as(body.key);
}

describe('H05 each mutation of the route table writes exactly one complete audit record', () => {
  let api: OpenedMainApi;
  let mutations: readonly Route[];
  beforeAll(async () => {
    api = await openMainApi();
    mutations = createRoutes(api.ctx).routes.filter(({ method }) => method !== 'get');
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
  });

  it('has a case for every one of them', () => {
    expect(Object.keys(cases).sort()).toEqual(mutations.map(({ operationId }) => operationId).sort());
  });

  const auditOf = async (answer: Answer): Promise<AuditRow> => {
    const rows = await api.auditOf(answer.headers.get('x-request-id')!);
    expect(rows).toHaveLength(1);
    return rows[0]!;
  };
  const routeOf = (operationId: string): Route =>
    mutations.find((route) => route.operationId === operationId)!;

  it.each(Object.keys(cases))('%s: success', async (operationId) => {
    const { auth } = routeOf(operationId);
    const answer = await cases[operationId]!.succeed(api);
    expect({ status: answer.status, isSuccess: answer.status < 300, body: answer.body }).toMatchObject({
      isSuccess: true,
    });
    const row = await auditOf(answer);
    expect(row).toMatchObject({ outcome: 'success', error_code: null, client_address: '127.0.0.1' });
    expect(row.action).toMatch(/^[a-z_]+\.[a-z_]+$/);
    expect(row.target_kind).not.toBeNull();
    expect(row.target_id).not.toBeNull();
    expect(row.subject_user_id).not.toBeNull();
    if (auth === 'none') return;
    expect(row).toMatchObject({
      actor_kind: 'user',
      actor_id: expect.any(String),
      actor_via: expect.any(String),
    });
  });

  it.each(Object.keys(cases))('%s: failure', async (operationId) => {
    const { auth } = routeOf(operationId);
    const answer = await cases[operationId]!.fail(api);
    expect(answer.status).toBeGreaterThanOrEqual(400);
    const row = await auditOf(answer);
    expect(row.outcome === 'denied' || row.outcome === 'failure').toBe(true);
    expect(row).toMatchObject({ error_code: answer.body.code, client_address: '127.0.0.1' });
    expect(row.target_kind).not.toBeNull();
    expect(row.actor_kind).toBe(auth === 'none' ? 'anonymous' : 'user');
  });

  it('writes none for a request of nobody, which is counted and logged', async () => {
    const answer = await api.post('/api/v1/users', { email: email(), password: goodPassword });
    expect(answer.status).toBe(401);
    expect(await api.auditOf(answer.headers.get('x-request-id')!)).toEqual([]);
    const metrics = await api.as('metrics-token-of-the-test').get('/metrics');
    expect(metrics.body).toMatch(/portolan_auth_failures_total\{service="main-api"\} [1-9]/);
  });

  it('H02 refuses a change whose audit row cannot be written, and changes nothing', async () => {
    await using own = await openMainApi();
    const admin = await own.anAdmin();
    const user = await own.aPerson();
    const superuser = await own.connected.site.db.superuser();
    await superuser.query('revoke insert on audit_events from portolan_api');
    const answers = [
      await admin.patch(`/api/v1/users/${user.id}`, { role: 'auditor' }),
      await admin.post('/api/v1/users', { email: email(), password: goodPassword }),
      await user.post('/api/v1/users/me/keys', { name: 'k' }),
      await own.post('/api/v1/auth/login', { email: user.email, password: goodPassword }),
    ];
    expect(answers.map(({ status, body }) => ({ status, code: body.code }))).toEqual(
      answers.map(() => ({ status: 503, code: 'AUDIT_UNAVAILABLE' })),
    );
    const { rows } = await superuser.query(
      `select (select role from users where id = $1) as role, (select count(*) from users)::int as users,
         (select count(*) from api_keys)::int as keys, (select count(*) from login_sessions)::int as sessions`,
      [user.id],
    );
    expect(rows[0]).toEqual({ role: 'user', users: 2 + 1, keys: 0, sessions: 2 });
  });
});
