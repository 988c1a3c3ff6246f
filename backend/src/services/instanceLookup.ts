import type { CredentialScope } from '../catalog/serviceDefinition.js';
import type { Queryable } from '../database/queryable.js';
import {
  resolveInstance,
  resolveInstanceById,
  type ResolvedInstance as Row,
} from '../stores/instanceLookupStore.js';
import { readServiceSettings, readSystemDataKeys } from '../stores/serviceSettingsStore.js';
import type { InstanceLookup, SealedInstance } from './instanceResolver.js';

/**
 * Looks instances up in the database, with the rights of a service process: a few functions, no table. Where the scope is
 * `shared`, and nowhere else, an instance comes with the credential that an admin set in place of one of its own (12.19).
 */
export function createInstanceLookup(db: Queryable, scope: CredentialScope = 'per-user'): InstanceLookup {
  const complete = async (row: Row | null): Promise<SealedInstance | null> => {
    if (row === null) return null;
    const instance = toSealedInstance(row);
    return scope === 'shared' ? await withShared(db, instance) : instance;
  };
  return {
    byDigest: async (digest, service) => complete(await resolveInstance(db, digest, service)),
    byId: async (id, service, options) => complete(await resolveInstanceById(db, id, service, options)),
  };
}

async function withShared(db: Queryable, instance: SealedInstance): Promise<SealedInstance> {
  const [settings, dataKeys] = await Promise.all([
    readServiceSettings(db, instance.service),
    readSystemDataKeys(db),
  ]);
  const shared = settings?.sharedCredential ?? null;
  return {
    ...instance,
    ownRevision: instance.credentialMethod === null ? null : instance.credentialRevision,
    credentialMethod: shared?.method ?? null,
    credentialRevision: shared?.revision ?? 0,
    sealedCredential: shared?.sealed ?? null,
    ...(settings === null ? {} : { sharedRow: { id: settings.id, dataKeys } }),
  };
}

function toSealedInstance(row: Row): SealedInstance {
  const { id, userId, service, label, epoch, state, credential, overrides, dataKeys, expiresAt } = row;
  return {
    id,
    userId,
    service,
    label,
    epoch,
    state,
    isActive: row.isActive && row.userStatus === 'active',
    expiresAt,
    credentialMethod: credential?.method ?? null,
    credentialRevision: credential?.revision ?? 0,
    sealedCredential: credential?.sealed ?? null,
    overridesRevision: overrides?.revision ?? 0,
    sealedOverrides: overrides?.sealed ?? null,
    dataKeys,
  };
}
