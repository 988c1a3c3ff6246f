import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Client } from 'pg';
import { withUser } from '../../backend/src/database/withUser.js';
import type { DatabasePool } from '../../backend/src/database/pool.js';
import type { Queryable } from '../../backend/src/database/queryable.js';
import { createApiKey, findApiKey, revokeApiKey } from '../../backend/src/stores/apiKeysStore.js';
import { recordHealth } from '../../backend/src/stores/healthStore.js';
import { removeCredential, stageCredential } from '../../backend/src/stores/instanceCredentialsStore.js';
import { markInstancesUsed, recordInstanceState } from '../../backend/src/stores/instanceLookupStore.js';
import {
  deleteInstance,
  renameInstance,
  rotateUrl,
  setActive,
  setOverrides,
} from '../../backend/src/stores/instancesStore.js';
import { deleteDataKeysOfUser, insertDataKey } from '../../backend/src/stores/keysStore.js';
import { saveSharedCredential } from '../../backend/src/stores/serviceSettingsStore.js';
import { openSession, revokeSession } from '../../backend/src/stores/sessionsStore.js';
import { recordLogin, setPasswordHash, updateUser, type User } from '../../backend/src/stores/usersStore.js';
import { waitUntil } from '../support/eventually.js';
import { anInstance, aUser } from '../support/rows.js';
import { cloneDatabase, type TestDatabase } from '../support/testDatabase.js';

let db: TestDatabase;
let api: DatabasePool;
let listener: Client;
let alice: User;
let heard: { channel: string; payload: string }[] = [];

beforeAll(async () => {
  db = await cloneDatabase();
  api = db.pool('api');
  alice = await aUser(api);
  listener = await db.superuser();
  listener.on('notification', ({ channel, payload = '' }) => heard.push({ channel, payload }));
  for (const name of ['instances', 'users', 'registry', 'events'])
    await listener.query(`listen portolan_${name}`);
});
afterAll(() => db[Symbol.asyncDispose]());

/** Everything that was told before this call has been heard when it resolves: commits are told in their order. */
async function catchUp(): Promise<void> {
  const mark = randomUUID();
  await api.query(`select pg_notify('portolan_events', $1)`, [mark]);
  await waitUntil('the mark is heard', () => heard.some(({ payload }) => payload === mark));
  heard = heard.filter(({ payload }) => payload !== mark);
}

/** What is told of a change, all of it and nothing else. */
async function hear(
  change: (asAlice: <T>(work: (client: Queryable) => Promise<T>) => Promise<T>) => Promise<unknown>,
): Promise<typeof heard> {
  await catchUp();
  heard = [];
  await change((work) => withUser(api, { userId: alice.id, scope: 'self' }, work));
  await catchUp();
  return heard;
}

const asAdmin = <T>(work: (client: Queryable) => Promise<T>): Promise<T> =>
  withUser(api, { userId: alice.id, scope: 'admin' }, work);

describe('a change of an instance', () => {
  it('is told with its uuid: made, staged, replaced, renamed, rotated, paused, revoked', async () => {
    const made = await hear(() => anInstance(api, { owner: alice, label: 'told' }));
    const id = made.find(({ channel }) => channel === 'portolan_instances')!.payload;
    const told = { channel: 'portolan_instances', payload: id };
    expect(made).toContainEqual(told);
    const key = { userId: alice.id, id };
    const changes: ((client: Queryable) => Promise<unknown>)[] = [
      (client) => stageCredential(client, key, { method: 'key', revision: 2, sealed: randomBytes(20) }),
      (client) => setOverrides(client, key, { revision: 1, sealed: randomBytes(20) }),
      (client) => renameInstance(client, key, 'renamed'),
      (client) =>
        rotateUrl(client, key, {
          lookup: randomBytes(32),
          sealedUrl: randomBytes(20),
          urlRevision: 2,
          graceUntil: new Date(Date.now() + 60_000),
        }),
      (client) => setActive(client, key, false),
      (client) => setActive(client, key, true),
      (client) => removeCredential(client, key),
      (client) => deleteInstance(client, key),
    ];
    for (const change of changes) {
      expect(await hear((asAlice) => asAlice(change))).toContainEqual(told);
    }
  });

  it('is told to the event stream when its state changes, without anything sealed', async () => {
    const { instance } = await anInstance(api, { owner: alice, label: 'state' });
    const events = await hear(() =>
      recordInstanceState(db.pool('service'), {
        id: instance.id,
        service: 'figma',
        credentialRevision: 1,
        state: 'needs_reauth',
        cause: '401',
      }),
    );
    const event = events.find(({ channel }) => channel === 'portolan_events')!;
    expect(JSON.parse(event.payload)).toEqual({
      type: 'INSTANCE_STATE_CHANGED',
      userId: alice.id,
      payload: {
        instanceId: instance.id,
        service: 'figma',
        label: 'state',
        oldState: 'ready',
        newState: 'needs_reauth',
        cause: '401',
        timestamp: expect.any(String),
      },
    });
    expect(events).toContainEqual({ channel: 'portolan_instances', payload: instance.id });
  });

  it('is not told when only the time of its last use, or of a check, moved', async () => {
    const { instance } = await anInstance(api, { owner: alice, label: 'used' });
    const service = db.pool('service');
    expect(
      await hear(async () => {
        await markInstancesUsed(service, [{ id: instance.id, at: new Date() }]);
        await recordInstanceState(service, {
          id: instance.id,
          service: 'figma',
          credentialRevision: 1,
          state: 'ready',
          cause: null,
        });
      }),
    ).toEqual([]);
  });
});

const told = () => ({ channel: 'portolan_users', payload: alice.id });

describe('a change of a user', () => {
  it('is told: role, status, password, keys, sessions', async () => {
    const session = randomUUID();
    const digest = randomBytes(32);
    const expiresAt = new Date(Date.now() + 60_000);
    await withUser(api, { userId: alice.id, scope: 'self' }, async (client) => {
      await openSession(client, {
        id: session,
        userId: alice.id,
        userAgent: null,
        expiresAt,
        refresh: { id: randomUUID(), digest: randomBytes(32), expiresAt },
      });
      await createApiKey(client, {
        id: session,
        userId: alice.id,
        name: 'k',
        hint: 'p',
        digest,
        expiresAt: null,
      });
    });
    const { version } = alice;
    const changes: (() => Promise<unknown>)[] = [
      () => asAdmin((client) => updateUser(client, alice.id, { version, role: 'auditor' })),
      () => asAdmin((client) => updateUser(client, alice.id, { version: version + 1, status: 'disabled' })),
      () => asAdmin((client) => setPasswordHash(client, alice.id, 'new')),
      () => asAdmin((client) => revokeSession(client, { userId: alice.id, id: session })),
      () => asAdmin((client) => revokeApiKey(client, { userId: alice.id, id: session })),
      () =>
        asAdmin((client) =>
          insertDataKey(client, { id: randomUUID(), userId: alice.id, kekId: 'k1', wrapped: randomBytes(9) }),
        ),
      () => asAdmin((client) => deleteDataKeysOfUser(client, alice.id)),
    ];
    for (const change of changes) expect(await hear(change)).toContainEqual(told());
  });

  it('is not told when they sign in or use an API key', async () => {
    const digest = randomBytes(32);
    const heardOfUse = await hear(async (asAlice) => {
      await asAlice((client) => recordLogin(client, alice.id));
      await asAlice((client) =>
        createApiKey(client, {
          id: randomUUID(),
          userId: alice.id,
          name: 'k',
          hint: 'p',
          digest,
          expiresAt: null,
        }),
      );
      await findApiKey(api, digest);
    });
    expect(heardOfUse).toEqual([]);
  });
});

it('tells the registry of settings and of system keys, and the event stream of a service that changed', async () => {
  const settings = {
    id: randomUUID(),
    service: 'figma',
    credential: {
      method: 'key',
      revision: 1,
      sealed: randomBytes(9),
      identityLabel: null,
      checkedAt: null,
    },
    version: 0,
    updatedBy: alice.id,
  };
  expect(await hear(() => asAdmin((client) => saveSharedCredential(client, settings)))).toEqual([
    { channel: 'portolan_registry', payload: 'figma' },
  ]);
  const systemKey = { id: randomUUID(), userId: null, kekId: 'k1', wrapped: randomBytes(9) };
  expect(await hear(() => insertDataKey(api, systemKey))).toEqual([
    { channel: 'portolan_registry', payload: '' },
  ]);

  const jobs = db.pool('jobs');
  const up = {
    service: 'figma',
    state: 'RUNNING',
    isHealthy: true,
    lastCheckAt: new Date(),
    responseTimeMs: 3,
    error: null,
    failures: 0,
  } as const;
  const first = await hear(() => recordHealth(jobs, up));
  expect(JSON.parse(first[0]!.payload)).toMatchObject({
    type: 'SERVER_STATE_CHANGED',
    payload: { serverId: 'figma', oldState: null, newState: 'RUNNING' },
  });
  expect(await hear(() => recordHealth(jobs, { ...up, responseTimeMs: 4 }))).toEqual([]);
  const down = await hear(() =>
    recordHealth(jobs, { ...up, state: 'FAILED', isHealthy: false, failures: 1 }),
  );
  expect(JSON.parse(down[0]!.payload)).toMatchObject({
    payload: { oldState: 'RUNNING', newState: 'FAILED', isHealthy: false },
  });
});
