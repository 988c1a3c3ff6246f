/**
 * Showing an instance URL again: only to its owner, only after a recent sign-in, and never without an audit row in the
 * same transaction (12.12).
 */
import { AppError } from '../../errors/appError.js';
import type { Queryable } from '../../database/queryable.js';
import { findInstance, listInstances, type Instance } from '../../stores/instancesStore.js';
import { recordActorChange, type Actor } from '../changeAudit.js';
import {
  asSelf,
  hasRecentSignIn,
  lockInstance,
  noInstance,
  type InstanceName,
  type InstanceParts,
} from './instanceParts.js';
import {
  toInstanceUrl,
  toInstanceView,
  type RevealedUrl,
  type ShownInstance,
  type UrlPart,
} from './instanceView.js';

export const howToReveal =
  'The URL is shown after a sign-in of the last 15 minutes: sign in again, then ask for it once more.';
const hidden: UrlPart = { instanceId: null, instanceUrl: null, reveal: howToReveal };

/** Opens the URL of a row; the caller has checked the sign-in and audits. */
export async function openUrl(
  { vault, publicUrl }: Pick<InstanceParts, 'vault' | 'publicUrl'>,
  db: Queryable,
  instance: Instance,
): Promise<RevealedUrl> {
  if (instance.sealedUrl === null) {
    throw new AppError('CREDENTIAL_UNREADABLE', `instance ${instance.id} has no sealed URL`);
  }
  const instanceId = await vault.openInstanceId(db, instance, instance.urlRevision, instance.sealedUrl);
  return { instanceId, instanceUrl: toInstanceUrl(publicUrl, instanceId, instance.service) };
}

/** I02: one instance, with its URL if the sign-in is recent. @throws AppError NOT_FOUND with setup instructions. */
export async function showInstance(
  parts: InstanceParts,
  actor: Actor,
  name: InstanceName,
): Promise<ShownInstance> {
  return asSelf(parts, actor, async (db) => {
    const instance = await findInstance(db, { userId: actor.userId, ...name });
    if (instance === null) throw noInstance(parts, name);
    const [shown] = await show(parts, db, actor, [instance]);
    return shown as ShownInstance;
  });
}

/** I03: all instances of the caller. */
export async function showInstances(parts: InstanceParts, actor: Actor): Promise<ShownInstance[]> {
  return asSelf(parts, actor, async (db) => show(parts, db, actor, await listInstances(db, actor.userId)));
}

/** @throws AppError REAUTHENTICATION_REQUIRED, NOT_FOUND. */
export async function revealInstance(
  parts: InstanceParts,
  actor: Actor,
  name: InstanceName,
): Promise<RevealedUrl & { readonly id: string; readonly label: string }> {
  if (!hasRecentSignIn(actor, parts.now())) {
    throw new AppError('REAUTHENTICATION_REQUIRED', 'a reveal without a recent sign-in', {
      publicDetail: howToReveal,
    });
  }
  return asSelf(parts, actor, async (db) => {
    const instance = await lockInstance(parts, db, actor, name);
    const url = await openUrl(parts, db, instance);
    await recordReveal(db, actor, [instance]);
    return { ...url, id: instance.id, label: instance.label };
  });
}

async function show(
  parts: InstanceParts,
  db: Queryable,
  actor: Actor,
  instances: readonly Instance[],
): Promise<ShownInstance[]> {
  const now = parts.now();
  if (instances.length === 0) return [];
  if (!hasRecentSignIn(actor, now)) {
    return instances.map((instance) => ({ ...toInstanceView(instance, now), ...hidden }));
  }
  const shown: ShownInstance[] = [];
  for (const instance of instances) {
    shown.push({ ...toInstanceView(instance, now), ...(await openUrl(parts, db, instance)) });
  }
  await recordReveal(db, actor, instances);
  return shown;
}

async function recordReveal(db: Queryable, actor: Actor, instances: readonly Instance[]): Promise<void> {
  for (const { id, service, label } of instances) {
    await recordActorChange(db, actor, {
      action: 'instance.url_revealed',
      target: { kind: 'instance', id },
      service,
      details: { label },
    });
  }
}
