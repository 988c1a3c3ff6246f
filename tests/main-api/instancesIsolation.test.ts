import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { createRoutes } from '../../backend/src/main-api/routes.js';
import { createInstanceLookup } from '../../backend/src/services/instanceLookup.js';
import { createInstanceResolver } from '../../backend/src/services/instanceResolver.js';
import { startMainApi, type RunningMainApi, type SignedIn } from '../support/instancesApi.js';

jest.setTimeout(30_000);

/** A body with which each route would succeed on an instance of one's own. */
const bodies: Readonly<Record<string, unknown>> = {
  change_instance: { isActive: false, accessMode: 'url+token' },
  create_access_key: { name: 'mine' },
  rotate_instance_url: { graceSeconds: 0 },
  put_overrides: { values: { region: 'us' } },
};
/** These make an instance of the caller's own where there is none. */
// They store something of the caller's own; `notes` has no sign-in of its own to begin.
const making = new Set(['connect_service', 'put_credential', 'begin_service_sign_in']);

describe('two users', () => {
  let api: RunningMainApi;
  let alice: SignedIn;
  let bob: SignedIn;
  let bobsKey: string;
  beforeAll(async () => {
    api = await startMainApi();
    [alice, bob] = [await api.signIn({ role: 'admin' }), await api.signIn()];
    const service = '/api/v1/services/notes';
    const answers = [
      await bob.call('POST', `${service}/authenticate`, { apiKey: 'good-bob', label: 'private' }),
      await bob.call('PUT', `${service}/instance/overrides?label=private`, { values: { region: 'eu-1' } }),
      await bob.call('POST', `${service}/instance/keys?label=private`, { name: 'bob' }),
    ];
    const statuses = answers.map(({ status }) => status);
    bobsKey = String(answers[2]?.body.id);
    if (statuses.join() !== '201,200,201') throw new Error(`bob could not connect: ${statuses.join()}`);
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
  });

  const rowsOf = async (userId: string): Promise<unknown[]> => {
    const root = await api.bench.site.db.superuser();
    return (await root.query('select * from instances where user_id = $1 order by label', [userId])).rows;
  };
  const keysOf = async (userId: string): Promise<unknown[]> => {
    const root = await api.bench.site.db.superuser();
    return (await root.query('select * from access_keys where user_id = $1', [userId])).rows;
  };
  const namedByService = () =>
    createRoutes(api.ctx).routes.filter(
      // What is for admins alone concerns the settings of a service, and nobody's instance.
      ({ path, auth }) => path.includes(':serviceType') && auth !== 'admin',
    );

  it('A03 finds nothing of another over any route that names an instance, an admin neither, and leaves it as it was', async () => {
    const before = await rowsOf(bob.userId);
    const keysBefore = await keysOf(bob.userId);
    expect(namedByService().length).toBeGreaterThanOrEqual(12);
    for (const route of namedByService()) {
      if (making.has(route.operationId)) continue;
      const named = route.path.replace(':serviceType', 'notes').replace(':id', bobsKey);
      const path = `${named}?label=private`;
      const body = route.method === 'get' ? undefined : (bodies[route.operationId] ?? {});
      const answer = await alice.call(route.method.toUpperCase(), path, body);
      // What is stored for a service that one never connected is "nothing", and not an error.
      const expected = route.operationId === 'get_credential' ? 200 : 404;
      expect({ route: route.operationId, status: answer.status }).toEqual({
        route: route.operationId,
        status: expected,
      });
      expect(JSON.stringify(answer.body)).not.toMatch(/bob|eu-1|"configured":true/);
    }
    expect(await rowsOf(bob.userId)).toEqual(before);
    expect(await keysOf(bob.userId)).toEqual(keysBefore);
    expect(await rowsOf(alice.userId)).toEqual([]);
  });

  it('A03 lets two users have the same label, each with an instance of their own', async () => {
    const before = await rowsOf(bob.userId);
    const made = await alice.call('POST', '/api/v1/services/notes/authenticate', {
      apiKey: 'good-alice',
      label: 'private',
    });
    expect(made).toMatchObject({ status: 201, body: { identity: 'alice' } });
    expect(await rowsOf(bob.userId)).toEqual(before);
    const list = await bob.call('GET', '/api/v1/user/instances');
    expect(list.body.instances).toMatchObject([{ label: 'private', identity: 'bob' }]);
    await alice.call('DELETE', '/api/v1/services/notes/instance?label=private');
    expect(await rowsOf(bob.userId)).toEqual(before);
  });

  it('A03 shows neither the uuid nor the audit of another in what one may list', async () => {
    const root = await api.bench.site.db.superuser();
    const { rows } = await root.query<{ id: string }>('select id from instances where user_id = $1', [
      bob.userId,
    ]);
    for (const path of ['/api/v1/user/instances', '/api/v1/credentials', '/api/v1/catalog']) {
      const { status, body } = await alice.call('GET', path);
      expect(status).toBe(200);
      expect(JSON.stringify(body)).not.toContain(rows[0]?.id);
    }
  });

  it('B02 answers 401 to every route of instances and the catalog without a bearer', async () => {
    const tags = new Set(['Instances', 'Credentials', 'Catalog']);
    const routes = createRoutes(api.ctx).routes.filter(
      // A service sends the browser back without a bearer; the sign-in's state and cookie speak for it.
      (route) => route.tags.some((tag) => tags.has(tag)) && route.operationId !== 'finish_service_sign_in',
    );
    expect(routes.length).toBeGreaterThanOrEqual(17);
    for (const { method, path } of routes) {
      const url = api.origin + path.replace(/:\w+/, 'notes').replace(':id', bobsKey);
      for (const authorization of [undefined, 'Bearer x', 'Basic eDp5']) {
        const response = await fetch(url, {
          method: method.toUpperCase(),
          headers: authorization === undefined ? {} : { authorization },
        });
        expect({ path, status: response.status }).toEqual({ path, status: 401 });
      }
    }
  });

  it('A08 makes every URL of a disabled owner answer like none', async () => {
    const carol = await api.signIn();
    const made = await carol.call('POST', '/api/v1/services/notes/authenticate', { apiKey: 'good-carol' });
    using resolver = createInstanceResolver({
      vault: api.bench.site.vault,
      lookup: createInstanceLookup(api.bench.site.db.pool('service')),
      changes: { isUp: false, onChange: () => () => undefined },
    });
    const instanceId = String(made.body.instanceId);
    expect(await resolver.resolve(instanceId, 'notes')).toMatchObject({ kind: 'found' });
    const root = await api.bench.site.db.superuser();
    await root.query(`update users set status = 'disabled' where id = $1`, [carol.userId]);
    expect(await resolver.resolve(instanceId, 'notes')).toEqual({ kind: 'unknown' });
  });

  it('A09 says how to set a service up, and never lends the admin what is not theirs to lend', async () => {
    // `notes` has an admin's value for `region`; its credential is each user's own.
    const dave = await api.signIn();
    await dave.call('POST', '/api/v1/services/notes/authenticate', { apiKey: 'good-dave' });
    await dave.call('DELETE', '/api/v1/credentials/notes');
    const probes = api.bench.edges.notes.seen.length;
    expect(await dave.call('POST', '/api/v1/services/notes/instance/test')).toMatchObject({
      status: 401,
      body: { code: 'CREDENTIAL_MISSING', requiresSetup: true, setup: { displayName: 'Notes' } },
    });
    expect(api.bench.edges.notes.seen).toHaveLength(probes);
  });
});
