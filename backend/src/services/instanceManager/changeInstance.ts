/** Rotate, pause, resume, rename, terms of access and delete: each one transaction with its audit row, and void elsewhere ≤2 s (05). */
import { setAccess } from '../../stores/instanceAccessStore.js';
import {
  deleteInstance,
  renameInstance,
  rotateUrl,
  setActive,
  type Instance,
} from '../../stores/instancesStore.js';
import { recordActorChange, type Actor } from '../changeAudit.js';
import { prepareRevocation } from '../oauth/revokeGrant.js';
import { toAccessDetails, toNewAccess, type AccessChange } from './accessTerms.js';
import {
  changeAsSelf,
  changedMeanwhile,
  getVisibleService,
  lockInstance,
  type InstanceName,
  type InstanceParts,
} from './instanceParts.js';
import { toInstanceUrl, toInstanceView, type InstanceView, type RevealedUrl } from './instanceView.js';

/** How long a URL may live on after a rotation. */
export const graceSecondsMax = 7 * 86_400;

/**
 * Gives the instance a new URL. The old one is dead with the commit, or after the grace.
 * @throws AppError NOT_FOUND, SERVICE_UNKNOWN, SEALED.
 */
export async function rotateInstance(
  parts: InstanceParts,
  actor: Actor,
  name: InstanceName,
  { graceSeconds }: { readonly graceSeconds: number },
): Promise<InstanceView & RevealedUrl> {
  const { instancePrefix } = getVisibleService(parts, name.service, actor);
  return changeAsSelf(parts, actor, name.service, async (db, noteChanged) => {
    const before = await lockInstance(parts, db, actor, name);
    noteChanged(before.id);
    const urlRevision = before.urlRevision + 1;
    const fresh = await parts.vault.createInstanceId(db, before, instancePrefix, urlRevision);
    const graceUntil = graceSeconds === 0 ? null : new Date(parts.now() + graceSeconds * 1_000);
    const { lookup, sealedUrl, instanceId } = fresh;
    const instance = await rotateUrl(db, before, { lookup, sealedUrl, urlRevision, graceUntil });
    if (instance === null) throw changedMeanwhile(`the URL of instance ${before.id} was rotated meanwhile`);
    await recordActorChange(db, actor, {
      action: 'instance.url_rotated',
      target: { kind: 'instance', id: instance.id },
      service: name.service,
      details: { label: name.label, graceSeconds },
    });
    return {
      ...toInstanceView(parts, instance),
      instanceId,
      instanceUrl: toInstanceUrl(parts.publicUrl, instanceId, name.service),
    };
  });
}

export interface InstanceChange extends AccessChange {
  /** False pauses: the URL answers like none at all until it is resumed. */
  readonly isActive?: boolean;
  readonly label?: string;
}

/**
 * @throws AppError NOT_FOUND, CONFLICT when the label is taken, INVALID_REQUEST for terms of access that cannot be,
 * REAUTHENTICATION_REQUIRED for terms that are wider.
 */
export async function changeInstance(
  parts: InstanceParts,
  actor: Actor,
  name: InstanceName,
  change: InstanceChange,
): Promise<InstanceView> {
  return changeAsSelf(parts, actor, name.service, async (db, noteChanged) => {
    const before = await lockInstance(parts, db, actor, name);
    noteChanged(before.id);
    let instance: Instance | null = before;
    const { isActive, label } = change;
    if (isActive !== undefined && isActive !== before.isActive) {
      instance = await setActive(db, before, isActive);
    }
    if (label !== undefined && label !== before.label) instance = await renameInstance(db, before, label);
    const access = toNewAccess(parts, actor, before, change);
    if (access !== null) instance = await setAccess(db, before, access, access);
    if (instance === null) throw changedMeanwhile(`instance ${before.id} is gone`);
    await recordActorChange(db, actor, {
      action: toAction(before, instance, access !== null),
      target: { kind: 'instance', id: before.id },
      service: name.service,
      details: {
        label: before.label,
        newLabel: instance.label,
        isActive: instance.isActive,
        ...(access === null ? {} : toAccessDetails(access)),
      },
    });
    return toInstanceView(parts, instance);
  });
}

/** Revokes for good, at the service as well where it granted the credential. @throws AppError NOT_FOUND. */
export async function disconnectInstance(
  parts: InstanceParts,
  actor: Actor,
  name: InstanceName,
): Promise<void> {
  const revoke = await changeAsSelf(parts, actor, name.service, async (db, noteChanged) => {
    const instance = await lockInstance(parts, db, actor, name);
    noteChanged(instance.id);
    const revocation = await prepareRevocation(parts, db, instance);
    if (!(await deleteInstance(db, instance))) throw changedMeanwhile(`instance ${instance.id} is gone`);
    await recordActorChange(db, actor, {
      action: 'instance.deleted',
      target: { kind: 'instance', id: instance.id },
      service: name.service,
      details: { label: name.label },
    });
    return revocation;
  });
  await revoke();
}

function toAction(before: Instance, after: Instance, isOfAccess: boolean): string {
  if (before.isActive && !after.isActive) return 'instance.paused';
  if (!before.isActive && after.isActive) return 'instance.resumed';
  return isOfAccess ? 'instance.access_changed' : 'instance.renamed';
}
