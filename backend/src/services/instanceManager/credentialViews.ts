/**
 * Credentials as their owner manages them (I06): what is configured for which service, which fields are set, and taking
 * one away. A value never comes back out.
 */
import { AppError } from '../../errors/appError.js';
import type { ServiceDefinition } from '../../catalog/serviceDefinition.js';
import { removeCredential } from '../../stores/instanceCredentialsStore.js';
import { findInstance, listInstances, type Instance } from '../../stores/instancesStore.js';
import { readSealedCredential } from '../../stores/instanceProbesStore.js';
import { listSharedServices } from '../../stores/serviceSettingsStore.js';
import { recordActorChange, type Actor } from '../changeAudit.js';
import { prepareRevocation } from '../oauth/revokeGrant.js';
import { isVisibleTo } from '../publicCatalog.js';
import { toMissingInstructions, type SetupInstructions } from '../setupInstructions.js';
import {
  asSelf,
  changeAsSelf,
  changedMeanwhile,
  getVisibleService,
  lockInstance,
  usesShared,
  type InstanceName,
  type InstanceParts,
} from './instanceParts.js';

export interface CredentialSummary {
  readonly serviceType: string;
  readonly title: string;
  /** Null for a service that was never connected. */
  readonly label: string | null;
  /** Whether a credential is stored: the user's own, or the one that an admin shares. */
  readonly configured: boolean;
  /** Whether a call needs a credential of the user's own. */
  readonly required: boolean;
  readonly method: string | null;
  readonly identity: string | null;
  readonly state: Instance['state'];
}

export interface CredentialView extends CredentialSummary {
  readonly fields: readonly { readonly name: string; readonly label: string; readonly isSet: boolean }[];
  readonly requiresSetup: boolean;
  /** What to do when it is not configured. */
  readonly setup: SetupInstructions | null;
}

/** Every service that the caller sees, once for each instance of theirs, or once without one. */
export async function listCredentials(parts: InstanceParts, actor: Actor): Promise<CredentialSummary[]> {
  const [instances, shared] = await asSelf(parts, actor, async (db) => [
    await listInstances(db, actor.userId),
    new Set(await listSharedServices(db)),
  ]);
  return parts.registry
    .list()
    .filter((definition) => isVisibleTo(definition, actor.role))
    .flatMap((definition) => {
      const mine = instances.filter(({ service }) => service === definition.name);
      return mine.length === 0
        ? [toSummary(definition, null, shared)]
        : mine.map((instance) => toSummary(definition, instance, shared));
    });
}

/** @throws AppError SERVICE_UNKNOWN, CREDENTIAL_UNREADABLE. */
export async function getCredential(
  parts: InstanceParts,
  actor: Actor,
  name: InstanceName,
): Promise<CredentialView> {
  const definition = getVisibleService(parts, name.service, actor);
  return asSelf(parts, actor, async (db) => {
    const instance = await findInstance(db, { userId: actor.userId, ...name });
    const shared = new Set(await listSharedServices(db));
    const summary = { ...toSummary(definition, instance, shared), label: name.label };
    const stored = instance === null ? null : await readSealedCredential(db, instance);
    const set =
      stored === null || instance === null
        ? new Map<string, string>()
        : await parts.vault.openFields(db, instance, 'sealed_credential', stored.revision, stored.sealed);
    const method = definition.credentials.methods.find(({ id }) => id === summary.method);
    const requiresSetup = (summary.required || usesShared(definition)) && !summary.configured;
    return {
      ...summary,
      fields: (method?.fields ?? []).map((field) => ({
        name: field.name,
        label: field.label,
        isSet: set.has(field.name),
      })),
      requiresSetup,
      setup: requiresSetup ? toMissingInstructions(definition, parts.publicUrl) : null,
    };
  });
}

/** Wipes the credential and keeps the URL. @throws AppError NOT_FOUND when there is no instance or no credential. */
export async function deleteCredential(
  parts: InstanceParts,
  actor: Actor,
  name: InstanceName,
): Promise<void> {
  const revoke = await changeAsSelf(parts, actor, name.service, async (db, noteChanged) => {
    const instance = await lockInstance(parts, db, actor, name);
    noteChanged(instance.id);
    if (instance.credentialMethod === null) {
      throw new AppError('NOT_FOUND', `instance ${instance.id} has no credential`, {
        publicDetail: 'There is no credential to delete.',
      });
    }
    const revocation = await prepareRevocation(parts, db, instance);
    if ((await removeCredential(db, instance)) === null) {
      throw changedMeanwhile(`instance ${instance.id} is gone`);
    }
    await recordActorChange(db, actor, {
      action: 'credential.deleted',
      target: { kind: 'instance', id: instance.id },
      service: name.service,
      details: { label: name.label, method: instance.credentialMethod },
    });
    return revocation;
  });
  await revoke();
}

/** @param shared the services for which an admin set a credential. */
function toSummary(
  definition: ServiceDefinition,
  instance: Instance | null,
  shared: ReadonlySet<string>,
): CredentialSummary {
  const { scope } = definition.credentials;
  return {
    serviceType: definition.name,
    title: definition.title,
    label: instance?.label ?? null,
    configured: usesShared(definition)
      ? shared.has(definition.name)
      : instance !== null && instance.credentialMethod !== null,
    required: scope === 'per-user',
    method: instance?.credentialMethod ?? null,
    identity: instance?.identityLabel ?? null,
    state: instance?.state ?? 'not_configured',
  };
}
