/**
 * The sealing side of the vault in the main API: credentials, overrides and instance ids of a user under that user's DEK,
 * what an admin shares under the system's. It also opens what its owner may see again: the instance id and the names of
 * the fields that are set, and moves what it opens to the owner's newest DEK. Opening a credential for a call is `credentialOpener.ts`, in a service process.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { AppError } from '../errors/appError.js';
import type { Queryable } from '../database/queryable.js';
import { moveRecord } from '../stores/sealedRecordsStore.js';
import { findDataKeys, insertDataKey, mayWrap } from '../stores/keysStore.js';
import { lockForUser } from '../stores/userLocks.js';
import { createDek, wrapDek, type Dek } from '../vault/dataKey.js';
import { accessKeyDigest } from '../vault/accessKeyDigest.js';
import { createInstanceId, lookupDigest } from '../vault/instanceId.js';
import { systemOwner } from '../vault/keyWrapping.js';
import { open, readDekId, seal, type RecordBinding } from '../vault/sealedRecord.js';
import { createBearerKey } from './bearerKeys.js';
import {
  toClientBinding,
  toRecordBinding,
  toSharedBinding,
  toSignInBinding,
  type SealedColumn,
} from './recordBindings.js';
import { encodeFieldValues, parseFieldValues, type FieldValues } from './sealedValues.js';
import { unwrapWith, type VaultGate } from './vaultKeys.js';

export interface BoundRow {
  readonly id: string;
  readonly userId: string;
}

export interface SealedInstanceId {
  /** Shown once to the owner; never logged. */
  readonly instanceId: string;
  readonly lookup: Buffer;
  readonly sealedUrl: Buffer;
}

export interface CredentialVault {
  /** @throws AppError SEALED. Asked before anything is written. */
  requireOpen(): void;
  sealFields(
    db: Queryable,
    row: BoundRow,
    column: 'sealed_credential' | 'sealed_overrides',
    revision: number,
    fields: FieldValues,
  ): Promise<Buffer>;
  openFields(
    db: Queryable,
    row: BoundRow,
    column: 'sealed_credential' | 'sealed_overrides',
    revision: number,
    sealed: Buffer,
  ): Promise<FieldValues>;
  /** A new instance id with that prefix, with what the row keeps of it. */
  createInstanceId(
    db: Queryable,
    row: BoundRow,
    prefix: string,
    urlRevision: number,
  ): Promise<SealedInstanceId>;
  openInstanceId(db: Queryable, row: BoundRow, urlRevision: number, sealed: Buffer): Promise<string>;
  /** A new access key, with what its row keeps of it. */
  createAccessKey(): { readonly key: string; readonly hint: string; readonly digest: Buffer };
  /** A credential that an admin shares, for the row of the service's settings. */
  sealShared(
    db: Queryable,
    row: { readonly id: string },
    revision: number,
    fields: FieldValues,
  ): Promise<Buffer>;
  openShared(
    db: Queryable,
    row: { readonly id: string },
    revision: number,
    sealed: Buffer,
  ): Promise<FieldValues>;
  /** What a sign-in with a service needs when its answer comes, under its user's DEK. */
  sealSignIn(db: Queryable, row: BoundRow, fields: FieldValues): Promise<Buffer>;
  openSignIn(db: Queryable, row: BoundRow, sealed: Buffer): Promise<FieldValues>;
  /** A client of this installation's own, under the system's DEK. */
  sealClient(db: Queryable, row: { readonly id: string }, fields: FieldValues): Promise<Buffer>;
  openClient(db: Queryable, row: { readonly id: string }, sealed: Buffer): Promise<FieldValues>;
}

/** All methods run inside the caller's transaction. Besides their own errors they throw SEALED. */
export function createCredentialVault(vault: VaultGate): CredentialVault {
  const unwrap = (row: { id: string; kekId: string; wrapped: Buffer }, ownerId: string): Dek =>
    unwrapWith(vault, { ...row, ownerId });

  /** The owner's newest DEK. A user's is made on first need, and of parallel callers one makes it; set-up made the system's. */
  const sealingDek = async (db: Queryable, userId: string): Promise<Dek> => {
    const newest = (await keysOf(db, userId))[0];
    if (newest !== undefined) return unwrap(newest, userId);
    if (userId === systemOwner) throw new AppError('SEALED', 'the database has no data key of the system');
    await lockForUser(db, 'data-key', userId);
    const meanwhile = (await findDataKeys(db, userId))[0];
    if (meanwhile !== undefined) return unwrap(meanwhile, userId);
    await requireWrapping(db, vault);
    const { ring, installId } = vault.keys();
    const dek = createDek(randomUUID(), randomBytes);
    await insertDataKey(db, {
      ...wrapDek(ring, installId, dek, userId, randomBytes),
      id: dek.id,
      userId,
    });
    return dek;
  };

  const sealAt = async (db: Queryable, place: RecordBinding, plaintext: Buffer): Promise<Buffer> => {
    try {
      return seal(await sealingDek(db, place.userId), plaintext, place, randomBytes);
    } finally {
      plaintext.fill(0);
    }
  };

  const openAt = async (db: Queryable, place: RecordBinding, record: Buffer): Promise<Buffer> => {
    const dekId = readDekId(record);
    const keys = await keysOf(db, place.userId);
    const key = keys.find(({ id }) => id === dekId);
    if (key === undefined) throw new AppError('CREDENTIAL_UNREADABLE', `DEK ${dekId} of the owner is gone`);
    const plaintext = open(unwrap(key, place.userId), record, place);
    const [newest] = keys;
    if (newest !== undefined && newest !== key) {
      // A rotation that is under way or was cut off: what is opened here need not wait for it.
      const moved = seal(unwrap(newest, place.userId), plaintext, place, randomBytes);
      await moveRecord(db, place, record, moved);
    }
    return plaintext;
  };

  const openFieldsAt = async (db: Queryable, place: RecordBinding, record: Buffer): Promise<FieldValues> => {
    const plaintext = await openAt(db, place, record);
    try {
      return parseFieldValues(plaintext);
    } finally {
      plaintext.fill(0);
    }
  };

  const placeOf = (row: BoundRow, column: SealedColumn, revision: number): RecordBinding =>
    toRecordBinding(vault.keys().installId, column, row, revision);

  return {
    requireOpen() {
      vault.keys();
    },
    sealFields: async (db, row, column, revision, fields) =>
      sealAt(db, placeOf(row, column, revision), encodeFieldValues(fields)),
    openFields: async (db, row, column, revision, sealed) =>
      openFieldsAt(db, placeOf(row, column, revision), sealed),
    async createInstanceId(db, row, prefix, urlRevision) {
      const instanceId = createInstanceId(prefix, randomBytes);
      return {
        instanceId,
        lookup: lookupDigest(vault.keys().system.lookup, instanceId),
        sealedUrl: await sealAt(db, placeOf(row, 'sealed_url', urlRevision), Buffer.from(instanceId, 'utf8')),
      };
    },
    async openInstanceId(db, row, urlRevision, sealed) {
      return (await openAt(db, placeOf(row, 'sealed_url', urlRevision), sealed)).toString('utf8');
    },
    createAccessKey() {
      const { key, hint } = createBearerKey(randomBytes);
      return { key, hint, digest: accessKeyDigest(vault.keys().system.lookup, key) };
    },
    sealShared: async (db, row, revision, fields) =>
      sealAt(db, toSharedBinding(vault.keys().installId, row, revision), encodeFieldValues(fields)),
    openShared: async (db, row, revision, sealed) =>
      openFieldsAt(db, toSharedBinding(vault.keys().installId, row, revision), sealed),
    sealSignIn: async (db, row, fields) =>
      sealAt(db, toSignInBinding(vault.keys().installId, row), encodeFieldValues(fields)),
    openSignIn: async (db, row, sealed) =>
      openFieldsAt(db, toSignInBinding(vault.keys().installId, row), sealed),
    sealClient: async (db, row, fields) =>
      sealAt(db, toClientBinding(vault.keys().installId, row), encodeFieldValues(fields)),
    openClient: async (db, row, sealed) =>
      openFieldsAt(db, toClientBinding(vault.keys().installId, row), sealed),
  };
}

/**
 * A key is wrapped under a KEK only while the rotation lets it: a process whose ring is behind reads it again, and is
 * refused if it is behind all the same.
 */
async function requireWrapping(db: Queryable, vault: VaultGate): Promise<void> {
  if (await mayWrap(db, vault.keys().ring.primary.id)) return;
  if (vault.readAgain() && (await mayWrap(db, vault.keys().ring.primary.id))) return;
  throw new AppError('SEALED', 'the key ring of this process is older than the rotation of the KEK', {
    retryAfterSeconds: 2,
  });
}

/** The wrapped DEKs of a user, or of the system. */
function keysOf(db: Queryable, ownerId: string): ReturnType<typeof findDataKeys> {
  return findDataKeys(db, ownerId === systemOwner ? null : ownerId);
}
