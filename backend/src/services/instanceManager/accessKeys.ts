/**
 * The access keys of an instance: made after a recent sign-in and shown once, listed without themselves, revoked for good.
 * They may be made before the mode asks for one, so that whoever uses the instance has theirs in time.
 */
import { randomUUID } from 'node:crypto';
import { AppError } from '../../errors/appError.js';
import {
  createAccessKey,
  listAccessKeys,
  revokeAccessKey,
  type AccessKey,
} from '../../stores/accessKeysStore.js';
import { findInstance } from '../../stores/instancesStore.js';
import { recordActorChange, type Actor } from '../changeAudit.js';
import {
  asSelf,
  changeAsSelf,
  hasRecentSignIn,
  lockInstance,
  noInstance,
  type InstanceName,
  type InstanceParts,
} from './instanceParts.js';

/** Keys of one instance at a time; who has left gets theirs revoked. */
export const accessKeysMax = 50;

export interface WantedAccessKey {
  /** Whose or for what it is. */
  readonly name: string;
  readonly expiresAt: Date | null;
}

/** The key itself is in this and nowhere else. */
export type NewAccessKey = AccessKey & { readonly key: string };

/** @throws AppError REAUTHENTICATION_REQUIRED, NOT_FOUND, INVALID_REQUEST, CONFLICT for too many, SEALED. */
export async function createInstanceKey(
  parts: InstanceParts,
  actor: Actor,
  name: InstanceName,
  wanted: WantedAccessKey,
): Promise<NewAccessKey> {
  if (!hasRecentSignIn(actor, parts.now())) {
    throw new AppError('REAUTHENTICATION_REQUIRED', 'an access key without a recent sign-in', {
      publicDetail: 'An access key is made after a sign-in of the last 15 minutes: sign in again.',
    });
  }
  if (wanted.expiresAt !== null && wanted.expiresAt.getTime() <= parts.now()) {
    throw new AppError('INVALID_REQUEST', 'an access key that has ended already', {
      fields: [{ pointer: '/expiresAt', message: 'must be a time in the future' }],
    });
  }
  return asSelf(parts, actor, async (db) => {
    const instance = await lockInstance(parts, db, actor, name);
    if ((await listAccessKeys(db, instance)).length >= accessKeysMax) {
      throw new AppError('CONFLICT', 'too many access keys', {
        publicDetail: `The instance has ${accessKeysMax} access keys; delete one that is no longer used.`,
      });
    }
    const { key, hint, digest } = parts.vault.createAccessKey();
    const created = await createAccessKey(db, instance, { ...wanted, id: randomUUID(), hint, digest });
    await recordActorChange(db, actor, {
      action: 'access_key.created',
      target: { kind: 'access_key', id: created.id },
      service: name.service,
      details: { label: name.label, instance: instance.id, expires: wanted.expiresAt !== null },
    });
    return { ...created, key };
  });
}

/** Newest first. @throws AppError NOT_FOUND for no such instance. */
export async function listInstanceKeys(
  parts: InstanceParts,
  actor: Actor,
  name: InstanceName,
): Promise<readonly AccessKey[]> {
  return asSelf(parts, actor, async (db) => {
    const instance = await findInstance(db, { userId: actor.userId, ...name });
    if (instance === null) throw noInstance(parts, name);
    return listAccessKeys(db, instance);
  });
}

/** What came with the key is cut within 2 s of it. @throws AppError NOT_FOUND. */
export async function revokeInstanceKey(
  parts: InstanceParts,
  actor: Actor,
  name: InstanceName,
  keyId: string,
): Promise<void> {
  await changeAsSelf(parts, actor, name.service, async (db, noteChanged) => {
    const instance = await lockInstance(parts, db, actor, name);
    noteChanged(instance.id);
    if (!(await revokeAccessKey(db, instance, keyId))) {
      throw new AppError('NOT_FOUND', 'no live access key of this id and instance');
    }
    await recordActorChange(db, actor, {
      action: 'access_key.revoked',
      target: { kind: 'access_key', id: keyId },
      service: name.service,
      details: { label: name.label, instance: instance.id },
    });
  });
}
