/**
 * Connecting a service (I01): seal → stage → let the service's process check it → use it or forget it. What is in use is
 * touched only once the real service has accepted the new credential; no plaintext leaves this process (12.10, 12.13).
 */
import { randomUUID } from 'node:crypto';
import { AppError } from '../../errors/appError.js';
import type { ServiceDefinition } from '../../catalog/serviceDefinition.js';
import type { Queryable } from '../../database/queryable.js';
import {
  discardStagedCredential,
  promoteStagedCredential,
  stageCredential,
} from '../../stores/instanceCredentialsStore.js';
import {
  createInstance,
  findInstance,
  findInstanceById,
  listInstances,
  type Instance,
} from '../../stores/instancesStore.js';
import { lockForUser } from '../../stores/userLocks.js';
import { markAudited } from '../auditedError.js';
import { recordActorChange, type Actor } from '../changeAudit.js';
import { toCredentialInput, type CredentialInput, type GivenCredential } from '../credentialInput.js';
import type { ProbeAnswer } from '../probeClient.js';
import {
  asSelf,
  changeAsSelf,
  changedMeanwhile,
  getEnabledService,
  hasRecentSignIn,
  minimumModeOf,
  requireServed,
  requireShared,
  usesShared,
  type InstanceName,
  type InstanceParts,
} from './instanceParts.js';
import { toInstanceView, type InstanceView, type UrlPart } from './instanceView.js';
import { howToReveal, openUrl } from './revealUrl.js';

export interface Authenticated {
  /** False when a credential of an instance was replaced; its URL is the same as before. */
  readonly isNew: boolean;
  readonly message: string;
  readonly view: InstanceView;
  readonly url: UrlPart;
}

interface Staged {
  readonly id: string;
  readonly revision: number;
}

type Accepted = Extract<ProbeAnswer, { outcome: 'accepted' | 'unverified' }>;

/**
 * @throws AppError SERVICE_UNKNOWN, SERVICE_UNAVAILABLE, INVALID_REQUEST, CONFLICT (a limit, or the instance is paused),
 * CREDENTIAL_REJECTED, CREDENTIAL_MISSING (an admin has to share one first), UPSTREAM_UNREACHABLE, UPSTREAM_FAILED,
 * VERSION_CONFLICT, SEALED.
 */
export async function authenticateInstance(
  parts: InstanceParts,
  actor: Actor,
  name: InstanceName,
  given: GivenCredential,
): Promise<Authenticated> {
  parts.vault.requireOpen();
  const definition = getEnabledService(parts, name.service, actor);
  return storeChecked(parts, actor, name, definition, toCredentialInput(definition, given, parts.publicUrl));
}

/**
 * Seals, stages, has checked and promotes: the way of every credential of a user, whoever it came from.
 * @throws AppError as `authenticateInstance`; what came of it is audited.
 */
export async function storeChecked(
  parts: InstanceParts,
  actor: Actor,
  name: InstanceName,
  definition: ServiceDefinition,
  input: CredentialInput,
): Promise<Authenticated> {
  const staged = await asSelf(parts, actor, (db) => stage(parts, db, actor, definition, name, input));
  const answer = await parts.probes.probe(definition, {
    instanceId: staged.id,
    staged: true,
    methodId: input.methodId,
  });
  if (answer.outcome === 'accepted' || answer.outcome === 'unverified') {
    const promoted = await changeAsSelf(parts, actor, name.service, (db, noteChanged) => {
      noteChanged(staged.id);
      return promote(parts, db, actor, name, staged, answer);
    });
    return { ...promoted, message: toMessage(definition, input, answer) };
  }
  const refusal = toRefusal(definition, input, answer);
  await asSelf(parts, actor, (db) => discard(db, actor, name, staged, refusal));
  throw markAudited(refusal);
}

async function stage(
  parts: InstanceParts,
  db: Queryable,
  actor: Actor,
  definition: ServiceDefinition,
  name: InstanceName,
  input: CredentialInput,
): Promise<Staged> {
  const { userId } = actor;
  await requireShared(parts, db, definition);
  await lockForUser(db, 'instances', userId, name.service);
  const known = await findInstance(db, { userId, ...name }, { forUpdate: true });
  if (known !== null) requireServed(known, parts.now());
  const instance = known ?? (await addInstance(parts, db, definition, userId, name));
  const revision = instance.lastCredentialRevision + 1;
  const staged = await stageCredential(
    db,
    { userId, id: instance.id },
    {
      method: input.methodId,
      revision,
      sealed: await parts.vault.sealFields(db, instance, 'sealed_credential', revision, input.fields),
    },
  );
  if (staged === null) throw changedMeanwhile(`revision ${revision} of instance ${instance.id} is taken`);
  return { id: instance.id, revision };
}

/** The caller holds the lock on the user's instances of this service, so that counting is safe. */
async function addInstance(
  parts: InstanceParts,
  db: Queryable,
  definition: ServiceDefinition,
  userId: string,
  { service, label }: InstanceName,
): Promise<Instance> {
  const { multiple, maxPerUser } = definition.credentials;
  const others = await listInstances(db, userId, service);
  const [first] = others;
  if (!multiple && first !== undefined) {
    throw new AppError('CONFLICT', `${service} allows one instance a user`, {
      publicDetail: `${definition.title} allows one instance for each user; yours has the label "${first.label}".`,
    });
  }
  if (others.length >= maxPerUser) {
    throw new AppError('CONFLICT', `${service} allows ${maxPerUser} instances a user`, {
      publicDetail: `${definition.title} allows ${maxPerUser} instances for each user; disconnect one first.`,
    });
  }
  const row = { id: randomUUID(), userId };
  const { lookup, sealedUrl } = await parts.vault.createInstanceId(db, row, definition.instancePrefix, 1);
  const accessMode = minimumModeOf(parts, service);
  return createInstance(db, { ...row, service, label, lookup, sealedUrl, accessMode });
}

async function promote(
  parts: InstanceParts,
  db: Queryable,
  actor: Actor,
  { service, label }: InstanceName,
  staged: Staged,
  answer: Accepted,
): Promise<Omit<Authenticated, 'message'>> {
  const key = { userId: actor.userId, id: staged.id };
  const before = await findInstanceById(db, key, { forUpdate: true });
  const instance = await promoteStagedCredential(db, key, {
    revision: staged.revision,
    state: answer.outcome === 'accepted' ? 'ready' : 'checking',
    identityLabel: toIdentityLabel(answer),
  });
  if (before === null || instance === null) {
    throw changedMeanwhile(`the staged credential of instance ${staged.id} is gone`);
  }
  // Only promoting sets the time of a check, so a row without one is new, whoever made it.
  const isNew = before.lastCheckedAt === null;
  const isShown = isNew || hasRecentSignIn(actor, parts.now());
  await recordActorChange(db, actor, {
    action: isNew ? 'instance.created' : 'credential.replaced',
    target: { kind: 'instance', id: staged.id },
    service,
    details: {
      label,
      method: instance.credentialMethod,
      isVerified: answer.outcome === 'accepted',
      isUrlRevealed: isShown,
    },
  });
  return {
    isNew,
    view: toInstanceView(parts, instance),
    url: isShown
      ? await openUrl(parts, db, instance)
      : { instanceId: null, instanceUrl: null, reveal: howToReveal },
  };
}

async function discard(
  db: Queryable,
  actor: Actor,
  { service, label }: InstanceName,
  staged: Staged,
  refusal: AppError,
): Promise<void> {
  const key = { userId: actor.userId, id: staged.id };
  const before = await findInstanceById(db, key, { forUpdate: true });
  const removeIfNew = before !== null && before.lastCheckedAt === null;
  const left = await discardStagedCredential(db, key, { revision: staged.revision, removeIfNew });
  await recordActorChange(db, actor, {
    action: 'credential.refused',
    target: { kind: 'instance', id: staged.id },
    service,
    outcome: 'failure',
    errorCode: refusal.code,
    details: { label, instance: left },
  });
}

function toRefusal(
  definition: ServiceDefinition,
  input: CredentialInput,
  answer: Exclude<ProbeAnswer, Accepted>,
): AppError {
  const { name, title } = definition;
  switch (answer.outcome) {
    case 'rejected':
      // Without a credential there is nothing that the user could enter in its place.
      return input.isCredential
        ? new AppError('CREDENTIAL_REJECTED', `${name} rejected the credential`, {
            publicDetail: answer.reason,
          })
        : usesShared(definition)
          ? new AppError('UPSTREAM_FAILED', `${name} rejected the shared credential`, {
              publicDetail: `${title} does not accept the credential that an admin set for everybody: ${answer.reason} Ask an admin to replace it.`,
            })
          : new AppError('UPSTREAM_FAILED', `${name} refused to start`, { publicDetail: answer.reason });
    case 'unreachable':
      return new AppError('UPSTREAM_UNREACHABLE', `${name} could not be reached for the check`, {
        publicDetail: `${title} could not be reached to check the credential: ${answer.reason} Nothing was stored; try again.`,
      });
    case 'away':
      return serviceAway(definition, answer.reason);
  }
}

/** The service's process could not be asked, so nothing was stored. */
export function serviceAway({ name, title }: ServiceDefinition, reason: string): AppError {
  return new AppError('SERVICE_UNAVAILABLE', `mcp-${name}: ${reason}`, {
    publicDetail: `${title} is not running here right now, so the credential could not be checked. Nothing was changed; try again in a minute, and ask an admin if it stays so.`,
    retryAfterSeconds: 15,
  });
}

/** As short and plain as the database keeps it; control characters have no place in a name. */
export function toIdentityLabel(answer: Accepted): string | null {
  if (answer.outcome === 'unverified') return null;
  const label = answer.identity?.label ?? answer.identity?.id;
  if (label === undefined) return null;
  const plain = Array.from(label.replaceAll(/\p{Cc}/gu, ' ').trim())
    .slice(0, 200)
    .join('');
  return plain === '' ? null : plain;
}

function toMessage(definition: ServiceDefinition, input: CredentialInput, answer: Accepted): string {
  const { title } = definition;
  const identity = toIdentityLabel(answer);
  if (usesShared(definition)) {
    return `${title} is connected. It works with the credential that an admin set for everybody.`;
  }
  if (!input.isCredential) {
    return `${title} is connected. It asks for no credential, so none is stored.`;
  }
  if (answer.outcome === 'unverified') {
    return `The credential is stored. ${title} has no way to check it beforehand, so the first call will tell.`;
  }
  return identity === null ? `${title} accepted the credential.` : `Connected to ${title} as ${identity}.`;
}
