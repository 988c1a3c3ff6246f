/**
 * Opens what an instance's owner sealed, for one call, and lays the effective values over each other: the defaults of the
 * service's file, the admin's values, then the user's overrides and credential (03 rule 5). Where the scope is `shared`
 * the credential is the one that an admin sealed for all users; nowhere else is that one looked at (12.19, A09). Only the
 * DEK (≤60 s) and the values of an instance in use (≤5 s since the last use) stay in memory, and none of it outlives a
 * change of the instance, of its owner or of the service's settings (12.17).
 */
import { randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { CredentialMethod, ServiceDefinition } from '../catalog/serviceDefinition.js';
import { AppError } from '../errors/appError.js';
import type { Dek } from '../vault/dataKey.js';
import { open, readDekId, seal, type RecordBinding } from '../vault/sealedRecord.js';
import type { CredentialValues } from './credentialValues.js';
import type { ChangeSource, SealedInstance } from './instanceResolver.js';
import { findDefaults } from './fieldDefaults.js';
import { toRecordBinding, toSharedBinding } from './recordBindings.js';
import { parseGrant, toGrantFields, type TokenGrant } from './oauth/tokenGrant.js';
import { encodeFieldValues, parseFieldValues, type FieldValues } from './sealedValues.js';
import { isSignIn } from './setupInstructions.js';
import { unwrapWith, type VaultGate } from './vaultKeys.js';

export interface CredentialOpener extends Disposable {
  /**
   * The values of a call. @throws AppError CREDENTIAL_MISSING when the service needs a credential and there is none,
   * CREDENTIAL_UNREADABLE, SEALED.
   */
  open(instance: SealedInstance): CredentialValues;
  /** The same, and nothing is kept: for what is only being checked. */
  openOnce(instance: SealedInstance): CredentialValues;
  /** What was granted by a sign-in with the service, whole. @throws AppError CREDENTIAL_UNREADABLE, SEALED */
  openGrant(instance: SealedInstance): TokenGrant;
  /** Seals a renewed grant as that instance's credential of that revision. @throws AppError CREDENTIAL_UNREADABLE, SEALED */
  sealGrant(instance: SealedInstance, revision: number, grant: TokenGrant): Buffer;
}

export interface CredentialOpenerOptions {
  readonly definition: Pick<ServiceDefinition, 'name' | 'credentials' | 'adminConfig' | 'userOverrides'>;
  readonly vault: VaultGate;
  readonly changes: ChangeSource;
}

type DataKeys = SealedInstance['dataKeys'];

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
    if (change.kind === 'service' && change.service !== null && change.service !== definition.name) return;
    deks.clear();
    opened.clear();
  });
  const stopOfRing = vault.onRing(() => {
    deks.clear();
    opened.clear();
  });

  const dekOf = (keys: DataKeys, binding: RecordBinding, id: string): Dek => {
    // Whose DEK it is lies in the key as well: one that was unwrapped for a user is never taken for the system's.
    const key = `${binding.userId}/${id}`;
    const known = deks.get(key);
    if (known !== undefined) return known;
    const row = keys.find((one) => one.id === id);
    if (row === undefined) throw new AppError('CREDENTIAL_UNREADABLE', `DEK ${id} of the owner is gone`);
    const fresh = unwrapWith(vault, { ...row, ownerId: binding.userId });
    deks.set(key, fresh);
    return fresh;
  };

  const openRecord = (record: Buffer, keys: DataKeys, binding: RecordBinding): FieldValues => {
    const plaintext = open(dekOf(keys, binding, readDekId(record)), record, binding);
    try {
      return parseFieldValues(plaintext);
    } finally {
      plaintext.fill(0);
    }
  };

  const openCredential = (instance: SealedInstance): FieldValues => {
    const { sealedCredential: record, credentialRevision: revision, sharedRow } = instance;
    const { installId } = vault.keys();
    if (record === null) return new Map();
    if (definition.credentials.scope !== 'shared') {
      const binding = toRecordBinding(installId, 'sealed_credential', instance, revision);
      return openRecord(record, instance.dataKeys, binding);
    }
    if (sharedRow === undefined) {
      throw new AppError(
        'CREDENTIAL_UNREADABLE',
        'the shared credential came without the row that it is sealed for',
      );
    }
    return openRecord(record, sharedRow.dataKeys, toSharedBinding(installId, sharedRow, revision));
  };

  const openOverrides = (instance: SealedInstance): FieldValues => {
    const { sealedOverrides: record, overridesRevision: revision } = instance;
    if (record === null || !definition.userOverrides.allow) return new Map();
    const binding = toRecordBinding(vault.keys().installId, 'sealed_overrides', instance, revision);
    const { keys } = definition.userOverrides;
    return new Map(
      [...openRecord(record, instance.dataKeys, binding)].filter(([name]) => keys.includes(name)),
    );
  };

  const openFresh = (instance: SealedInstance): CredentialValues => {
    const { methods } = definition.credentials;
    const method = methods.find(({ id }) => id === instance.credentialMethod) ?? null;
    if (isCredentialMissing(definition, method, instance)) {
      throw new AppError('CREDENTIAL_MISSING', `instance ${instance.id} has no credential`);
    }
    const record = openCredential(instance);
    const isGrant = method !== null && isSignIn(method) && record.size > 0;
    const grant = isGrant ? parseGrant(record) : null;
    // Of a grant the access token alone is for templates.
    const stored = grant === null ? record : new Map([['token', grant.accessToken]]);
    const credential = [...findDefaults(method?.fields ?? [], stored), ...stored];
    const own = openOverrides(instance);
    const { fields: settings, merge } = definition.userOverrides;
    const admin = Object.entries(definition.adminConfig);
    const layers = merge === 'user-wins' ? [...admin, ...own] : [...own, ...admin];
    const fields = new Map([...findDefaults(settings, new Map(layers)), ...layers, ...credential]);
    const revision = instance.credentialRevision;
    if (grant !== null) return { token: grant.accessToken, fields, revision, ...toRenewal(grant) };
    const token = method?.tokenField == null ? null : (fields.get(method.tokenField) ?? null);
    return { token, fields, revision };
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
    openOnce: openFresh,
    openGrant: (instance) => parseGrant(openCredential(instance)),
    sealGrant(instance, revision, grant) {
      const newest = instance.dataKeys[0];
      if (newest === undefined) throw new AppError('CREDENTIAL_UNREADABLE', 'the owner has no DEK');
      const binding = toRecordBinding(vault.keys().installId, 'sealed_credential', instance, revision);
      const plaintext = encodeFieldValues(toGrantFields(grant));
      try {
        return seal(dekOf(instance.dataKeys, binding, newest.id), plaintext, binding, randomBytes);
      } finally {
        plaintext.fill(0);
      }
    },
    [Symbol.dispose]() {
      clearInterval(sweep);
      stop();
      stopOfRing();
      deks.clear();
      opened.clear();
    },
  };
}

/** Nothing stands in for a credential that a service needs: not the admin's values, not another user's (A09). */
function isCredentialMissing(
  { credentials: { scope, methods } }: Pick<ServiceDefinition, 'credentials'>,
  method: CredentialMethod | null,
  { sealedCredential, credentialMethod }: SealedInstance,
): boolean {
  switch (scope) {
    case 'none':
    case 'per-user-optional':
      return false;
    case 'shared':
      return sealedCredential === null && methods.some(({ type }) => type !== 'none');
    case 'per-user':
      if (method?.type === 'none') return false;
      // Stored while the service asked for none: an empty record is no credential.
      return sealedCredential === null || (method === null && credentialMethod === 'none');
  }
}

const marginMsMax = 5 * 60_000;
/** Servers count in whole seconds, and a call takes its time to get there. */
const marginMsMin = 2_000;

/**
 * When to renew: in the last fifth of its life, five minutes before its end at most. Half of that margin is left to
 * chance, so that what was granted together is not renewed together.
 */
function toRenewal({ refreshToken, obtainedAt, expiresAt }: TokenGrant): Pick<CredentialValues, 'renewal'> {
  if (refreshToken === null || expiresAt === null) return {};
  const life = expiresAt - obtainedAt;
  const margin = Math.min(life / 5, marginMsMax) * (0.5 + Math.random() / 2);
  return { renewal: { dueAt: expiresAt - Math.max(margin, Math.min(marginMsMin, life / 2)), expiresAt } };
}
