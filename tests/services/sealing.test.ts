import { randomBytes } from 'node:crypto';
import { describe, expect, it, jest } from '@jest/globals';
import { Secret } from '../../backend/src/config/secrets.js';
import { withUser } from '../../backend/src/database/withUser.js';
import type { AppError } from '../../backend/src/errors/appError.js';
import { createCredentialVault } from '../../backend/src/services/credentialVault.js';
import { readInstallKeys } from '../../backend/src/services/installKeys.js';
import { createInstanceManager } from '../../backend/src/services/instanceManager/instanceManager.js';
import { openVaultGate } from '../../backend/src/services/vaultKeys.js';
import { deleteDataKeysOfUser } from '../../backend/src/stores/keysStore.js';
import { newKeyRingFile } from '../../backend/src/vault/keyRing.js';
import { openConnectedSite, type ConnectedSite } from '../support/connectedSite.js';

jest.setTimeout(30_000);

const canary = 'good-canary-7f3a91';
const notes = { service: 'notes', label: 'default' };

/** Every row of every table as text, with binary columns both as hex and as the text that they might be. */
async function dump(bench: ConnectedSite): Promise<string> {
  const root = await bench.site.db.superuser();
  const { rows: tables } = await root.query<{ name: string }>(
    `select format('%I.%I', schemaname, tablename) as name from pg_tables
     where schemaname not in ('pg_catalog', 'information_schema')`,
  );
  const parts: string[] = [];
  for (const { name } of tables) {
    const { rows } = await root.query<Record<string, unknown>>(`select * from ${name}`);
    for (const row of rows) {
      for (const [column, value] of Object.entries(row)) {
        const text = Buffer.isBuffer(value)
          ? `${value.toString('latin1')} ${value.toString('hex')} ${value.toString('base64')}`
          : JSON.stringify(value);
        parts.push(`${name}.${column}=${text}`);
      }
    }
  }
  return parts.join('\n');
}

describe('what lies in the database', () => {
  it('I12 H01 holds no credential, override, instance id or URL in any column of any table', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    const { manager } = bench;
    const made = await manager.authenticate(alice, notes, { apiKey: canary });
    await manager.putOverrides(alice, notes, { region: 'region-canary', pin: 'pin-canary' });
    const rotated = await manager.rotate(alice, notes, { graceSeconds: 3_600 });
    await manager.list(alice);
    bench.edges.notes.behave(() => ({ outcome: 'rejected', reason: 'No.' }));
    await expect(manager.authenticate(alice, notes, { apiKey: 'bad-canary' })).rejects.toMatchObject({
      code: 'CREDENTIAL_REJECTED',
    });
    const everything = await dump(bench);
    expect(everything).toContain('instance.created');
    const canaries = [canary, 'region-canary', 'pin-canary', 'bad-canary'];
    const ids = [made.url.instanceId ?? '', rotated.instanceId];
    for (const secret of [...canaries, ...ids, ...ids.map((id) => id.slice(4))]) {
      const forms = [secret, Buffer.from(secret).toString('hex'), Buffer.from(secret).toString('base64url')];
      for (const form of forms) expect(everything).not.toContain(form);
    }
  });

  it('I12 seals under the key of its owner, whose own key is wrapped and counted', async () => {
    await using bench = await openConnectedSite();
    const [alice, bob] = [await bench.anActor(), await bench.anActor()];
    await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    await bench.manager.authenticate(bob, notes, { apiKey: 'good-bob' });
    const root = await bench.site.db.superuser();
    const keys = await root.query<{ id: string; wrapped: Buffer }>(
      'select id, wrapped from data_keys where user_id is not null',
    );
    expect(keys.rows).toHaveLength(2);
    const { rows } = await root.query<{ sealed: Buffer }>(
      'select sealed_credential as sealed from instances',
    );
    const named = rows.map(({ sealed }) => sealed.subarray(5, 21).toString('hex'));
    expect(named.sort()).toEqual(keys.rows.map(({ id }) => id.replaceAll('-', '')).sort());
  });

  it('G02 opens no record that was moved to another user, row, column or revision', async () => {
    await using bench = await openConnectedSite();
    const { vault, site } = bench;
    const [alice, bob] = [await bench.anActor(), await bench.anActor()];
    const one = await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    const two = await bench.manager.authenticate(alice, { ...notes, label: 'two' }, { apiKey: 'good-alice' });
    const bobs = await bench.manager.authenticate(bob, notes, { apiKey: 'good-bob' });
    await bench.manager.putOverrides(alice, notes, { region: 'us' });
    const root = await site.db.superuser();
    const { rows } = await root.query<{ id: string; sealed: Buffer; overrides: Buffer }>(
      'select id, sealed_credential as sealed, sealed_overrides as overrides from instances',
    );
    const rowOf = (id: string) => rows.find((row) => row.id === id)!;
    const opens = (
      actor: typeof alice,
      id: string,
      column: 'sealed_credential' | 'sealed_overrides',
      revision: number,
      record: Buffer,
    ) =>
      withUser(site.api, { userId: actor.userId, scope: 'self' }, (db) =>
        vault.openFields(db, { id, userId: actor.userId }, column, revision, record),
      ).then(
        () => 'opened',
        (error: unknown) => (error as AppError).code,
      );
    const { sealed, overrides } = rowOf(one.view.id);
    expect(await opens(alice, one.view.id, 'sealed_credential', 1, sealed)).toBe('opened');
    expect(await opens(alice, two.view.id, 'sealed_credential', 1, sealed)).toBe('CREDENTIAL_UNREADABLE');
    expect(await opens(bob, bobs.view.id, 'sealed_credential', 1, sealed)).toBe('CREDENTIAL_UNREADABLE');
    expect(await opens(alice, one.view.id, 'sealed_credential', 2, sealed)).toBe('CREDENTIAL_UNREADABLE');
    expect(await opens(alice, one.view.id, 'sealed_credential', 1, overrides)).toBe('CREDENTIAL_UNREADABLE');
    expect(await opens(alice, one.view.id, 'sealed_overrides', 1, sealed)).toBe('CREDENTIAL_UNREADABLE');
  });

  it('G09 shreds everything of a user with their key: a row that is restored without it opens nowhere', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    await withUser(bench.site.api, { userId: alice.userId, scope: 'self' }, (db) =>
      deleteDataKeysOfUser(db, alice.userId),
    );
    await expect(bench.manager.getCredential(alice, notes)).rejects.toMatchObject({
      code: 'CREDENTIAL_UNREADABLE',
    });
    await expect(bench.manager.reveal(alice, notes)).rejects.toMatchObject({ code: 'CREDENTIAL_UNREADABLE' });
    expect(await bench.manager.show(alice, notes)).toMatchObject({ instanceId: null, instanceUrl: null });
    expect(await bench.manager.probe(alice, notes).catch((error: AppError) => error.code)).toBe(
      'SERVICE_UNAVAILABLE',
    );
  });

  it('G06 R21 writes nothing while the vault is sealed, and says so', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    using gate = await openVaultGate({
      readRing: () => new Secret(newKeyRingFile(randomBytes)),
      readInstallKeys: () => readInstallKeys(bench.site.api),
    });
    const manager = createInstanceManager({
      pool: bench.site.api,
      registry: bench.registry,
      vault: createCredentialVault(gate),
      probes: bench.probes,
      notices: bench.notices,
      publicUrl: bench.publicUrl,
      accessModeMinimum: 'url',
      now: Date.now,
    });
    await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    const before = await dump(bench);
    const attempts = [
      manager.authenticate(alice, notes, { apiKey: 'good-other' }),
      manager.putOverrides(alice, notes, { region: 'us' }),
      manager.rotate(alice, notes, { graceSeconds: 0 }),
      manager.reveal(alice, notes),
    ];
    for (const attempt of await Promise.allSettled(attempts)) {
      expect(attempt).toMatchObject({ status: 'rejected', reason: { code: 'SEALED' } });
    }
    // What needs no key is shown all the same.
    expect(await manager.list(alice)).toMatchObject([
      { serviceType: 'notes', instanceUrl: null, reveal: expect.stringContaining('keys') as unknown },
    ]);
    expect(await dump(bench)).toBe(before);
    expect(bench.edges.notes.seen).toHaveLength(1);
  });
});
