import type { Queryable } from '../database/queryable.js';
import {
  resolveInstance,
  resolveInstanceById,
  type ResolvedInstance as Row,
} from '../stores/instanceLookupStore.js';
import type { InstanceLookup, SealedInstance } from './instanceResolver.js';

/** Looks instances up in the database, with the rights of a service process: two functions, no table. */
export function createInstanceLookup(db: Queryable): InstanceLookup {
  return {
    byDigest: async (digest, service) => toSealedInstance(await resolveInstance(db, digest, service)),
    byId: async (id, service, options) =>
      toSealedInstance(await resolveInstanceById(db, id, service, options)),
  };
}

function toSealedInstance(row: Row | null): SealedInstance | null {
  if (row === null) return null;
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
