/**
 * A03 over the whole route table: what one user can do to another by any route, with a session, with a personal API key,
 * and as an admin on the routes that are for users; and who may use which route at all. The table is the declared routes
 * themselves: one that is not looked at here fails.
 */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { Client as DatabaseClient } from 'pg';
import type { Route, RouteAuth } from '../../backend/src/main-api/defineRoute.js';
import { createRoutes } from '../../backend/src/main-api/routes.js';
import type { LimitOverrides } from '../../backend/src/services/rateLimits.js';
import {
  goodPassword,
  openMainApi,
  type Answer,
  type Client,
  type OpenedMainApi,
  type Person,
} from '../support/mainApi.js';
import { insertRowsOf, listOwnedTables } from '../support/rowsOfAUser.js';

jest.setTimeout(120_000);

/**
 * Who may use a route, and what comes of naming something of another's by it. `refused`: 404 or 403. `own`: there is
 * nothing of another's to name, or one's own is made by that name; the answer holds nothing of theirs. With a body with
 * which it would succeed on one's own things, where it takes one.
 */
type Reviewed = readonly [access: RouteAuth, outcome: 'refused' | 'own', body?: object];

const newPassword = 'another good pass phrase';
const reviewed: Readonly<Record<string, Reviewed>> = {
  get_liveness: ['none', 'own'],
  get_readiness: ['none', 'own'],
  get_health: ['none', 'own'],
  // Guarded by the metrics token instead.
  get_metrics: ['none', 'refused'],
  get_openapi_document: ['none', 'own'],
  get_api_reference: ['none', 'own'],
  get_setup_state: ['none', 'own'],
  set_up_first_admin: [
    'none',
    'refused',
    { setupCode: 'x', email: 'eve@example.com', password: newPassword },
  ],
  register_with_invite: ['none', 'own', { inviteCode: 'x', email: 'eve@example.com', password: newPassword }],
  log_in: ['none', 'own', { email: 'eve@example.com', password: newPassword }],
  refresh_session: ['none', 'own', { refreshToken: 'x' }],
  log_out: ['user', 'own'],
  confirm_my_password: ['user', 'own', { password: goodPassword }],
  get_my_account: ['user', 'own'],
  change_my_account: ['user', 'own', { displayName: 'Eve' }],
  change_my_password: ['user', 'own', { currentPassword: 'wrong', newPassword }],
  list_my_sessions: ['user', 'own'],
  end_my_session: ['user', 'refused'],
  create_my_api_key: ['user', 'own', { name: 'eve' }],
  list_my_api_keys: ['user', 'own'],
  delete_my_api_key: ['user', 'refused'],
  create_user: ['admin', 'refused', { email: 'eve@example.com', password: newPassword }],
  list_users: ['admin', 'refused'],
  get_user: ['admin', 'refused'],
  change_user: ['admin', 'refused', { status: 'disabled' }],
  delete_user: ['admin', 'refused'],
  create_invite: ['admin', 'refused', {}],
  list_invites: ['admin', 'refused'],
  delete_invite: ['admin', 'refused'],
  list_catalog: ['user', 'own'],
  // By the name of a service, which is everybody's.
  get_catalog_service: ['user', 'own'],
  list_services: ['user', 'own'],
  get_service_health: ['user', 'own'],
  connect_service: ['user', 'own', { apiKey: 'good-eve' }],
  get_instance: ['user', 'refused'],
  list_instances: ['user', 'own'],
  change_instance: ['user', 'refused', { isActive: false }],
  delete_instance: ['user', 'refused', {}],
  rotate_instance_url: ['user', 'refused', { graceSeconds: 0 }],
  reveal_instance_url: ['user', 'refused', {}],
  test_instance: ['user', 'refused', {}],
  create_access_key: ['user', 'refused', { name: 'eve' }],
  list_access_keys: ['user', 'refused'],
  delete_access_key: ['user', 'refused'],
  list_credentials: ['user', 'own'],
  // What is stored for a service that one never connected is "nothing", and not an error.
  get_credential: ['user', 'own'],
  put_credential: ['user', 'own', { apiKey: 'good-eve' }],
  delete_credential: ['user', 'refused'],
  get_overrides: ['user', 'refused'],
  put_overrides: ['user', 'refused', { values: { region: 'us' } }],
  get_shared_credential: ['admin', 'refused'],
  put_shared_credential: ['admin', 'refused', { apiKey: 'good-eve' }],
  delete_shared_credential: ['admin', 'refused'],
  // The service has no sign-in of its own to begin.
  begin_service_sign_in: ['user', 'own', {}],
  finish_service_sign_in: ['none', 'own'],
  list_audit_events: ['user', 'own'],
  list_audit_calls: ['user', 'own'],
  export_audit: ['user', 'own'],
  get_audit_verification: ['auditor', 'refused'],
  get_service_sign_in: ['user', 'refused'],
  list_pinned_tools: ['admin', 'refused'],
  show_tool_changes: ['admin', 'refused'],
  approve_tool: ['admin', 'refused', { digest: `v1:${'0'.repeat(64)}` }],
  reject_tool: ['admin', 'refused', { digest: `v1:${'0'.repeat(64)}` }],
};

/** For users their own, for admins and auditors everybody's. */
const showsAllToAdmins: ReadonlySet<string> = new Set([
  'list_audit_events',
  'list_audit_calls',
  'export_audit',
]);
/** They end the session that they are asked with. */
const endsSession: ReadonlySet<string> = new Set(['log_out']);
/** They make one's own thing under the name that they are given, so they come last. */
const makes: ReadonlySet<string> = new Set(['connect_service', 'put_credential']);
const wide: LimitOverrides = {
  write: 100_000,
  connect: 100_000,
  authenticate: 100_000,
  reveal: 100_000,
  password: 100_000,
  refresh: 100_000,
};
const bobsLabel = 'bobs-private-label';

const isMaking = ({ operationId }: Route): boolean => makes.has(operationId);

const send = (client: Client, { method }: Route, path: string, body?: object): Promise<Answer> =>
  method === 'get' ? client.get(path) : client[method](path, body);

describe('every route', () => {
  let api: OpenedMainApi;
  let superuser: DatabaseClient;
  let routes: readonly Route[];
  let bob: Person;
  let alice: Person;
  let admin: Person;
  /** Every uuid in any row of Bob's: his own, of his sessions, keys, instances, sign-ins. */
  let uuids: string[];

  beforeAll(async () => {
    api = await openMainApi({ limits: wide });
    superuser = await api.connected.site.db.superuser();
    const table = createRoutes(api.ctx).routes;
    routes = [...table.filter((route) => !isMaking(route)), ...table.filter(isMaking)];
    [bob, alice, admin] = [await api.aPerson(), await api.aPerson(), await api.anAdmin()];
    const made = await bob.post('/api/v1/services/notes/authenticate', {
      apiKey: 'good-bob',
      label: bobsLabel,
    });
    if (made.status !== 201) throw new Error(`bob could not connect: ${made.status}`);
    await insertRowsOf(superuser, {
      userId: bob.id,
      instanceId: made.body.id as string,
      sessionId: randomUUID(),
    });
    uuids = await uuidsOf(bob.id);
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
  });

  async function uuidsOf(userId: string): Promise<string[]> {
    const found = new Set<string>();
    for (const { name, isTheirs } of await listOwnedTables(superuser)) {
      const { rows } = await superuser.query<{ row: Record<string, unknown> }>(
        `select to_jsonb(${name}) as row from ${name} where ${isTheirs}`,
        [userId],
      );
      const values = rows.flatMap(({ row }) => Object.values(row).map(String));
      for (const value of values) if (/^[0-9a-f-]{36}$/.test(value)) found.add(value);
    }
    return [...found];
  }

  /** All rows of Bob's in all tables, as one text. */
  async function digestOfBobs(): Promise<Record<string, string>> {
    const digests: Record<string, string> = {};
    for (const { name, isTheirs } of await listOwnedTables(superuser)) {
      const { rows } = await superuser.query<{ all: string }>(
        `select coalesce(string_agg(${name}::text, '|' order by ${name}::text), '') as all from ${name} where ${isTheirs}`,
        [bob.id],
      );
      digests[name] = rows[0]!.all;
    }
    return digests;
  }

  /** Every path that names something of Bob's by this route; its own path where none of it can be named. */
  function pathsToBob({ path, operationId }: Route): string[] {
    const query = `?label=${bobsLabel}&userId=${bob.id}`;
    const named = path.replace(':serviceType', 'notes');
    if (!named.includes(':')) return [`${named}${query}`];
    // What is an admin's is refused before anything is looked for.
    const ids = reviewed[operationId]?.[0] === 'admin' ? [bob.id] : uuids;
    return ids.map((uuid) => `${named.replaceAll(/:\w+/g, uuid)}${query}`);
  }

  it('has been looked at, and declares the access that it was found to need', () => {
    expect(uuids.length).toBeGreaterThan(10);
    const declared = Object.fromEntries(routes.map(({ operationId, auth }) => [operationId, auth]));
    const expected = Object.fromEntries(
      Object.entries(reviewed).map(([operationId, [access]]) => [operationId, access]),
    );
    expect(declared).toEqual(expected);
  });

  it.each(['a session', 'a personal API key', 'a session of an admin'] as const)(
    'A03 refuses what is of another to %s, shows nothing of it, and changes none of it',
    async (means) => {
      const key = await alice.post('/api/v1/users/me/keys', { name: means });
      const clients = {
        'a session': () => Promise.resolve(alice as Client),
        'a personal API key': () => Promise.resolve(api.as(key.body.key as string)),
        // An admin may change accounts; what a user connected is nobody else's, theirs neither.
        'a session of an admin': () => Promise.resolve(admin as Client),
      };
      const eve = means === 'a session of an admin' ? admin : alice;
      // Each comes with nothing of the label's name yet.
      await eve.delete(`/api/v1/services/notes/instance?label=${bobsLabel}`);
      const secrets = [bob.id, bob.email, bobsLabel, ...uuids];
      const before = await digestOfBobs();
      const wrong: unknown[] = [];
      for (const route of routes) {
        const [access, outcome, body] = reviewed[route.operationId]!;
        const isForUsers = access === 'user' && !showsAllToAdmins.has(route.operationId);
        if (means === 'a session of an admin' && !isForUsers) continue;
        const client = endsSession.has(route.operationId) ? await api.aPerson() : await clients[means]();
        for (const path of pathsToBob(route)) {
          const answer = await send(client, route, path, body);
          const text = JSON.stringify(answer.body);
          const said = { route: route.operationId, path, status: answer.status };
          if (answer.status >= 500) wrong.push(said);
          if (outcome === 'refused' && ![403, 404].includes(answer.status)) wrong.push(said);
          // One's own instance of the same label is one's own, and a refusal may name what was asked for.
          const isOwnByName = (secret: string): boolean => secret === bobsLabel;
          if (
            secrets.some((secret) => text.includes(secret) && !path.includes(secret) && !isOwnByName(secret))
          )
            wrong.push({ ...said, text });
        }
        // Named in the body, where nothing asks for it.
        if (route.method === 'get' || outcome === 'own') continue;
        const hostile = { ...body, userId: bob.id, ownerId: bob.id, id: uuids[0], label: bobsLabel };
        const answer = await send(client, route, pathsToBob(route)[0]!, hostile);
        if (answer.status < 400) wrong.push({ route: route.operationId, status: answer.status, hostile });
      }
      expect(wrong).toEqual([]);
      expect(await digestOfBobs()).toEqual(before);
    },
  );

  it.each(['nobody', 'user', 'auditor', 'admin'] as const)('serves %s as it declares', async (who) => {
    const person = who === 'nobody' ? null : await api.aPerson(who);
    const mayUse = (access: RouteAuth): boolean =>
      access === 'none' ||
      (who !== 'nobody' &&
        (access === 'user' || access === who || (access === 'auditor' && who === 'admin')));
    const wrong: unknown[] = [];
    for (const route of routes) {
      const [access] = reviewed[route.operationId]!;
      const client: Client =
        person === null
          ? api
          : endsSession.has(route.operationId)
            ? await api.aPerson(who as 'user')
            : person;
      // Of things that are not there, and with nothing in the body: whoever is let in is told that.
      const path = route.path.replace(':serviceType', 'nowhere').replaceAll(/:\w+/g, randomUUID());
      const { status, body } = await send(client, route, path, {});
      const isRefused = status === 401 || body?.code === 'ACCESS_DENIED';
      const said = { route: route.operationId, status, code: body?.code };
      if (access !== 'none' && isRefused === mayUse(access)) wrong.push(said);
      if (who === 'nobody' && access !== 'none' && status !== 401) wrong.push(said);
      if (who !== 'nobody' && !mayUse(access) && status !== 403) wrong.push(said);
    }
    expect(wrong).toEqual([]);
  });

  it('takes a personal API key where it says so, and nowhere else', async () => {
    const person = await api.aPerson('admin');
    const { body: made } = await person.post('/api/v1/users/me/keys', { name: 'script' });
    const script = api.as(made.key as string);
    const wrong: unknown[] = [];
    for (const route of routes.filter(({ auth }) => auth !== 'none')) {
      const path = route.path.replace(':serviceType', 'nowhere').replaceAll(/:\w+/g, randomUUID());
      const { status, body } = await send(script, route, path, {});
      const isTaken = !(status === 403 && body?.code === 'ACCESS_DENIED');
      if (isTaken !== (route.personalKeys !== false)) wrong.push({ route: route.operationId, status });
    }
    expect(wrong).toEqual([]);
    // What gives or shows something lasting takes a person.
    const forPeople = routes.filter(({ personalKeys }) => personalKeys === false);
    expect(forPeople.map(({ operationId }) => operationId)).toEqual(
      expect.arrayContaining([
        'create_my_api_key',
        'change_my_password',
        'reveal_instance_url',
        'rotate_instance_url',
        'create_invite',
      ]),
    );
  });
});
