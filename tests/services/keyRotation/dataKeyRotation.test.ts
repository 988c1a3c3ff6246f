import { randomBytes, randomUUID } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { withUser } from '../../../backend/src/database/withUser.js';
import { createCredentialVault } from '../../../backend/src/services/credentialVault.js';
import { createRecordOpener } from '../../../backend/src/services/keyRotation/recordOpener.js';
import {
  migrateRecords,
  rotateDataKeys,
  type DataKeyRotationParts,
} from '../../../backend/src/services/keyRotation/dataKeyRotation.js';
import { firstId } from '../../../backend/src/services/keyRotation/rotationReport.js';
import { verifyRecords } from '../../../backend/src/services/keyRotation/verifyRecords.js';
import { setOverrides } from '../../../backend/src/stores/instancesStore.js';
import {
  listRecords,
  listRecordsOutside,
  resealRecord,
} from '../../../backend/src/stores/keyRotationStore.js';
import {
  deleteDataKeysOfUser,
  findDataKeys,
  insertDataKey,
  listDataKeyOwners,
} from '../../../backend/src/stores/keysStore.js';
import { createDek, wrapDek } from '../../../backend/src/vault/dataKey.js';
import { openInstallation, type Installation } from '../../support/installation.js';
import { everythingOf, everythingOfSystem, plaintextDigests } from '../../support/sealedRows.js';
import { auditedActions, rotating } from './given.js';

const partsOf = (site: Installation): DataKeyRotationParts => ({
  ...rotating(site).parts,
  ...site.vault.keys(),
});

/** A newer data key of that user, as a rotation makes it. */
async function aNewerKey(site: Installation, owner: string): Promise<void> {
  const { ring, installId } = site.vault.keys();
  const dek = createDek(randomUUID(), randomBytes);
  const wrapped = wrapDek(ring, installId, dek, owner, randomBytes);
  await insertDataKey(site.db.pool('jobs'), { id: dek.id, userId: owner, ...wrapped });
}

describe('the rotation of data keys', () => {
  it('I12 knows every sealed column of the database', async () => {
    await using site = await openInstallation();
    await everythingOf(site, await site.aUser());
    await everythingOfSystem(site);
    const root = await site.db.superuser();
    const { rows } = await root.query<{ column: string }>(
      `select format('%s.%s', c.relname, a.attname) as "column" from pg_attribute a join pg_class c on c.oid = a.attrelid
       where c.relnamespace = 'portolan'::regnamespace and c.relkind = 'r' and a.attname like 'sealed%' order by 1`,
    );
    const seen = await root.query<{ column: string }>(
      `select distinct table_name || '.' || column_name as "column" from sealed_records order by 1`,
    );
    expect(seen.rows).toEqual(rows);
    // And each of them is guarded against a key that is gone.
    const guards = await root.query<{ column: string }>(
      `select format('%s.%s', t.tgrelid::regclass, encode(rtrim(t.tgargs, '\\x00'), 'escape')) as "column"
       from pg_trigger t where t.tgfoid = 'guard_sealed_record'::regproc order by 1`,
    );
    expect(guards.rows.map(({ column }) => column.replace('portolan.', ''))).toEqual(
      rows.map(({ column }) => column),
    );
  });

  it('I12 moves every record of everybody to a new key, removes the old ones and leaves what they say', async () => {
    await using site = await openInstallation();
    const [alice, bob] = [await site.aUser(), await site.aUser()];
    await everythingOf(site, alice);
    await everythingOf(site, alice, 'second');
    await everythingOf(site, bob);
    await everythingOfSystem(site);
    const before = await plaintextDigests(site, site.vault.keys());
    const keysBefore = await findDataKeys(site.db.pool('jobs'), alice);
    const parts = partsOf(site);
    const owners = await listDataKeyOwners(parts.pool, new Date(Date.now() + 1_000));
    expect(owners).toHaveLength(3);
    expect(await rotateDataKeys(parts, owners)).toEqual({
      owners: 3,
      resealed: before.size,
      dropped: 3,
      unreadable: [],
    });
    expect(await plaintextDigests(site, site.vault.keys())).toEqual(before);
    const keys = await findDataKeys(parts.pool, alice);
    expect(keys).toHaveLength(1);
    expect(keys[0]?.id).not.toBe(keysBefore[0]?.id);
    const actions = new Map<string, number>();
    for (const action of await auditedActions(site)) actions.set(action, (actions.get(action) ?? 0) + 1);
    expect(Object.fromEntries(actions)).toEqual({
      'keys.data_key_made': 3,
      'keys.data_key_dropped': 3,
      'keys.records_resealed': 3,
    });
  });

  it('I12 brings to its end what was cut off, without a third key', async () => {
    await using site = await openInstallation();
    const alice = await site.aUser();
    await everythingOf(site, alice);
    const before = await plaintextDigests(site, site.vault.keys());
    await aNewerKey(site, alice);
    const parts = partsOf(site);
    expect(await rotateDataKeys(parts, [alice])).toMatchObject({ dropped: 1, resealed: 5 });
    expect(await findDataKeys(parts.pool, alice)).toHaveLength(1);
    expect(await plaintextDigests(site, site.vault.keys())).toEqual(before);
  });

  it('I12 overwrites nothing that was stored after it was read', async () => {
    await using site = await openInstallation();
    const alice = await site.aUser();
    const { id } = await everythingOf(site, alice);
    await aNewerKey(site, alice);
    const parts = partsOf(site);
    const [newest, old] = await findDataKeys(parts.pool, alice);
    const stale = (await listRecordsOutside(parts.pool, alice, newest!.id)).find(
      ({ column }) => column === 'sealed_overrides',
    )!;
    const vault = createCredentialVault(site.vault);
    const row = { id, userId: alice };
    await withUser(site.api, { userId: alice, scope: 'self' }, async (db) => {
      const sealed = await vault.sealFields(db, row, 'sealed_overrides', 2, new Map([['region', 'later']]));
      await setOverrides(db, row, { revision: 2, sealed });
    });
    expect(await resealRecord(parts.pool, stale, Buffer.alloc(200))).toBe(false);
    const later = (await listRecords(parts.pool, 'instances', firstId, 9)).find(
      ({ column }) => column === 'sealed_overrides',
    );
    const opener = createRecordOpener(parts);
    await opener.prepare([later!]);
    expect(opener.open(later!, String)).toBe('{"region":"later"}');
    // What was sealed under the old key and comes when that is gone is refused rather than lost.
    await rotateDataKeys(parts, [alice]);
    expect(await findDataKeys(parts.pool, alice)).not.toContainEqual(old);
    const late = withUser(site.api, { userId: alice, scope: 'self' }, (db) =>
      setOverrides(db, row, { revision: 3, sealed: stale.sealed }),
    );
    await expect(late).rejects.toMatchObject({ code: 'PTK02' });
  });

  it('I12 moves a record that the main API opens, and all of them by command', async () => {
    await using site = await openInstallation();
    const alice = await site.aUser();
    const { id, instanceId } = await everythingOf(site, alice);
    await aNewerKey(site, alice);
    const parts = partsOf(site);
    const [newest] = await findDataKeys(parts.pool, alice);
    const outside = async () =>
      (await listRecordsOutside(parts.pool, alice, newest!.id)).map(({ column }) => column).sort();
    expect(await outside()).toHaveLength(5);
    const vault = createCredentialVault(site.vault);
    await withUser(site.api, { userId: alice, scope: 'self' }, async (db) => {
      const { rows } = await db.query<{ sealed: Buffer }>(
        'select sealed_url as sealed from instances where id = $1',
        [id],
      );
      expect(await vault.openInstanceId(db, { id, userId: alice }, 1, rows[0]!.sealed)).toBe(instanceId);
    });
    expect(await outside()).not.toContain('sealed_url');
    const owners = await listDataKeyOwners(parts.pool, new Date(0));
    expect(await migrateRecords(parts, owners)).toMatchObject({ owners: 1, resealed: 4, unreadable: [] });
    expect(await outside()).toEqual([]);
    expect(await findDataKeys(parts.pool, alice)).toHaveLength(2);
  });

  it('I12 names the record that does not open, and keeps the key that it is under', async () => {
    await using site = await openInstallation();
    const alice = await site.aUser();
    const { id } = await everythingOf(site, alice);
    const root = await site.db.superuser();
    await root.query(
      'update instances set sealed_credential = set_byte(sealed_credential, 150, get_byte(sealed_credential, 150) # 1)',
    );
    const parts = partsOf(site);
    const name = `instances.sealed_credential ${id}`;
    const { dropped, unreadable } = await rotateDataKeys(parts, [alice]);
    expect([dropped, unreadable.map((one) => one.name)]).toEqual([0, [name]]);
    expect(await findDataKeys(parts.pool, alice)).toHaveLength(2);
    const [instances] = await verifyRecords(parts);
    expect(instances).toMatchObject({ table: 'instances', opened: 3, shredded: 0 });
    expect(instances?.unreadable.map((one) => one.name)).toEqual([name]);
  });

  it('G09 counts what a deletion has shredded apart from what is broken', async () => {
    await using site = await openInstallation();
    const alice = await site.aUser();
    await everythingOf(site, alice);
    const root = await site.db.superuser();
    await withUser(site.api, { userId: alice, scope: 'admin' }, (db) => deleteDataKeysOfUser(db, alice));
    const verify = async () =>
      (await verifyRecords(partsOf(site))).map(({ shredded, unreadable }) => [shredded, unreadable.length]);
    expect(await verify()).toEqual([
      [0, 4],
      [0, 1],
      [0, 0],
      [0, 0],
    ]);
    await root.query('update users set deleted_at = now() where id = $1', [alice]);
    expect(await verify()).toEqual([
      [4, 0],
      [1, 0],
      [0, 0],
      [0, 0],
    ]);
  });
});
