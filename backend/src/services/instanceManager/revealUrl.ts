/**
 * Showing an instance URL again: only to its owner, only after a recent sign-in, and never without an audit row (12.12).
 * The row is in the same transaction; a listing that a session asks for again within a minute is told of already.
 */
import { AppError } from '../../errors/appError.js';
import type { ErrorCode } from '../../errors/errorCodes.js';
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
import type { RevealNotes } from './revealNotes.js';
import {
  toInstanceUrl,
  toInstanceView,
  type RevealedUrl,
  type ShownInstance,
  type UrlPart,
} from './instanceView.js';

/** What showing takes: the manager remembers which reveals were audited lately. */
export type ShowParts = InstanceParts & { readonly reveals: RevealNotes };

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
  parts: ShowParts,
  actor: Actor,
  name: InstanceName,
): Promise<ShownInstance> {
  const [shown] = await showWith(parts, actor, async (db) => {
    const instance = await findInstance(db, { userId: actor.userId, ...name });
    if (instance === null) throw noInstance(parts, name);
    return [instance];
  });
  return shown as ShownInstance;
}

/** I03: all instances of the caller. One whose URL cannot be opened comes without it and with the reason. */
export async function showInstances(parts: ShowParts, actor: Actor): Promise<ShownInstance[]> {
  return showWith(parts, actor, (db) => listInstances(db, actor.userId));
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
    await recordReveal(db, actor, { id: instance.id, serviceType: instance.service, label: instance.label });
    return { ...url, id: instance.id, label: instance.label };
  });
}

async function showWith(
  parts: ShowParts,
  actor: Actor,
  find: (db: Queryable) => Promise<readonly Instance[]>,
): Promise<ShownInstance[]> {
  const now = parts.now();
  const isRecent = hasRecentSignIn(actor, now);
  const shown = await asSelf(parts, actor, async (db) => {
    const instances = await find(db);
    const all: ShownInstance[] = [];
    for (const instance of instances) {
      const url = isRecent ? await openOrSayWhy(parts, db, instance) : hidden;
      all.push({ ...toInstanceView(parts, instance), ...url });
    }
    if (!parts.reveals.isTold(actor.via, idsOfRevealed(all))) await recordListing(db, actor, all);
    return all;
  });
  parts.reveals.note(actor.via, idsOfRevealed(shown));
  return shown;
}

/** What concerns one instance's URL alone takes nothing else from its owner. */
async function openOrSayWhy(parts: ShowParts, db: Queryable, instance: Instance): Promise<UrlPart> {
  try {
    return await openUrl(parts, db, instance);
  } catch (error) {
    const reason = error instanceof AppError ? reasons[error.code] : undefined;
    if (reason === undefined) throw error;
    return { instanceId: null, instanceUrl: null, reveal: reason };
  }
}

const reasons: Partial<Record<ErrorCode, string>> = {
  CREDENTIAL_UNREADABLE: 'The URL cannot be read any more: rotate it.',
  SEALED: 'The keys of this installation are away; the URL is shown again once an admin has put them back.',
};

const idsOfRevealed = (shown: readonly ShownInstance[]): string[] =>
  shown.filter(({ instanceUrl }) => instanceUrl !== null).map(({ id }) => id);

/** One row, however many URLs the listing shows; it names every instance whose URL was in it. */
async function recordListing(db: Queryable, actor: Actor, shown: readonly ShownInstance[]): Promise<void> {
  const revealed = shown.filter(({ instanceUrl }) => instanceUrl !== null);
  const [first, ...others] = revealed;
  if (first === undefined) return;
  if (others.length === 0) return recordReveal(db, actor, first);
  await recordActorChange(db, actor, {
    action: 'instance.urls_revealed',
    target: { kind: 'user', id: actor.userId },
    details: { count: revealed.length, instances: revealed.map(({ id }) => id) },
  });
}

async function recordReveal(
  db: Queryable,
  actor: Actor,
  { id, serviceType, label }: Pick<ShownInstance, 'id' | 'serviceType' | 'label'>,
): Promise<void> {
  await recordActorChange(db, actor, {
    action: 'instance.url_revealed',
    target: { kind: 'instance', id },
    service: serviceType,
    details: { label },
  });
}
