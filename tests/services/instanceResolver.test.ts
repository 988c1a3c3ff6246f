import { describe, expect, it } from '@jest/globals';
import { readSecretFile } from '../../backend/src/config/secrets.js';
import { withUser } from '../../backend/src/database/withUser.js';
import { startChangeFeed, type ChangeFeed } from '../../backend/src/services/changeFeed.js';
import { readInstallKeys } from '../../backend/src/services/installKeys.js';
import { createInstanceLookup } from '../../backend/src/services/instanceLookup.js';
import {
  createInstanceResolver,
  type InstanceResolver,
} from '../../backend/src/services/instanceResolver.js';
import { createInstanceWatch } from '../../backend/src/services/instanceWatch.js';
import { openVaultGate } from '../../backend/src/services/vaultKeys.js';
import { deleteInstance, renameInstance, setActive } from '../../backend/src/stores/instancesStore.js';
import { updateUser } from '../../backend/src/stores/usersStore.js';
import { waitUntil } from '../support/eventually.js';
import { openInstallation, type Installation, type MadeInstance } from '../support/installation.js';

interface Bench extends AsyncDisposable {
  readonly site: Installation;
  readonly changes: ChangeFeed;
  readonly resolver: InstanceResolver;
  /** Queries that reached the database so far. */
  queries(): number;
}

async function aBench(): Promise<Bench> {
  const site = await openInstallation();
  const changes = startChangeFeed({ connectionString: site.db.urls.service, applicationName: 'listen' });
  let queries = 0;
  const lookup = createInstanceLookup(site.db.pool('service'));
  const resolver = createInstanceResolver({
    vault: site.vault,
    changes,
    lookup: {
      byDigest: (...asked) => {
        queries += 1;
        return lookup.byDigest(...asked);
      },
      byId: (...asked) => lookup.byId(...asked),
    },
  });
  await waitUntil('the feed is up', () => changes.isUp);
  return {
    site,
    changes,
    resolver,
    queries: () => queries,
    async [Symbol.asyncDispose]() {
      resolver[Symbol.dispose]();
      await changes[Symbol.asyncDispose]();
      await site[Symbol.asyncDispose]();
    },
  };
}

const asOwner = <T>(site: Installation, made: MadeInstance, work: Parameters<typeof withUser<T>>[2]) =>
  withUser(site.api, { userId: made.owner, scope: 'self' }, work);

describe('resolving an instance', () => {
  it('P04 finds the instance of exactly this id and service, and asks the database once', async () => {
    await using bench = await aBench();
    const alice = await bench.site.aUser();
    const announced = new Promise<void>((resolve) => bench.changes.onChange(() => resolve()));
    const made = await bench.site.anInstance({ owner: alice });
    await announced;
    for (let call = 0; call < 20; call += 1) {
      const resolution = await bench.resolver.resolve(made.instanceId, 'notes');
      expect(resolution).toMatchObject({ kind: 'found', instance: { id: made.id, userId: alice } });
    }
    expect(bench.queries()).toBe(1);
  });

  it('P04 coalesces a herd of calls to one query', async () => {
    await using bench = await aBench();
    const made = await bench.site.anInstance({ owner: await bench.site.aUser() });
    const all = await Promise.all(
      Array.from({ length: 100 }, () => bench.resolver.resolve(made.instanceId, 'notes')),
    );
    expect(all.every(({ kind }) => kind === 'found')).toBe(true);
    expect(bench.queries()).toBe(1);
  });

  it('A02 A07 answers alike for a foreign service, a typo and every other spelling, without a query for the latter', async () => {
    await using bench = await aBench();
    const { instanceId } = await bench.site.anInstance({ owner: await bench.site.aUser() });
    expect(await bench.resolver.resolve(instanceId, 'other')).toEqual({ kind: 'unknown' });
    const before = bench.queries();
    const spellings = [
      instanceId.toUpperCase(),
      `${instanceId}.`,
      `${instanceId}%00`,
      `${instanceId}\0`,
      instanceId.replace('_', '＿'),
      instanceId.replace('_', '%5f'),
      ` ${instanceId}`,
      instanceId.slice(0, -1),
      '',
    ];
    for (const spelling of spellings) {
      expect(await bench.resolver.resolve(spelling, 'notes')).toEqual({ kind: 'unknown' });
    }
    expect(bench.queries()).toBe(before);
  });

  it('A04 A08 forgets a revoked or paused instance, and those of a disabled owner, as soon as it is committed', async () => {
    await using bench = await aBench();
    const { site, resolver } = bench;
    const alice = await site.aUser();
    const made = await Promise.all(
      ['one', 'two', 'three'].map((label) => site.anInstance({ owner: alice, label })),
    );
    const isUnknown = (one: MadeInstance) => async () =>
      (await resolver.resolve(one.instanceId, 'notes')).kind === 'unknown';
    for (const one of made) expect(await isUnknown(one)()).toBe(false);

    await asOwner(site, made[0]!, (client) => deleteInstance(client, { userId: alice, id: made[0]!.id }));
    await waitUntil('the revoked one is unknown', isUnknown(made[0]!), 1_000);
    await asOwner(site, made[1]!, (client) => setActive(client, { userId: alice, id: made[1]!.id }, false));
    await waitUntil('the paused one is unknown', isUnknown(made[1]!), 1_000);
    expect(await isUnknown(made[2]!)()).toBe(false);
    await withUser(site.api, { userId: alice, scope: 'admin' }, (client) =>
      updateUser(client, alice, { version: 1, status: 'disabled' }),
    );
    await waitUntil('the one of the disabled owner is unknown', isUnknown(made[2]!), 1_000);
  });

  it('R26 keeps nothing while the LISTEN connection is down, so that a revocation counts at once', async () => {
    await using bench = await aBench();
    const { site, resolver } = bench;
    const alice = await site.aUser();
    const made = await site.anInstance({ owner: alice });
    const superuser = await site.db.superuser();
    const wentDown = new Promise<void>((resolve) => {
      const stop = bench.changes.onChange(() => {
        if (bench.changes.isUp) return;
        stop();
        resolve();
      });
    });
    await superuser.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'listen'`,
    );
    await wentDown;
    expect((await resolver.resolve(made.instanceId, 'notes')).kind).toBe('found');
    await asOwner(site, made, (client) => deleteInstance(client, { userId: alice, id: made.id }));
    expect((await resolver.resolve(made.instanceId, 'notes')).kind).toBe('unknown');
    await waitUntil('the feed is up again', () => bench.changes.isUp);
  });

  it('G05 R21 answers that it cannot be told while the vault is sealed', async () => {
    await using bench = await aBench();
    const { instanceId } = await bench.site.anInstance({ owner: await bench.site.aUser() });
    const sealed = createInstanceResolver({
      vault: await openVaultGate({
        readRing: () => readSecretFile('/nonexistent/keyring.json', 'the key ring'),
        readInstallKeys: () => readInstallKeys(bench.site.api),
      }),
      changes: bench.changes,
      lookup: createInstanceLookup(bench.site.db.pool('service')),
    });
    expect(await sealed.resolve(instanceId, 'notes')).toMatchObject({
      kind: 'unavailable',
      error: { code: 'SEALED' },
    });
    sealed[Symbol.dispose]();
  });
});

describe('watching what is open', () => {
  it('A04 tells the holder within 2 s of a revocation, and nothing of a change that does not matter', async () => {
    await using bench = await aBench();
    const { site, resolver, changes } = bench;
    using watch = createInstanceWatch({ resolver, changes });
    const alice = await site.aUser();
    const made = await site.anInstance({ owner: alice });
    const resolution = await resolver.resolve(made.instanceId, 'notes');
    if (resolution.kind !== 'found') throw new Error('not found');
    const heard: unknown[] = [];
    watch.watch(resolution.instance, (now) => heard.push(now));

    const key = { userId: alice, id: made.id };
    await asOwner(site, made, (client) => renameInstance(client, key, 'renamed'));
    await waitUntil('the new label is seen', async () => {
      const now = await resolver.resolve(made.instanceId, 'notes');
      return now.kind === 'found' && now.instance.label === 'renamed';
    });
    await asOwner(site, made, (client) => deleteInstance(client, key));
    await waitUntil('the holder is told', () => heard.length > 0, 2_000);
    expect(heard).toEqual([null]);
  });
});
