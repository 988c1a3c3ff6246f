/**
 * Opens what an instance's owner sealed, for one call, and lays the effective values over each other: the admin's, then
 * the user's credential and overrides (03 rule 5). Only the DEK (≤60 s) and the values of an instance in use (≤5 s since
 * the last use) stay in memory, and none of it outlives a change of the instance or of its owner (12.17).
 */
import { LRUCache } from 'lru-cache';
import type { ServiceDefinition } from '../catalog/serviceDefinition.js';
import { AppError } from '../errors/appError.js';
import { unwrapDek, type Dek } from '../vault/dataKey.js';
import { open } from '../vault/sealedRecord.js';
import type { CredentialValues } from './credentialValues.js';
import type { ChangeSource, SealedInstance } from './instanceResolver.js';
import { toRecordBinding } from './recordBindings.js';
import type { VaultGate } from './vaultKeys.js';

export interface CredentialOpener extends Disposable {
  /**
   * The values of a call. @throws AppError CREDENTIAL_MISSING when the service needs a credential and there is none,
   * CREDENTIAL_UNREADABLE, SEALED.
   */
  open(sealed: SealedInstance): CredentialValues;
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

  const dekOf = (sealed: SealedInstance): Dek => {
    const { dek, userId } = sealed;
    if (dek === null) throw new AppError('CREDENTIAL_UNREADABLE', 'the owner has no DEK');
    const known = deks.get(dek.id);
    if (known !== undefined) return known;
    const { ring, installId } = vault.keys();
    const fresh = unwrapDek(ring, installId, { ...dek, ownerId: userId });
    deks.set(dek.id, fresh);
    return fresh;
  };

  const readFields = (
    sealed: SealedInstance,
    column: 'sealed_credential' | 'sealed_overrides',
  ): [string, string][] => {
    const record = column === 'sealed_credential' ? sealed.sealedCredential : sealed.sealedOverrides;
    if (record === null) return [];
    const plaintext = open(dekOf(sealed), record, toRecordBinding(vault.keys().installId, column, sealed));
    try {
      return parseFields(plaintext);
    } finally {
      plaintext.fill(0);
    }
  };

  const openFresh = (sealed: SealedInstance): CredentialValues => {
    const { scope, methods } = definition.credentials;
    const method = methods.find(({ id }) => id === sealed.credentialMethod) ?? null;
    const needsNone = method?.type === 'none' || scope === 'none' || scope === 'shared';
    if (sealed.sealedCredential === null && !needsNone && scope !== 'per-user-optional') {
      throw new AppError('CREDENTIAL_MISSING', `instance ${sealed.id} has no credential`);
    }
    const credential = readFields(sealed, 'sealed_credential');
    const { allow, keys, merge } = definition.userOverrides;
    const overrides = allow
      ? readFields(sealed, 'sealed_overrides').filter(([name]) => keys.includes(name))
      : [];
    const admin = Object.entries(definition.adminConfig);
    const fields = new Map(
      merge === 'user-wins'
        ? [...admin, ...overrides, ...credential]
        : [...overrides, ...admin, ...credential],
    );
    const token = method?.tokenField == null ? null : (fields.get(method.tokenField) ?? null);
    return { token, fields };
  };

  return {
    open(sealed) {
      const key = `${sealed.id}/${sealed.epoch}/${sealed.credentialRevision}/${sealed.overridesRevision}`;
      const known = changes.isUp ? opened.get(key) : undefined;
      if (known !== undefined) return known;
      const values = openFresh(sealed);
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

/** The plaintext of both columns is a JSON object of text by name. */
function parseFields(plaintext: Buffer): [string, string][] {
  const value: unknown = JSON.parse(plaintext.toString('utf8'));
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new AppError('CREDENTIAL_UNREADABLE', 'a sealed value has an unknown form');
  }
  return Object.entries(value).map(([name, text]) => {
    if (typeof text !== 'string')
      throw new AppError('CREDENTIAL_UNREADABLE', 'a sealed value has an unknown form');
    return [name, text];
  });
}
