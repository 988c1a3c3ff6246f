import { addressMatcher } from '../addresses/addressBlocks.js';
import type { CredentialScope } from '../catalog/serviceDefinition.js';
import type { Queryable } from '../database/queryable.js';
import {
  resolveInstance,
  resolveInstanceById,
  resolveInstances,
  type ResolvedInstance as Row,
} from '../stores/instanceLookupStore.js';
import { readServiceSettings, readSystemDataKeys } from '../stores/serviceSettingsStore.js';
import { createBatches } from './batches.js';
import type { InstanceLookup, SealedInstance } from './instanceResolver.js';

/**
 * Looks instances up in the database, with the rights of a service process: a few functions, no table. Where the scope is
 * `shared`, and nowhere else, an instance comes with the credential that an admin set in place of one of its own (12.19).
 */
export function createInstanceLookup(db: Queryable, scope: CredentialScope = 'per-user'): InstanceLookup {
  const complete = async (row: Row | null, askedAt: number): Promise<SealedInstance | null> => {
    if (row === null) return null;
    const instance = toSealedInstance(row, askedAt);
    return scope === 'shared' ? await withShared(db, instance) : instance;
  };
  // A process looks up those of its own service only.
  const lookUps = new Map<string, (digest: Buffer) => Promise<Row | null>>();
  const lookUpOf = (service: string): ((digest: Buffer) => Promise<Row | null>) => {
    const load = async (digests: readonly Buffer[]): Promise<(Row | null)[]> => {
      const [first, ...others] = digests;
      if (first === undefined || others.length > 0) return await resolveInstances(db, digests, service);
      return [await resolveInstance(db, first, service)];
    };
    const known = lookUps.get(service) ?? createBatches({ load });
    lookUps.set(service, known);
    return known;
  };
  return {
    async byDigest(digest, service) {
      const askedAt = performance.now();
      return complete(await lookUpOf(service)(digest), askedAt);
    },
    async byId(id, service, options) {
      const askedAt = performance.now();
      return complete(await resolveInstanceById(db, id, service, options), askedAt);
    },
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

/** @param askedAt when the database was asked, so that an end is never taken to be later than it is. */
function toSealedInstance(row: Row, askedAt: number): SealedInstance {
  const { id, userId, service, label, epoch, state, credential, overrides, dataKeys } = row;
  return {
    id,
    userId,
    service,
    label,
    epoch,
    state,
    isActive: row.isActive && row.userStatus === 'active',
    endsAtMs: row.expiresInMs === null ? Infinity : askedAt + row.expiresInMs,
    accessMode: row.accessMode,
    isFrom: row.allowedCidrs.length === 0 ? null : addressMatcher(row.allowedCidrs),
    credentialMethod: credential?.method ?? null,
    credentialRevision: credential?.revision ?? 0,
    sealedCredential: credential?.sealed ?? null,
    overridesRevision: overrides?.revision ?? 0,
    sealedOverrides: overrides?.sealed ?? null,
    dataKeys,
  };
}
