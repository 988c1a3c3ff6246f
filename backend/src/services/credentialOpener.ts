/**
 * Opens what an instance's owner sealed, for one call, and lays the effective values over each other: the admin's, then
 * the user's credential and overrides (03 rule 5). Only the DEK (≤60 s) and the values of an instance in use (≤5 s since
 * the last use) stay in memory, and none of it outlives a change of the instance or of its owner (12.17).
 */
import { LRUCache } from 'lru-cache';
import type { ServiceDefinition } from '../catalog/serviceDefinition.js';
import { AppError } from '../errors/appError.js';
import { unwrapDek, type Dek } from '../vault/dataKey.js';
import { open, readDekId } from '../vault/sealedRecord.js';
import type { CredentialValues } from './credentialValues.js';
import type { ChangeSource, SealedInstance } from './instanceResolver.js';
import { toRecordBinding } from './recordBindings.js';
import { parseFieldValues, type FieldValues } from './sealedValues.js';
import type { VaultGate } from './vaultKeys.js';

export interface CredentialOpener extends Disposable {
  /**
   * The values of a call. @throws AppError CREDENTIAL_MISSING when the service needs a credential and there is none,
   * CREDENTIAL_UNREADABLE, SEALED.
   */
  open(instance: SealedInstance): CredentialValues;
}

export interface CredentialOpenerOptions {
  readonly definition: Pick<ServiceDefinition, 'name' | 'credentials' | 'adminConfig' | 'userOverrides'>;
  readonly vault: VaultGate;
  readonly changes: ChangeSource;
}

const dekAgeMsMax = 60_000;
const valuesIdleMsMax = 5_000;

export function createCredentialOpener({
  definition,
  vault,
  changes,
}: CredentialOpenerOptions): CredentialOpener {
  const deks = new LRUCache<string, Dek>({ max: 5_000, ttl: dekAgeMsMax });
  const opened = new LRUCache<string, CredentialValues>({
    max: 5_000,
    ttl: valuesIdleMsMax,
    updateAgeOnGet: true,
  });
  const sweep = setInterval(() => {
    deks.purgeStale();
    opened.purgeStale();
  }, valuesIdleMsMax).unref();
  const stop = changes.onChange((change) => {
    if (change.kind === 'instance') {
      for (const key of Array.from(opened.keys())) if (key.startsWith(change.instanceId)) opened.delete(key);
      return;
    }
    deks.clear();
    opened.clear();
  });

  const dekOf = (instance: SealedInstance, record: Buffer): Dek => {
    const id = readDekId(record);
    const known = deks.get(id);
    if (known !== undefined) return known;
    const row = instance.dataKeys.find((key) => key.id === id);
    if (row === undefined) throw new AppError('CREDENTIAL_UNREADABLE', `DEK ${id} of the owner is gone`);
    const { ring, installId } = vault.keys();
    const fresh = unwrapDek(ring, installId, { ...row, ownerId: instance.userId });
    deks.set(id, fresh);
    return fresh;
  };

  const openColumn = (
    instance: SealedInstance,
    column: 'sealed_credential' | 'sealed_overrides',
    record: Buffer | null,
    revision: number,
  ): FieldValues => {
    if (record === null) return new Map();
    const binding = toRecordBinding(vault.keys().installId, column, instance, revision);
    const plaintext = open(dekOf(instance, record), record, binding);
    try {
      return parseFieldValues(plaintext);
    } finally {
      plaintext.fill(0);
    }
  };

  const openFresh = (instance: SealedInstance): CredentialValues => {
    const { scope, methods } = definition.credentials;
    const method = methods.find(({ id }) => id === instance.credentialMethod) ?? null;
    const needsNone = method?.type === 'none' || scope !== 'per-user';
    if (instance.sealedCredential === null && !needsNone) {
      throw new AppError('CREDENTIAL_MISSING', `instance ${instance.id} has no credential`);
    }
    const { sealedCredential, credentialRevision, sealedOverrides, overridesRevision } = instance;
    const credential = openColumn(instance, 'sealed_credential', sealedCredential, credentialRevision);
    const { allow, keys, merge } = definition.userOverrides;
    const overrides = allow
      ? [...openColumn(instance, 'sealed_overrides', sealedOverrides, overridesRevision)].filter(([name]) =>
          keys.includes(name),
        )
      : [];
    const admin = Object.entries(definition.adminConfig);
    const layers = merge === 'user-wins' ? [...admin, ...overrides] : [...overrides, ...admin];
    const fields = new Map([...layers, ...credential]);
    const token = method?.tokenField == null ? null : (fields.get(method.tokenField) ?? null);
    return { token, fields };
  };

  return {
    open(instance) {
      const key = `${instance.id}/${instance.epoch}/${instance.credentialRevision}/${instance.overridesRevision}`;
      const known = changes.isUp ? opened.get(key) : undefined;
      if (known !== undefined) return known;
      const values = openFresh(instance);
      if (changes.isUp) opened.set(key, values);
      return values;
    },
    [Symbol.dispose]() {
      clearInterval(sweep);
      stop();
      deks.clear();
      opened.clear();
    },
  };
}
