/**
 * A database with the keys of an installation laid, and people and instances made the way the main API makes them.
 *
 *   await using site = await openInstallation();
 *   const alice = await site.aUser();
 *   const { instanceId } = await site.anInstance({ owner: alice, fields: { token: 'secret' } });
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { Secret } from '../../backend/src/config/secrets.js';
import { withUser } from '../../backend/src/database/withUser.js';
import type { DatabasePool } from '../../backend/src/database/pool.js';
import { createCredentialVault } from '../../backend/src/services/credentialVault.js';
import { layInstallKeys, readInstallKeys } from '../../backend/src/services/installKeys.js';
import { openVaultGate, type VaultGate } from '../../backend/src/services/vaultKeys.js';
import {
  promoteStagedCredential,
  stageCredential,
} from '../../backend/src/stores/instanceCredentialsStore.js';
import { createInstance, setOverrides } from '../../backend/src/stores/instancesStore.js';
import { createUser } from '../../backend/src/stores/usersStore.js';
import { eventMac } from '../../backend/src/vault/auditMacs.js';
import { newKeyRingFile, parseKeyRing } from '../../backend/src/vault/keyRing.js';
import { cloneDatabase, type TestDatabase } from './testDatabase.js';

export interface MadeInstance {
  /** The instance's uuid. */
  readonly id: string;
  /** The secret part of its URL. */
  readonly instanceId: string;
  readonly owner: string;
}

export interface InstanceWish {
  readonly owner: string;
  readonly service?: string;
  readonly prefix?: string;
  readonly label?: string;
  /** The credential's fields; absent: no credential. */
  readonly fields?: Readonly<Record<string, string>>;
  readonly method?: string;
  readonly overrides?: Readonly<Record<string, string>>;
}

export interface Installation extends AsyncDisposable {
  readonly db: TestDatabase;
  readonly api: DatabasePool;
  readonly vault: VaultGate;
  /** The text of the key ring file. */
  readonly ring: string;
  /** Makes a user and gives their uuid. */
  aUser(role?: 'user' | 'admin' | 'auditor'): Promise<string>;
  anInstance(wish: InstanceWish): Promise<MadeInstance>;
}

export async function openInstallation(): Promise<Installation> {
  const db = await cloneDatabase();
  const auditMac = (text: string) => eventMac(vault.keys().system.audit, text);
  const api = db.pool('api', { auditMac });
  const ring = newKeyRingFile(randomBytes);
  await api.transaction((client) =>
    layInstallKeys(client, { ring: parseKeyRing(ring), newId: randomUUID, randomBytes }),
  );
  const vault = await openVaultGate({
    readRing: () => new Secret(ring),
    readInstallKeys: () => readInstallKeys(api),
  });
  const credentialVault = createCredentialVault(vault);

  return {
    db,
    api,
    vault,
    ring,
    async aUser(role = 'user') {
      const id = randomUUID();
      await withUser(api, { userId: id, scope: 'admin' }, (client) =>
        createUser(client, {
          id,
          email: `${id}@example.com`,
          passwordHash: '$argon2id$v=19$m=8,t=1,p=1$AA$AA',
          role,
        }),
      );
      return id;
    },
    anInstance: ({ owner, service = 'notes', prefix = 'nts', label = 'default', ...wish }) =>
      withUser(api, { userId: owner, scope: 'self' }, async (client) => {
        const row = { id: randomUUID(), userId: owner };
        const sealed = await credentialVault.createInstanceId(client, row, prefix, 1);
        const { instanceId, lookup, sealedUrl } = sealed;
        await createInstance(client, { ...row, service, label, lookup, sealedUrl });
        if (wish.fields !== undefined) {
          const fields = new Map(Object.entries(wish.fields));
          const credential = await credentialVault.sealFields(client, row, 'sealed_credential', 1, fields);
          await stageCredential(client, row, {
            method: wish.method ?? 'key',
            revision: 1,
            sealed: credential,
          });
          await promoteStagedCredential(client, row, { revision: 1, state: 'ready', identityLabel: null });
        }
        if (wish.overrides !== undefined) {
          const fields = new Map(Object.entries(wish.overrides));
          const overrides = await credentialVault.sealFields(client, row, 'sealed_overrides', 1, fields);
          await setOverrides(client, row, { revision: 1, sealed: overrides });
        }
        return { id: row.id, instanceId, owner };
      }),
    async [Symbol.asyncDispose]() {
      vault[Symbol.dispose]();
      await db[Symbol.asyncDispose]();
    },
  };
}
