import { randomBytes, randomUUID } from 'node:crypto';
import { expect, it } from '@jest/globals';
import type { Queryable } from '../../backend/src/database/queryable.js';
import { withUser } from '../../backend/src/database/withUser.js';
import {
  beatRing,
  countByKek,
  createInstall,
  findDataKeys,
  listRingHeartbeats,
  readSystemKeys,
  rewrapDataKeys,
  rewrapSystemKey,
  takeDataKeysToRewrap,
} from '../../backend/src/stores/keysStore.js';
import {
  findServiceSettings,
  listSharedServices,
  readServiceSettings,
  readSystemDataKeys,
  removeSharedCredential,
  saveSharedCredential,
} from '../../backend/src/stores/serviceSettingsStore.js';
import { aUser } from '../support/rows.js';
import { cloneDatabase } from '../support/testDatabase.js';

const firstId = '00000000-0000-0000-0000-000000000000';

const anInstall = () => ({
  installId: randomUUID(),
  systemKeys: (['lookup', 'audit', 'state'] as const).map((name) => ({
    name,
    kekId: 'k1',
    wrapped: randomBytes(60),
  })),
  systemDataKey: { id: randomUUID(), kekId: 'k1', wrapped: randomBytes(60) },
});

it('G06 the foundation is laid once, whoever else tries at the same time', async () => {
  await using db = await cloneDatabase();
  const api = db.pool('api', { connectionsMax: 10 });
  expect(await readSystemKeys(api)).toBeNull();
  const installs = Array.from({ length: 10 }, anInstall);
  const laid = await Promise.all(
    installs.map((install) => api.transaction((client) => createInstall(client, install))),
  );
  expect(laid.filter(Boolean)).toHaveLength(1);
  const winner = installs[laid.indexOf(true)]!;
  for (const role of ['api', 'service', 'jobs'] as const) {
    const read = await readSystemKeys(db.pool(role));
    expect(read?.installId).toBe(winner.installId);
    expect(read?.keys).toEqual([...winner.systemKeys].sort((a, b) => a.name.localeCompare(b.name)));
  }
  expect((await findDataKeys(api, null)).map(({ id }) => id)).toEqual([winner.systemDataKey.id]);
});

it('every wrap is counted for its KEK', async () => {
  await using db = await cloneDatabase();
  const api = db.pool('api');
  await api.transaction((client) => createInstall(client, anInstall()));
  await aUser(api);
  expect(await countByKek(db.pool('jobs'))).toEqual([{ kekId: 'k1', keys: 5, wraps: 5 }]);
});

it('G08 two workers rewrap without meeting, and a stale rewrap is refused', async () => {
  await using db = await cloneDatabase();
  const api = db.pool('api');
  const jobs = db.pool('jobs');
  await api.transaction((client) => createInstall(client, anInstall()));
  for (let n = 0; n < 9; n += 1) await aUser(api);
  const work = async (limit: number): Promise<string[]> =>
    jobs.transaction(async (client) => {
      const taken = await takeDataKeysToRewrap(client, 'k2', { afterId: firstId, limit });
      const rewrapped = taken.map((key) => ({ ...key, kekId: 'k2', wrapped: randomBytes(60) }));
      expect(await rewrapDataKeys(client, rewrapped)).toBe(taken.length);
      expect(await rewrapDataKeys(client, rewrapped)).toBe(0);
      return taken.map(({ id }) => id);
    });
  const done: string[] = [];
  for (;;) {
    const batches = await Promise.all([work(2), work(2)]);
    if (batches.flat().length === 0) break;
    done.push(...batches.flat());
  }
  expect(new Set(done).size).toBe(10);
  expect(done).toHaveLength(10);
  const key = { name: 'lookup', kekId: 'k2', wrapped: randomBytes(60) } as const;
  expect(await rewrapSystemKey(jobs, key, 'k1')).toBe(true);
  expect(await rewrapSystemKey(jobs, key, 'k1')).toBe(false);
  expect(await countByKek(jobs)).toEqual([
    { kekId: 'k1', keys: 2, wraps: 13 },
    { kekId: 'k2', keys: 11, wraps: 11 },
  ]);
});

it('live processes and their rings are known', async () => {
  await using db = await cloneDatabase();
  const beat = { processId: 'host/1', program: 'mcp-figma', fingerprint: 'f1', primaryKekId: 'k1' };
  await beatRing(db.pool('service'), beat);
  await beatRing(db.pool('service'), { ...beat, fingerprint: 'f2' });
  await beatRing(db.pool('api'), { ...beat, processId: 'host/2', program: 'main-api' });
  const beats = await listRingHeartbeats(db.pool('api'), 60_000);
  expect(beats.map(({ processId, fingerprint }) => [processId, fingerprint])).toEqual([
    ['host/2', 'f1'],
    ['host/1', 'f2'],
  ]);
  expect(await listRingHeartbeats(db.pool('api'), 0)).toEqual([]);
});

const aCredential = (revision: number) => ({
  method: 'key',
  revision,
  sealed: randomBytes(30),
  identityLabel: 'robot',
  checkedAt: new Date(),
});

it('a shared credential is an admin’s to write and its service’s to read, with the keys that open it', async () => {
  await using db = await cloneDatabase();
  const api = db.pool('api');
  await api.transaction((client) => createInstall(client, anInstall()));
  const admin = await aUser(api, { role: 'admin' });
  const id = randomUUID();
  const as = <T>(work: (client: Queryable) => Promise<T>, scope: 'self' | 'admin' = 'admin') =>
    withUser(api, { userId: admin.id, scope }, work);
  const save = (version: number, revision: number, scope: 'self' | 'admin' = 'admin') =>
    as(
      (client) =>
        saveSharedCredential(client, {
          id,
          service: 'figma',
          credential: aCredential(revision),
          updatedBy: admin.id,
          version,
        }),
      scope,
    );
  await expect(save(0, 1, 'self')).rejects.toMatchObject({ code: '42501' });
  expect(await save(0, 1)).toMatchObject({ version: 1, lastSharedRevision: 1 });
  expect(await save(0, 2)).toBeNull();
  // A revision is never used twice, or an old record could be put back in the place of a newer one.
  expect(await save(1, 1)).toBeNull();
  const stored = await save(1, 2);
  expect(stored).toMatchObject({ version: 2, sharedCredential: { revision: 2, identityLabel: 'robot' } });
  expect(await findServiceSettings(api, 'figma')).toEqual(stored);
  expect(await listSharedServices(api)).toEqual(['figma']);
  const service = db.pool('service');
  expect(await readServiceSettings(service, 'figma')).toEqual(stored);
  expect(await readServiceSettings(service, 'github')).toBeNull();
  expect(await readSystemDataKeys(service)).toHaveLength(1);
  const remove = () => as((client) => removeSharedCredential(client, 'figma', admin.id));
  expect(await remove()).toBe(true);
  expect(await remove()).toBe(false);
  expect(await readServiceSettings(service, 'figma')).toMatchObject({
    sharedCredential: null,
    lastSharedRevision: 2,
  });
  expect(await save(3, 2)).toBeNull();
  expect(await save(3, 3)).toMatchObject({ version: 4 });
});
