import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { DatabasePool } from '../../backend/src/database/pool.js';
import type { Queryable } from '../../backend/src/database/queryable.js';
import { withUser } from '../../backend/src/database/withUser.js';
import {
  discardStagedCredential,
  promoteStagedCredential,
  removeCredential,
  stageCredential,
} from '../../backend/src/stores/instanceCredentialsStore.js';
import {
  countInstancesByState,
  createInstance,
  deleteInstance,
  deleteInstancesOfUser,
  findInstance,
  findInstanceById,
  listInstances,
  renameInstance,
  rotateUrl,
  setActive,
  setOverrides,
  type InstanceKey,
} from '../../backend/src/stores/instancesStore.js';
import type { User } from '../../backend/src/stores/usersStore.js';
import { anInstance, aUser } from '../support/rows.js';
import { cloneDatabase, type TestDatabase } from '../support/testDatabase.js';

let db: TestDatabase;
let api: DatabasePool;
let alice: User;
let bob: User;

beforeAll(async () => {
  db = await cloneDatabase();
  api = db.pool('api');
});
beforeEach(async () => {
  alice = await aUser(api);
  bob = await aUser(api);
});
afterAll(() => db[Symbol.asyncDispose]());

const as = <T>(user: User, work: (client: Queryable) => Promise<T>): Promise<T> =>
  withUser(api, { userId: user.id, scope: 'self' }, work);

const aNewInstance = async (owner: User, label = 'default'): Promise<InstanceKey> => {
  const key = { userId: owner.id, id: randomUUID() };
  await as(owner, (client) =>
    createInstance(client, {
      ...key,
      service: 'figma',
      label,
      lookup: randomBytes(32),
      sealedUrl: randomBytes(50),
    }),
  );
  return key;
};

describe('an instance', () => {
  it('I04 is one per label of a user and service; another user, service or label is another', async () => {
    await aNewInstance(alice);
    await expect(aNewInstance(alice)).rejects.toMatchObject({ code: 'CONFLICT' });
    await aNewInstance(alice, 'work');
    await aNewInstance(bob);
    const labels = await as(alice, (client) => listInstances(client, alice.id));
    expect(labels.map(({ service, label, state }) => [service, label, state])).toEqual([
      ['figma', 'default', 'not_configured'],
      ['figma', 'work', 'not_configured'],
    ]);
    const one = await as(alice, (client) =>
      findInstance(client, { userId: alice.id, service: 'figma', label: 'work' }),
    );
    expect(one?.label).toBe('work');
  });

  it('A03 of somebody else is as good as none, for every change', async () => {
    const key = await aNewInstance(bob);
    // Alice's transaction, Bob's name on the row: what a route with a bug would do.
    await as(alice, async (client) => {
      expect(await findInstanceById(client, key)).toBeNull();
      expect(await findInstance(client, { userId: bob.id, service: 'figma', label: 'default' })).toBeNull();
      expect(await listInstances(client, bob.id)).toEqual([]);
      expect(await setActive(client, key, false)).toBeNull();
      expect(await renameInstance(client, key, 'stolen')).toBeNull();
      expect(await setOverrides(client, key, { revision: 1, sealed: null })).toBeNull();
      expect(await removeCredential(client, key)).toBeNull();
      expect(
        await stageCredential(client, key, { method: 'key', revision: 1, sealed: randomBytes(9) }),
      ).toBeNull();
      expect(await deleteInstance(client, key)).toBe(false);
      expect(await deleteInstancesOfUser(client, bob.id)).toBe(0);
    });
    const untouched = await as(bob, (client) => findInstanceById(client, key));
    expect(untouched).toMatchObject({ label: 'default', isActive: true, version: 1 });
  });

  it('I04 renames to a free label only', async () => {
    const key = await aNewInstance(alice);
    await aNewInstance(alice, 'work');
    expect(await as(alice, (client) => renameInstance(client, key, 'home'))).toMatchObject({ label: 'home' });
    await expect(as(alice, (client) => renameInstance(client, key, 'work'))).rejects.toMatchObject({
      code: 'CONFLICT',
    });
  });

  it('I04 pauses and resumes; pausing voids what was prepared for it', async () => {
    const { instance } = await anInstance(api, { owner: alice });
    const paused = await as(alice, (client) => setActive(client, instance, false));
    expect(paused).toMatchObject({ isActive: false, state: 'paused', epoch: instance.epoch + 1 });
    const resumed = await as(alice, (client) => setActive(client, instance, true));
    expect(resumed).toMatchObject({ isActive: true, state: 'checking', epoch: instance.epoch + 1 });
  });

  it('A05 rotates at once, or with a grace in which the old URL works', async () => {
    const { instance } = await anInstance(api, { owner: alice });
    const graceUntil = new Date(Date.now() + 3_600_000);
    const url = { lookup: randomBytes(32), sealedUrl: randomBytes(50) };
    const graced = await as(alice, (client) =>
      rotateUrl(client, instance, { ...url, urlRevision: 2, graceUntil }),
    );
    expect(graced).toMatchObject({ urlRevision: 2, previousExpiresAt: graceUntil, epoch: instance.epoch });
    const stale = await as(alice, (client) =>
      rotateUrl(client, instance, { ...url, urlRevision: 2, graceUntil: null }),
    );
    expect(stale).toBeNull();
    const atOnce = await as(alice, (client) =>
      rotateUrl(client, instance, { ...url, lookup: randomBytes(32), urlRevision: 3, graceUntil: null }),
    );
    expect(atOnce).toMatchObject({ urlRevision: 3, previousExpiresAt: null, epoch: instance.epoch + 1 });
  });

  it('I04 deleted is wiped: no sealed column, no lookup, and its label is free', async () => {
    const { instance } = await anInstance(api, { owner: alice });
    expect(await as(alice, (client) => deleteInstance(client, instance))).toBe(true);
    expect(await as(alice, (client) => deleteInstance(client, instance))).toBe(false);
    const superuser = await db.superuser();
    const { rows } = await superuser.query('select * from instances where id = $1', [instance.id]);
    expect(rows[0]).toMatchObject({
      lookup: null,
      previous_lookup: null,
      sealed_url: null,
      sealed_credential: null,
      sealed_staged: null,
      sealed_overrides: null,
      is_active: false,
      epoch: instance.epoch + 1,
      deleted_at: expect.any(Date),
    });
    await aNewInstance(alice);
  });

  it('counts by state for an admin, over all users', async () => {
    await anInstance(api, { owner: alice });
    const count = (scope: 'self' | 'admin') =>
      withUser(api, { userId: bob.id, scope }, (client) => countInstancesByState(client));
    expect(await count('self')).toEqual([]);
    const ready = (await count('admin')).find(
      ({ service, state }) => service === 'figma' && state === 'ready',
    );
    expect(ready?.count).toBeGreaterThan(0);
  });
});

const staged = (revision: number) => ({ method: 'key', revision, sealed: randomBytes(80) });

describe('a credential', () => {
  it('I01 is staged beside the one in use and promoted byte for byte', async () => {
    const { instance } = await anInstance(api, { owner: alice });
    const next = staged(2);
    const during = await as(alice, (client) => stageCredential(client, instance, next));
    expect(during).toMatchObject({ state: 'ready', credentialRevision: 1, stagedRevision: 2 });
    const after = await as(alice, (client) =>
      promoteStagedCredential(client, instance, { revision: 2, state: 'ready', identityLabel: '@alice' }),
    );
    expect(after).toMatchObject({
      state: 'ready',
      credentialRevision: 2,
      stagedRevision: null,
      identityLabel: '@alice',
      lastSuccessAt: expect.any(Date),
    });
    const superuser = await db.superuser();
    const { rows } = await superuser.query<{ sealed: Buffer }>(
      'select sealed_credential as sealed from instances where id = $1',
      [instance.id],
    );
    expect(rows[0]!.sealed.equals(next.sealed)).toBe(true);
  });

  it('never takes a revision twice, not even that of a discarded one', async () => {
    const key = await aNewInstance(alice);
    expect(await as(alice, (client) => stageCredential(client, key, staged(1)))).not.toBeNull();
    expect(await as(alice, (client) => stageCredential(client, key, staged(1)))).toBeNull();
    expect(
      await as(alice, (client) => discardStagedCredential(client, key, { revision: 1, removeIfNew: false })),
    ).toBe('kept');
    expect(await as(alice, (client) => stageCredential(client, key, staged(1)))).toBeNull();
    expect(await as(alice, (client) => stageCredential(client, key, staged(2)))).toMatchObject({
      state: 'checking',
    });
  });

  it('is promoted only while it is the staged one: of two at once the later wins', async () => {
    const key = await aNewInstance(alice);
    await as(alice, (client) => stageCredential(client, key, staged(1)));
    await as(alice, (client) => stageCredential(client, key, staged(2)));
    const promote = (revision: number) =>
      as(alice, (client) =>
        promoteStagedCredential(client, key, { revision, state: 'ready', identityLabel: null }),
      );
    expect(await promote(1)).toBeNull();
    expect(await promote(2)).toMatchObject({ credentialRevision: 2 });
  });

  it('I01 refused by the service leaves a new row gone and an old one as it was', async () => {
    const key = await aNewInstance(alice);
    await as(alice, (client) => stageCredential(client, key, staged(1)));
    const discard = (of: InstanceKey, revision: number) =>
      as(alice, (client) => discardStagedCredential(client, of, { revision, removeIfNew: true }));
    expect(await discard(key, 1)).toBe('removed');
    expect(await discard(key, 1)).toBe('gone');
    expect(await as(alice, (client) => findInstanceById(client, key))).toBeNull();

    const { instance } = await anInstance(api, { owner: alice, label: 'work' });
    await as(alice, (client) => stageCredential(client, instance, staged(2)));
    expect(await discard(instance, 2)).toBe('kept');
    expect(await as(alice, (client) => findInstanceById(client, instance))).toMatchObject({
      state: 'ready',
      credentialRevision: 1,
      stagedRevision: null,
    });
  });

  it('I06 removed keeps the URL and the overrides, and voids what was prepared', async () => {
    const { instance } = await anInstance(api, { owner: alice });
    await as(alice, (client) => setOverrides(client, instance, { revision: 1, sealed: randomBytes(9) }));
    const removed = await as(alice, (client) => removeCredential(client, instance));
    expect(removed).toMatchObject({
      state: 'not_configured',
      credentialMethod: null,
      credentialRevision: null,
      overridesRevision: 1,
      epoch: instance.epoch + 1,
    });
    expect(removed?.sealedUrl).not.toBeNull();
  });

  it('I08 overrides change one revision at a time', async () => {
    const key = await aNewInstance(alice);
    const set = (revision: number) =>
      as(alice, (client) => setOverrides(client, key, { revision, sealed: randomBytes(9) }));
    const outcomes = await Promise.all([set(1), set(1), set(1)]);
    expect(outcomes.filter((one) => one !== null)).toHaveLength(1);
    expect(await set(3)).toBeNull();
    expect(await set(2)).toMatchObject({ overridesRevision: 2 });
  });
});
