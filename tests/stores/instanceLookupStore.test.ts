import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Client } from 'pg';
import type { DatabasePool } from '../../backend/src/database/pool.js';
import type { Queryable } from '../../backend/src/database/queryable.js';
import { withUser } from '../../backend/src/database/withUser.js';
import { stageCredential } from '../../backend/src/stores/instanceCredentialsStore.js';
import {
  markInstancesUsed,
  recordInstanceState,
  resolveInstance,
  resolveInstanceById,
} from '../../backend/src/stores/instanceLookupStore.js';
import {
  deleteInstance,
  rotateUrl,
  setActive,
  setOverrides,
} from '../../backend/src/stores/instancesStore.js';
import { findDataKeys, insertDataKey } from '../../backend/src/stores/keysStore.js';
import { findLastList, storeLastList } from '../../backend/src/stores/lastListsStore.js';
import { updateUser, type User } from '../../backend/src/stores/usersStore.js';
import { anInstance, aUser, type TestInstance } from '../support/rows.js';
import { cloneDatabase, type TestDatabase } from '../support/testDatabase.js';

let db: TestDatabase;
let api: DatabasePool;
let service: DatabasePool;
let superuser: Client;
let alice: User;
let figma: TestInstance;

beforeAll(async () => {
  db = await cloneDatabase();
  api = db.pool('api');
  service = db.pool('service');
  superuser = await db.superuser();
});
beforeEach(async () => {
  alice = await aUser(api);
  figma = await anInstance(api, { owner: alice });
});
afterAll(() => db[Symbol.asyncDispose]());

const asAlice = <T>(work: (client: Queryable) => Promise<T>): Promise<T> =>
  withUser(api, { userId: alice.id, scope: 'self' }, work);

describe('resolving', () => {
  it('P04 gives the sealed credential and every wrapped key of the owner', async () => {
    const sealed = randomBytes(40);
    await asAlice(async (client) => {
      await setOverrides(client, figma.instance, { revision: 1, sealed });
      await insertDataKey(client, {
        id: randomUUID(),
        userId: alice.id,
        kekId: 'k2',
        wrapped: randomBytes(300),
      });
    });
    const found = await resolveInstance(service, figma.lookup, 'figma');
    expect(found).toMatchObject({
      id: figma.instance.id,
      userId: alice.id,
      userStatus: 'active',
      service: 'figma',
      label: 'default',
      isActive: true,
      accessMode: 'url',
      epoch: 1,
      state: 'ready',
      expiresAt: null,
      credential: { method: 'key', revision: 1, sealed: expect.any(Buffer) },
      overrides: { revision: 1, sealed },
    });
    const keys = await asAlice((client) => findDataKeys(client, alice.id));
    expect(found!.dataKeys).toEqual(keys.map(({ id, kekId, wrapped }) => ({ id, kekId, wrapped })));
    expect(found!.dataKeys).toHaveLength(2);
  });

  it('A02 finds nothing by an unknown digest, nor by the right one for another service', async () => {
    expect(await resolveInstance(service, randomBytes(32), 'figma')).toBeNull();
    expect(await resolveInstance(service, figma.lookup, 'github')).toBeNull();
    expect(await resolveInstanceById(service, figma.instance.id, 'github', { staged: false })).toBeNull();
  });

  it('A08 finds neither a paused one nor that of a disabled owner by its URL, tells of both by uuid, and of no deleted one', async () => {
    const byId = () => resolveInstanceById(service, figma.instance.id, 'figma', { staged: false });
    await asAlice((client) => setActive(client, figma.instance, false));
    expect(await resolveInstance(service, figma.lookup, 'figma')).toBeNull();
    await asAlice((client) => setActive(client, figma.instance, true));
    expect(await resolveInstance(service, figma.lookup, 'figma')).toMatchObject({ isActive: true });
    await withUser(api, { userId: null, scope: 'admin' }, (client) =>
      updateUser(client, alice.id, { version: alice.version, status: 'disabled' }),
    );
    expect(await resolveInstance(service, figma.lookup, 'figma')).toBeNull();
    await asAlice((client) => setActive(client, figma.instance, false));
    expect(await byId()).toMatchObject({ userStatus: 'disabled', isActive: false, epoch: 3 });
    await asAlice((client) => deleteInstance(client, figma.instance));
    expect(await resolveInstance(service, figma.lookup, 'figma')).toBeNull();
    expect(await byId()).toBeNull();
  });

  it('A05 finds a rotated URL in its grace, with its end, and not after', async () => {
    const graceUntil = new Date(Date.now() + 60_000);
    const lookup = randomBytes(32);
    await asAlice((client) =>
      rotateUrl(client, figma.instance, { lookup, sealedUrl: randomBytes(9), urlRevision: 2, graceUntil }),
    );
    expect(await resolveInstance(service, lookup, 'figma')).toMatchObject({ expiresAt: null });
    expect(await resolveInstance(service, figma.lookup, 'figma')).toMatchObject({
      id: figma.instance.id,
      expiresAt: graceUntil,
    });
    await superuser.query(`update instances set previous_expires_at = now() where id = $1`, [
      figma.instance.id,
    ]);
    expect(await resolveInstance(service, figma.lookup, 'figma')).toBeNull();
  });

  it('I01 gives the staged credential by uuid when asked, and the one in use otherwise', async () => {
    const sealed = randomBytes(20);
    await asAlice((client) =>
      stageCredential(client, figma.instance, { method: 'other', revision: 2, sealed }),
    );
    const byId = (staged: boolean) => resolveInstanceById(service, figma.instance.id, 'figma', { staged });
    expect((await byId(true))?.credential).toEqual({ method: 'other', revision: 2, sealed });
    expect((await byId(false))?.credential).toMatchObject({ method: 'key', revision: 1 });
    expect((await resolveInstance(service, figma.lookup, 'figma'))?.credential?.revision).toBe(1);
  });

  it('is one probe of a unique index among 100,000 instances, and reads no table through', async () => {
    await superuser.query(
      `insert into instances (id, user_id, service, label, lookup)
       select gen_random_uuid(), $1, 'figma', 'n' || n, sha256(n::text::bytea) from generate_series(1, 100000) n`,
      [alice.id],
    );
    await superuser.query('analyze instances');
    const explain = async (column: string): Promise<string> => {
      const { rows } = await superuser.query<{ 'QUERY PLAN': string }>(
        `explain select i.id from instances i join users u on u.id = i.user_id
         where i.${column} = $1 and i.service = 'figma' and i.deleted_at is null`.replace('$1', `'\\x00'`),
      );
      return rows.map((row) => row['QUERY PLAN']).join('\n');
    };
    expect(await explain('lookup')).toContain('Index Scan using instances_lookup_key');
    expect(await explain('previous_lookup')).toContain('Index Scan using instances_previous_lookup_key');

    // The function itself, by what the server counted in this transaction.
    await superuser.query('begin');
    await superuser.query('select id from find_instance($1, $2)', [figma.lookup, 'figma']);
    await superuser.query('select id from find_instance($1, $2)', [randomBytes(32), 'figma']);
    const { rows } = await superuser.query<{ relname: string; seq_tup_read: string; idx_scan: string }>(
      `select relname, seq_tup_read::int, idx_scan::int from pg_stat_xact_user_tables where relname = 'instances'`,
    );
    await superuser.query('rollback');
    // One probe for the first; one of each index for the second.
    expect(rows).toEqual([{ relname: 'instances', seq_tup_read: 0, idx_scan: 3 }]);
  });
});

describe('what a service process reports', () => {
  it('moves the last use forward only, many at once, and bumps no version', async () => {
    const other = await anInstance(api, { owner: alice, label: 'other' });
    const [early, late] = [new Date('2026-01-01T00:00:00Z'), new Date('2026-01-02T00:00:00Z')];
    await markInstancesUsed(service, [
      { id: figma.instance.id, at: early },
      { id: figma.instance.id, at: late },
      { id: other.instance.id, at: early },
      { id: randomUUID(), at: early },
    ]);
    await markInstancesUsed(service, [{ id: figma.instance.id, at: early }]);
    const { rows } = await superuser.query(
      'select last_used_at, version from instances where id in ($1, $2) order by label',
      [figma.instance.id, other.instance.id],
    );
    const { version } = figma.instance;
    expect(rows).toEqual([
      { last_used_at: late, version },
      { last_used_at: early, version },
    ]);
  });

  it('R20 counts for the credential in use only, and never undoes a pause', async () => {
    const report = (credentialRevision: number, state: 'needs_reauth' | 'ready' = 'needs_reauth') =>
      recordInstanceState(service, {
        id: figma.instance.id,
        service: 'figma',
        credentialRevision,
        state,
        cause: state === 'ready' ? null : '401',
      });
    expect(await report(7)).toBe(false);
    expect(await report(1)).toBe(true);
    expect(await report(1)).toBe(false);
    expect((await resolveInstance(service, figma.lookup, 'figma'))?.state).toBe('needs_reauth');
    await asAlice((client) => setActive(client, figma.instance, false));
    expect(await report(1, 'ready')).toBe(false);
    const now = await resolveInstanceById(service, figma.instance.id, 'figma', { staged: false });
    expect(now?.state).toBe('paused');
  });

  it('cannot pause an instance or set a state that does not exist', async () => {
    for (const state of ['paused', 'not_configured', 'sold']) {
      await expect(
        service.query('select record_instance_state($1, $2, 1, $3, null)', [
          figma.instance.id,
          'figma',
          state,
        ]),
      ).rejects.toThrow(/cannot set the state/);
    }
  });

  it('D10 keeps last lists per instance and service', async () => {
    const list = { instanceId: figma.instance.id, service: 'figma', kind: 'tools' } as const;
    expect(await findLastList(service, list)).toBeNull();
    expect(await storeLastList(service, { ...list, body: '{"tools":[1]}' })).toBe(true);
    expect(await storeLastList(service, { ...list, body: '{"tools":[2]}' })).toBe(true);
    expect((await findLastList(service, list))?.body).toBe('{"tools":[2]}');
    expect(await storeLastList(service, { ...list, service: 'github', body: '{}' })).toBe(false);
    expect(await findLastList(service, { ...list, service: 'github' })).toBeNull();
    expect(await storeLastList(service, { ...list, instanceId: randomUUID(), body: '{}' })).toBe(false);
  });
});
