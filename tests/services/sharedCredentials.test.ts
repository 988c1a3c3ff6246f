/** A credential that an admin shares (12.19), over the real process of the service and a recorded REST service. */
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { loadServiceDefinitions } from '../../backend/src/catalog/loadServiceDefinitions.js';
import { createServiceRegistry } from '../../backend/src/catalog/serviceRegistry.js';
import type { Actor } from '../../backend/src/services/changeAudit.js';
import { createCredentialVault } from '../../backend/src/services/credentialVault.js';
import {
  createInstanceManager,
  type InstanceManager,
} from '../../backend/src/services/instanceManager/instanceManager.js';
import { signInternalCall } from '../../backend/src/services/internalCalls.js';
import { newJwtKeysFiles, parseSigningKeys } from '../../backend/src/services/jwtKeys.js';
import { createChangeNotices, type ChangeNoticesOptions } from '../../backend/src/services/changeNotices.js';
import { createProbeClient } from '../../backend/src/services/probeClient.js';
import {
  createSharedCredentials,
  type SharedCredentials,
} from '../../backend/src/services/sharedCredentials.js';
import type { UserRole } from '../../backend/src/stores/usersStore.js';
import { writeService } from '../support/connectedSite.js';
import { waitUntil } from '../support/eventually.js';
import { aFreePort } from '../support/freePorts.js';
import { openInstallation, type Installation } from '../support/installation.js';
import { modern, send } from '../support/mcpHttp.js';
import { json, startRecordingUpstream, type RecordingUpstream } from '../support/recordingUpstream.js';
import { startServiceProcess, type ServiceProcess } from '../support/spawnedService.js';
import { refusalOf } from './instanceManager/refusal.js';

jest.setTimeout(60_000);

interface Running {
  readonly site: Installation;
  readonly upstream: RecordingUpstream;
  readonly manager: InstanceManager;
  readonly shared: SharedCredentials;
  readonly team: ServiceProcess;
  readonly own: ServiceProcess;
}

const named = (service: string) => ({ service, label: 'default' });

async function start(closers: (() => unknown)[]): Promise<Running> {
  const site = await openInstallation();
  closers.push(() => site[Symbol.asyncDispose]());
  const upstream = await startRecordingUpstream();
  closers.push(() => upstream[Symbol.asyncDispose]());
  const folder = mkdtempSync(join(tmpdir(), 'portolan-shared-'));
  closers.push(() => rmSync(folder, { recursive: true, force: true }));
  const [stateDir, mcpPortsDir] = [join(folder, 'state'), join(folder, 'mcp-ports')];
  const jwt = newJwtKeysFiles(randomUUID);
  mkdirSync(join(stateDir, 'database-urls'), { recursive: true });
  writeFileSync(join(stateDir, 'database-urls', 'service'), site.db.urls.service.reveal());
  writeFileSync(join(stateDir, 'keyring.json'), site.ring);
  writeFileSync(join(stateDir, 'jwt-public.json'), jwt.publicText);
  writeFileSync(join(stateDir, 'metrics-token'), randomUUID());
  const ports = { team: await aFreePort(), own: await aFreePort() };
  const write = (name: keyof typeof ports, prefix: string, scope: string): void =>
    writeService(mcpPortsDir, name, {
      title: name,
      kind: 'api',
      port: ports[name],
      instancePrefix: prefix,
      api: {
        baseUrl: upstream.origin,
        headers: {
          Authorization: { $userToken: 'Bearer {{token}}' },
          'X-Region': { $credential: '{{region}}', omitIfEmpty: true },
        },
        egress: { allowPrivate: true },
        tools: [
          {
            name: 'list_notes',
            description: 'Lists notes.',
            inputSchema: { type: 'object' },
            request: { method: 'GET', path: '/notes' },
          },
        ],
      },
      adminConfig: { region: 'north' },
      userOverrides: { allow: true, keys: ['region'] },
      credentials: {
        scope,
        methods: [
          {
            id: 'key',
            type: 'fields',
            label: 'API key',
            help: 'Make a key in the settings of the team.',
            tokenField: 'token',
            fields: [
              { name: 'token', label: 'Key', type: 'secret' },
              { name: 'note', label: 'Note', required: false },
            ],
            probe: {
              request: { path: '/me', headers: { Authorization: { $userToken: 'Bearer {{token}}' } } },
              identity: { label: '/login' },
              reject: { 401: 'The team did not accept this key.' },
            },
          },
        ],
      },
    });
  write('team', 'tem', 'shared');
  write('own', 'own', 'per-user');
  const startOne = async (service: keyof typeof ports): Promise<ServiceProcess> => {
    const started = await startServiceProcess({ stateDir, mcpPortsDir, service, port: ports[service] });
    closers.push(() => started[Symbol.asyncDispose]());
    return started;
  };
  const keys = parseSigningKeys(jwt.privateText);
  const way: ChangeNoticesOptions = {
    config: {
      hosts: { api: '127.0.0.1', front: '127.0.0.1', service: '127.0.0.1' },
      ports: { api: 1, front: 1, monitor: 1, serviceOffset: 0 },
    },
    sign: (call) => signInternalCall(keys, call),
  };
  const probes = createProbeClient(way);
  const notices = createChangeNotices(way);
  closers.push(() => Promise.all([probes[Symbol.asyncDispose](), notices[Symbol.asyncDispose]()]));
  const registry = createServiceRegistry(() =>
    loadServiceDefinitions({ mcpPortsDir, lock: { services: {} }, env: () => undefined, allocate: true }),
  );
  const parts = {
    pool: site.api,
    registry,
    vault: createCredentialVault(site.vault),
    probes,
    notices,
    publicUrl: new URL('http://localhost:8080'),
    accessModeMinimum: 'url' as const,
    now: Date.now,
  };
  return {
    site,
    upstream,
    manager: createInstanceManager(parts),
    shared: createSharedCredentials({ ...parts, newId: randomUUID }),
    team: await startOne('team'),
    own: await startOne('own'),
  };
}

/** What a tool call on the process answers. */
const call = async (process: ServiceProcess, service: string, instanceId: string | null) => {
  const url = `http://127.0.0.1:${process.port}/${instanceId}/${service}`;
  const { json: answer } = await send(url, modern('tools/call', { name: 'list_notes', arguments: {} }));
  return answer as { result?: { isError?: boolean; content: { text: string }[] }; error?: unknown };
};

describe('a credential that an admin shares', () => {
  const closers: (() => unknown)[] = [];
  let running: Running;
  beforeAll(async () => {
    running = await start(closers);
  });
  afterAll(async () => {
    for (const close of closers.toReversed()) await close();
  });

  const anActor = async (role: UserRole = 'user'): Promise<Actor> => ({
    userId: await running.site.aUser(role),
    role,
    via: `session:${randomUUID()}`,
    authenticatedAt: new Date(),
    requestId: null,
    clientAddress: null,
  });
  const lastNotes = () => running.upstream.requests.findLast(({ target }) => target === '/notes');
  const rowOf = async () => {
    const root = await running.site.db.superuser();
    const { rows } = await root.query<Record<string, unknown>>('select * from service_settings');
    return rows;
  };

  it('12.19 tells users that an admin has to set it as long as there is none', async () => {
    const { manager, shared } = running;
    const refusal = await refusalOf(manager.authenticate(await anActor(), named('team'), {}));
    expect(refusal).toMatchObject({
      code: 'CREDENTIAL_MISSING',
      options: {
        publicDetail: expect.stringMatching(/admin sets for everybody.*Ask an admin/) as unknown,
        extensions: { requiresSetup: true },
      },
    });
    const view = await manager.getCredential(await anActor(), named('team'));
    expect(view).toMatchObject({ configured: false, required: false, requiresSetup: true });
    expect(await shared.get(await anActor('admin'), 'team')).toMatchObject({
      configured: false,
      updatedAt: null,
    });
  });

  it('12.19 checks it by the declared probe before it counts, and stores nothing that was refused', async () => {
    const { upstream, shared, team } = running;
    upstream.on('/me', json(401, {}));
    const admin = await anActor('admin');
    const refusal = await refusalOf(shared.put(admin, 'team', { apiKey: 'team-canary-bad' }));
    expect(refusal).toMatchObject({
      code: 'CREDENTIAL_REJECTED',
      options: { publicDetail: 'The team did not accept this key.' },
    });
    expect(upstream.requests.at(-1)?.headers.authorization).toBe('Bearer team-canary-bad');
    expect(await rowOf()).toEqual([]);
    // A refused candidate has the revision that the next one gets; nothing of it may be left in the process.
    upstream.on('/me', json(200, { login: 'robot' }));
    const stored = await shared.put(admin, 'team', {
      apiKey: 'team-canary-1',
      additionalCredentials: { note: 'of ops' },
    });
    expect(upstream.requests.at(-1)?.headers.authorization).toBe('Bearer team-canary-1');
    expect(stored).toMatchObject({
      configured: true,
      method: 'key',
      identity: 'robot',
      isVerified: true,
      fields: [
        { name: 'token', isSet: true },
        { name: 'note', isSet: true },
      ],
      updatedAt: expect.stringMatching(/T/) as unknown,
    });
    expect(JSON.stringify([stored, await rowOf()])).not.toContain('team-canary');
    expect(team.output()).not.toContain('team-canary');
  });

  it('12.19 H05 writes one audit row for each attempt, without the secret', async () => {
    const root = await running.site.db.superuser();
    const { rows } = await root.query<Record<string, unknown>>(
      `select action, outcome, error_code, target_id, details from audit_events
       where action like 'shared_credential.%' order by occurred_at`,
    );
    expect(rows).toMatchObject([
      { action: 'shared_credential.refused', outcome: 'failure', error_code: 'CREDENTIAL_REJECTED' },
      { action: 'shared_credential.stored', outcome: 'success', target_id: 'team', details: { revision: 1 } },
    ]);
  });

  it('12.19 lets users connect with {} and call with it, each with their own settings', async () => {
    const { upstream, manager, team } = running;
    const [alice, bob] = [await anActor(), await anActor()];
    const first = await manager.authenticate(alice, named('team'), {});
    expect(first).toMatchObject({
      isNew: true,
      message: expect.stringContaining('an admin set') as unknown,
      view: { state: 'ready', identity: 'robot' },
    });
    const second = await manager.authenticate(bob, named('team'), { apiKey: 'bob-canary' });
    await manager.putOverrides(bob, named('team'), { region: 'south' });
    upstream.on('/notes', json(200, []));
    expect((await call(team, 'team', first.url.instanceId)).result?.isError).not.toBe(true);
    expect(lastNotes()?.headers).toMatchObject({
      authorization: 'Bearer team-canary-1',
      'x-region': 'north',
    });
    await waitUntil('the settings of bob count', async () => {
      await call(team, 'team', second.url.instanceId);
      return lastNotes()?.headers['x-region'] === 'south';
    });
    expect(lastNotes()?.headers.authorization).toBe('Bearer team-canary-1');
    expect(await manager.getCredential(bob, named('team'))).toMatchObject({
      configured: true,
      requiresSetup: false,
      fields: [],
    });
  });

  it('12.19 uses a replaced one within 2 s, and none after it was deleted: the model is told to ask an admin', async () => {
    const { manager, shared, team } = running;
    const [alice, admin] = [await anActor(), await anActor('admin')];
    const { url } = await manager.authenticate(alice, named('team'), {});
    await call(team, 'team', url.instanceId);
    expect(lastNotes()?.headers.authorization).toBe('Bearer team-canary-1');

    await shared.put(admin, 'team', { apiKey: 'team-canary-2' });
    const replacedAt = performance.now();
    await waitUntil('the new one is used', async () => {
      await call(team, 'team', url.instanceId);
      return lastNotes()?.headers.authorization === 'Bearer team-canary-2';
    });
    expect(performance.now() - replacedAt).toBeLessThan(2_000);

    await shared.remove(admin, 'team');
    let told = '';
    await waitUntil('it is void', async () => {
      const { result } = await call(team, 'team', url.instanceId);
      told = result?.content[0]?.text ?? '';
      return result?.isError === true;
    });
    expect(told).toMatch(/admin sets for everybody, and none is set/);
    expect(await refusalOf(manager.probe(alice, named('team')))).toMatchObject({
      code: 'CREDENTIAL_MISSING',
    });
    expect(await refusalOf(shared.remove(admin, 'team'))).toMatchObject({ code: 'NOT_FOUND' });

    await shared.put(admin, 'team', { apiKey: 'team-canary-3' });
    expect((await rowOf())[0]).toMatchObject({ shared_revision: 3 });
    await waitUntil('it is there again', async () => {
      await call(team, 'team', url.instanceId);
      return lastNotes()?.headers.authorization === 'Bearer team-canary-3';
    });
  });

  it('12.19 records for the instance itself what the service makes of it', async () => {
    const { upstream, manager, shared, team } = running;
    const alice = await anActor();
    const { url } = await manager.authenticate(alice, named('team'), {});
    upstream.on('/notes', json(401, {}));
    const { result } = await call(team, 'team', url.instanceId);
    expect(result?.content[0]?.text).toMatch(/no longer accepts.*shared by everybody: ask an admin/);
    await waitUntil('the state is recorded', async () => {
      const shown = await manager.show(alice, named('team'));
      return shown.state !== 'ready' && shown.nextAction?.startsWith('Ask an admin') === true;
    });
    upstream.on('/notes', json(200, []));
    await shared.put(await anActor('admin'), 'team', { apiKey: 'team-canary-4' });
    await waitUntil('a good call says that it is well again', async () => {
      await call(team, 'team', url.instanceId);
      return (await manager.show(alice, named('team'))).state === 'ready';
    });
  });

  it('A09 never uses one where the scope is per-user, whatever lies in the settings', async () => {
    const { site, upstream, shared, manager, own } = running;
    const [alice, admin] = [await anActor(), await anActor('admin')];
    expect(await refusalOf(shared.put(admin, 'own', { apiKey: 'x' }))).toMatchObject({ code: 'CONFLICT' });
    // What would be there had the scope been `shared` once: a good seal for this very service.
    const vault = createCredentialVault(site.vault);
    const root = await site.db.superuser();
    const id = randomUUID();
    const sealed = await vault.sealShared(site.api, { id }, 1, new Map([['token', 'admin-canary']]));
    await root.query(
      `insert into service_settings (id, service, shared_method, shared_revision, sealed_shared_credential)
       values ($1, 'own', 'key', 1, $2)`,
      [id, sealed],
    );
    upstream.on('/me', json(200, { login: 'alice' }));
    upstream.on('/notes', json(200, []));
    const { url } = await manager.authenticate(alice, named('own'), { apiKey: 'alice-key' });
    await call(own, 'own', url.instanceId);
    expect(lastNotes()?.headers.authorization).toBe('Bearer alice-key');
    await manager.deleteCredential(alice, named('own'));
    upstream.clear();
    await waitUntil('it is missing', async () => {
      const { result } = await call(own, 'own', url.instanceId);
      return result?.isError === true && /not set up for your account/.test(result.content[0]?.text ?? '');
    });
    expect(JSON.stringify(upstream.requests)).not.toContain('admin-canary');
    expect(await refusalOf(manager.authenticate(alice, named('own'), {}))).toMatchObject({
      code: 'INVALID_REQUEST',
    });
  });

  it('VERSION_CONFLICT: of two admins at once one wins, and the other is told', async () => {
    const { shared, upstream } = running;
    upstream.on('/me', json(200, { login: 'robot' }));
    const admins = [await anActor('admin'), await anActor('admin')];
    const outcomes = await Promise.allSettled(
      admins.map((admin, n) => shared.put(admin, 'team', { apiKey: `team-race-${n}` })),
    );
    const lost = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(lost.length).toBeLessThanOrEqual(1);
    for (const { reason } of lost) expect(reason).toMatchObject({ code: 'VERSION_CONFLICT' });
    expect(outcomes.filter(({ status }) => status === 'fulfilled').length + lost.length).toBe(2);
  });
});
