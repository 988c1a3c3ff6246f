/** A user is deleted, and what was theirs is gone for good (07 G09). */
import { expect, it } from '@jest/globals';
import { createUsers } from '../../backend/src/services/users.js';
import { verifyRecords } from '../../backend/src/services/keyRotation/verifyRecords.js';
import { openConnectedSite } from '../support/connectedSite.js';

it('G09 a deletion shreds and says so; the rows put back without their key open nowhere', async () => {
  await using bench = await openConnectedSite();
  const { site } = bench;
  const [admin, alice] = [await bench.anActor({ role: 'admin' }), await bench.anActor()];
  await bench.manager.authenticate(alice, { service: 'notes', label: 'default' }, { apiKey: 'good-alice' });
  const root = await site.db.superuser();
  await root.query('create temporary table kept as select * from instances where user_id = $1', [
    alice.userId,
  ]);
  const users = createUsers({
    pool: site.api,
    passwords: {} as never,
    rateLimits: {} as never,
    newId: () => '',
    forgetUser: () => {},
  });
  await users.delete(admin, alice.userId);
  const { rows: audit } = await root.query<{ details: object; actor: string }>(
    `select details, actor_id as actor from audit_events where action = 'user.deleted' and subject_user_id = $1`,
    [alice.userId],
  );
  expect(audit).toMatchObject([{ actor: admin.userId, details: { dataKeys: 1, instances: 1 } }]);

  const restore = () =>
    root.query(
      `update instances i set sealed_credential = k.sealed_credential, sealed_url = k.sealed_url, lookup = k.lookup,
         credential_method = k.credential_method, credential_revision = k.credential_revision, deleted_at = null
       from kept k where k.id = i.id`,
    );
  // The database itself takes no record whose key is gone, and past its triggers the record opens nowhere.
  await expect(restore()).rejects.toMatchObject({ code: 'PTK02' });
  await root.query('set session_replication_role = replica');
  await restore();
  await expect(
    bench.manager.getCredential(alice, { service: 'notes', label: 'default' }),
  ).rejects.toMatchObject({ code: 'CREDENTIAL_UNREADABLE' });
  const [instances] = await verifyRecords({ pool: site.db.pool('jobs'), ...site.vault.keys() });
  expect(instances).toMatchObject({ opened: 0, shredded: 2, unreadable: [] });
});
