/**
 * The keys of the installation between vault and store: laid once on an empty database, read at every start. The vault
 * names system keys by their purpose (`k_lookup`), the table by its rows (`lookup`).
 */
import type { Queryable } from '../database/queryable.js';
import { AppError } from '../errors/appError.js';
import { createInstall, readSystemKeys, type SystemKeyName } from '../stores/keysStore.js';
import { createDek, wrapDek } from '../vault/dataKey.js';
import type { KeyRing, RandomBytes } from '../vault/keyRing.js';
import { systemOwner, type WrappedKey } from '../vault/keyWrapping.js';
import { createSystemKeys } from '../vault/systemKeys.js';
import type { InstallKeys } from './vaultKeys.js';

/** The install id and the wrapped system keys; null on a database that was never set up. */
export async function readInstallKeys(db: Queryable): Promise<InstallKeys | null> {
  const found = await readSystemKeys(db);
  if (found === null) return null;
  const row = (name: SystemKeyName): WrappedKey => {
    const key = found.keys.find((one) => one.name === name);
    if (key === undefined) throw new AppError('SEALED', `the database has no system key "${name}"`);
    return { kekId: key.kekId, wrapped: key.wrapped };
  };
  return {
    installId: found.installId,
    systemKeys: { k_lookup: row('lookup'), k_audit: row('audit'), k_state: row('state') },
  };
}

export interface NewInstall {
  readonly ring: KeyRing;
  readonly newId: () => string;
  readonly randomBytes: RandomBytes;
}

/**
 * Makes install id, system keys and the installation's own DEK, all wrapped by the ring. The caller holds a
 * transaction. Answers false, and nothing is changed, when the database has them already.
 */
export async function layInstallKeys(
  db: Queryable,
  { ring, newId, randomBytes }: NewInstall,
): Promise<boolean> {
  const installId = newId();
  const system = createSystemKeys(ring, installId, randomBytes);
  const dek = createDek(newId(), randomBytes);
  return await createInstall(db, {
    installId,
    systemKeys: [
      { name: 'lookup', ...system.k_lookup },
      { name: 'audit', ...system.k_audit },
      { name: 'state', ...system.k_state },
    ],
    systemDataKey: { id: dek.id, ...wrapDek(ring, installId, dek, systemOwner, randomBytes) },
  });
}
