import { describe, expect, it, jest } from '@jest/globals';
import { withUser } from '../../backend/src/database/withUser.js';
import { sweepStagedCredentials } from '../../backend/src/jobs/sweepStagedCredentials.js';
import { stageCredential } from '../../backend/src/stores/instanceCredentialsStore.js';
import { openInstallation, type Installation, type MadeInstance } from '../support/installation.js';

jest.setTimeout(30_000);

const never = new AbortController().signal;

/** Stages a credential and leaves it, as a process does that dies before the answer came. */
async function leaveStaged(
  site: Installation,
  made: MadeInstance,
  staged: { readonly revision: number; readonly minutesAgo: number },
): Promise<void> {
  await withUser(site.api, { userId: made.owner, scope: 'self' }, (db) =>
    stageCredential(
      db,
      { userId: made.owner, id: made.id },
      { method: 'key', revision: staged.revision, sealed: Buffer.from('sealed') },
    ),
  );
  const root = await site.db.superuser();
  await root.query(`update instances set staged_at = now() - $2 * interval '1 minute' where id = $1`, [
    made.id,
    staged.minutesAgo,
  ]);
}

async function instances(site: Installation): Promise<Record<string, unknown>[]> {
  const root = await site.db.superuser();
  const { rows } = await root.query<Record<string, unknown>>(
    'select label, state, staged_revision, credential_revision from instances order by label',
  );
  return rows;
}

describe('sweeping staged credentials', () => {
  it('I01 forgets what nobody settled for five minutes, keeps what is in use, and audits both', async () => {
    await using site = await openInstallation();
    const alice = await site.aUser();
    const fresh = await site.anInstance({ owner: alice, label: 'fresh' });
    const lost = await site.anInstance({ owner: alice, label: 'lost' });
    const used = await site.anInstance({ owner: alice, label: 'used', fields: { token: 'x' } });
    await leaveStaged(site, fresh, { revision: 1, minutesAgo: 4 });
    await leaveStaged(site, lost, { revision: 1, minutesAgo: 6 });
    await leaveStaged(site, used, { revision: 2, minutesAgo: 6 });
    await sweepStagedCredentials({ pool: site.api }).run(never);
    expect(await instances(site)).toEqual([
      { label: 'fresh', state: 'checking', staged_revision: 1, credential_revision: null },
      { label: 'used', state: 'ready', staged_revision: null, credential_revision: 1 },
    ]);
    const root = await site.db.superuser();
    const { rows } = await root.query(
      'select action, actor_kind, target_id, subject_user_id, details from audit_events order by target_id',
    );
    expect(rows).toEqual(
      [
        { id: lost.id, isRemoved: true },
        { id: used.id, isRemoved: false },
      ]
        .sort((one, other) => (one.id < other.id ? -1 : 1))
        .map(({ id, isRemoved }) => ({
          action: 'credential.sweep',
          actor_kind: 'system',
          target_id: id,
          subject_user_id: alice,
          details: { isRemoved },
        })),
    );
  });

  it('is harmless in two programs at once: each row is settled and audited once', async () => {
    await using site = await openInstallation();
    const alice = await site.aUser();
    for (let at = 0; at < 10; at += 1) {
      const made = await site.anInstance({ owner: alice, label: `n${at}` });
      await leaveStaged(site, made, { revision: 1, minutesAgo: 9 });
    }
    const job = sweepStagedCredentials({ pool: site.api });
    await Promise.all([job.run(never), job.run(never), job.run(never)]);
    expect(await instances(site)).toEqual([]);
    const root = await site.db.superuser();
    expect((await root.query('select from audit_events')).rowCount).toBe(10);
  });
});
