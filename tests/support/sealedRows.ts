/** One sealed record of every kind that the database knows, and a way to look at all of their plaintexts at once. */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { withUser } from '../../backend/src/database/withUser.js';
import { createCredentialVault } from '../../backend/src/services/credentialVault.js';
import { createRecordOpener } from '../../backend/src/services/keyRotation/recordOpener.js';
import { firstId } from '../../backend/src/services/keyRotation/rotationReport.js';
import { sealedTables, toName } from '../../backend/src/services/keyRotation/verifyRecords.js';
import { stageCredential } from '../../backend/src/stores/instanceCredentialsStore.js';
import { listRecords, type SealedRecordRow } from '../../backend/src/stores/keyRotationStore.js';
import { findDataKeys } from '../../backend/src/stores/keysStore.js';
import { insertOAuthClient } from '../../backend/src/stores/oauthClientsStore.js';
import { insertSignIn } from '../../backend/src/stores/oauthSignInsStore.js';
import { saveSharedCredential } from '../../backend/src/stores/serviceSettingsStore.js';
import { openSession } from '../../backend/src/stores/sessionsStore.js';
import type { KeyRing } from '../../backend/src/vault/keyRing.js';
import { unwrapDek } from '../../backend/src/vault/dataKey.js';
import { systemOwner } from '../../backend/src/vault/keyWrapping.js';
import { seal } from '../../backend/src/vault/sealedRecord.js';
import { toStoredBinding } from '../../backend/src/services/recordBindings.js';
import type { Installation, MadeInstance } from './installation.js';

const expiresAt = new Date(Date.now() + 86_400_000);

/** Everything of a user's that can be sealed: credential, staged credential, overrides, URL and a sign-in. */
export async function everythingOf(
  site: Installation,
  owner: string,
  label = 'default',
): Promise<MadeInstance> {
  const vault = createCredentialVault(site.vault);
  const made = await site.anInstance({
    owner,
    label,
    fields: { token: `token of ${owner}` },
    overrides: { region: `region of ${owner}` },
  });
  const row = { id: made.id, userId: owner };
  await withUser(site.api, { userId: owner, scope: 'self' }, async (db) => {
    const staged = await vault.sealFields(db, row, 'sealed_credential', 2, new Map([['token', 'staged']]));
    await stageCredential(db, row, { method: 'key', revision: 2, sealed: staged });
    const session = randomUUID();
    await openSession(db, {
      id: session,
      userId: owner,
      userAgent: null,
      expiresAt,
      refresh: { id: randomUUID(), digest: randomBytes(32), expiresAt },
    });
    const id = randomUUID();
    const signIn = {
      id,
      userId: owner,
      sessionId: session,
      service: 'notes',
      label: 'other',
      method: 'sign-in',
      stateDigest: randomBytes(32),
      browserDigest: randomBytes(32),
      sealedContext: await vault.sealSignIn(db, { id, userId: owner }, new Map([['verifier', 'v']])),
      expiresAt,
    };
    await insertSignIn(db, signIn, 5);
  });
  return made;
}

/** Everything of the installation's own: a shared credential, an admin's configuration and a registered client. */
export async function everythingOfSystem(site: Installation): Promise<void> {
  const admin = await site.aUser('admin');
  const vault = createCredentialVault(site.vault);
  const settings = randomUUID();
  await withUser(site.api, { userId: admin, scope: 'admin' }, async (db) => {
    const sealed = await vault.sealShared(db, { id: settings }, 1, new Map([['token', 'shared']]));
    await saveSharedCredential(db, {
      id: settings,
      service: 'common',
      credential: { method: 'key', revision: 1, sealed, identityLabel: null, checkedAt: null },
      updatedBy: admin,
      version: 0,
    });
    const client = randomUUID();
    await insertOAuthClient(
      db,
      { service: 'notes', issuer: 'https://as.example.com', redirectUri: 'https://ports.example.com/cb' },
      { id: client, sealed: await vault.sealClient(db, { id: client }, new Map([['clientId', 'c']])) },
    );
    const [key] = await findDataKeys(db, null);
    const { ring, installId } = site.vault.keys();
    const place = {
      table: 'service_settings',
      column: 'sealed_admin_config',
      rowId: settings,
      userId: null,
      revision: 1,
    };
    const binding = toStoredBinding(installId, place as SealedRecordRow);
    const dek = unwrapDek(ring, installId, { ...key!, ownerId: systemOwner });
    await db.query(
      'update service_settings set admin_config_revision = 1, sealed_admin_config = $2 where id = $1',
      [settings, seal(dek, Buffer.from('{"key":"admin"}'), binding, randomBytes)],
    );
  });
}

/** By the name of each record, the digest of its plaintext; null for one that does not open. */
export async function plaintextDigests(
  site: Pick<Installation, 'db'>,
  { ring, installId }: { readonly ring: KeyRing; readonly installId: string },
): Promise<ReadonlyMap<string, string | null>> {
  const pool = site.db.pool('jobs');
  const opener = createRecordOpener({ pool, ring, installId });
  const digests = new Map<string, string | null>();
  for (const table of sealedTables) {
    let afterId = firstId;
    for (;;) {
      const page = await listRecords(pool, table, afterId, 500);
      const last = page.at(-1);
      if (last === undefined) break;
      afterId = last.rowId;
      await opener.prepare(page);
      for (const row of page)
        digests.set(
          toName(row),
          digestOf(() => opener.open(row, digest)),
        );
    }
  }
  return digests;
}

function digest(plaintext: Buffer): string {
  return createHash('sha256').update(plaintext).digest('hex');
}

function digestOf(open: () => string): string | null {
  try {
    return open();
  } catch {
    return null;
  }
}
