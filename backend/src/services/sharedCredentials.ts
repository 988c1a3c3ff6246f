/**
 * The credential that an admin sets once for all users of a service whose scope is `shared` (12.19): sealed under the
 * system's DEK, checked by the service's process before it counts, and never shown again.
 */
import type { ServiceDefinition } from '../catalog/serviceDefinition.js';
import { withUser } from '../database/withUser.js';
import type { Queryable } from '../database/queryable.js';
import { AppError } from '../errors/appError.js';
import {
  findServiceSettings,
  removeSharedCredential,
  saveSharedCredential,
  type ServiceSettings,
} from '../stores/serviceSettingsStore.js';
import { markAudited } from './auditedError.js';
import { recordActorChange, type Actor } from './changeAudit.js';
import { readCredential, type CredentialInput, type GivenCredential } from './credentialInput.js';
import { serviceAway, toIdentityLabel } from './instanceManager/authenticateInstance.js';
import { getEnabledService, getVisibleService, type InstanceParts } from './instanceManager/instanceParts.js';
import type { ProbeAnswer } from './probeClient.js';

export interface SharedCredentialView {
  readonly serviceType: string;
  readonly title: string;
  readonly configured: boolean;
  readonly method: string | null;
  readonly fields: readonly { readonly name: string; readonly label: string; readonly isSet: boolean }[];
  /** Who the service says that it belongs to. */
  readonly identity: string | null;
  /** False when the service has no way to check it beforehand. */
  readonly isVerified: boolean;
  readonly updatedAt: string | null;
}

export interface SharedCredentials {
  /** @throws AppError SERVICE_UNKNOWN, CONFLICT when the service shares none, CREDENTIAL_UNREADABLE. */
  get(actor: Actor, service: string): Promise<SharedCredentialView>;
  /**
   * @throws AppError SERVICE_UNKNOWN, SERVICE_UNAVAILABLE, CONFLICT when the service shares none, INVALID_REQUEST,
   * CREDENTIAL_REJECTED, UPSTREAM_UNREACHABLE, VERSION_CONFLICT, SEALED.
   */
  put(actor: Actor, service: string, given: GivenCredential): Promise<SharedCredentialView>;
  /** @throws AppError SERVICE_UNKNOWN, NOT_FOUND. */
  remove(actor: Actor, service: string): Promise<void>;
}

export type SharedCredentialsParts = InstanceParts & { readonly newId: () => string };

/** A credential that waits for the service's word. */
interface Candidate {
  readonly settingsId: string;
  /** Of the settings that it was made for; 0 when there were none. */
  readonly version: number;
  readonly revision: number;
  readonly sealed: Buffer;
}

type Accepted = Extract<ProbeAnswer, { outcome: 'accepted' | 'unverified' }>;

export function createSharedCredentials(parts: SharedCredentialsParts): SharedCredentials {
  const asAdmin = <T>({ userId }: Actor, work: (db: Queryable) => Promise<T>): Promise<T> =>
    withUser(parts.pool, { userId, scope: 'admin' }, work);

  const view = async (
    db: Queryable,
    definition: ServiceDefinition,
    settings: ServiceSettings | null,
  ): Promise<SharedCredentialView> => {
    const stored = settings?.sharedCredential ?? null;
    const set =
      settings === null || stored === null
        ? new Map<string, string>()
        : await parts.vault.openShared(db, settings, stored.revision, stored.sealed);
    const method = definition.credentials.methods.find(({ id }) => id === stored?.method);
    return {
      serviceType: definition.name,
      title: definition.title,
      configured: stored !== null,
      method: stored?.method ?? null,
      fields: (method?.fields ?? []).map(({ name, label }) => ({ name, label, isSet: set.has(name) })),
      identity: stored?.identityLabel ?? null,
      isVerified: stored !== null && stored.checkedAt !== null,
      updatedAt: stored?.updatedAt.toISOString() ?? null,
    };
  };

  const sealCandidate = async (
    db: Queryable,
    service: string,
    input: CredentialInput,
  ): Promise<Candidate> => {
    const settings = await findServiceSettings(db, service);
    const settingsId = settings?.id ?? parts.newId();
    const revision = (settings?.lastSharedRevision ?? 0) + 1;
    const sealed = await parts.vault.sealShared(db, { id: settingsId }, revision, input.fields);
    return { settingsId, version: settings?.version ?? 0, revision, sealed };
  };

  const store = async (
    db: Queryable,
    actor: Actor,
    definition: ServiceDefinition,
    { settingsId: id, version, revision, sealed }: Candidate,
    method: string,
    answer: Accepted,
  ): Promise<SharedCredentialView> => {
    const isVerified = answer.outcome === 'accepted';
    const checkedAt = isVerified ? new Date(parts.now()) : null;
    const credential = { method, revision, sealed, identityLabel: toIdentityLabel(answer), checkedAt };
    const change = { id, service: definition.name, credential, updatedBy: actor.userId, version };
    const settings = await saveSharedCredential(db, change);
    if (settings === null) {
      throw new AppError('VERSION_CONFLICT', `the settings of ${definition.name} changed during the check`, {
        publicDetail: 'Another admin changed this at the same time; look at it and try again.',
      });
    }
    await recordActorChange(db, actor, {
      action: 'shared_credential.stored',
      target: { kind: 'service', id: definition.name },
      service: definition.name,
      details: { method, revision, isVerified },
    });
    return view(db, definition, settings);
  };

  return {
    async get(actor, service) {
      const definition = getSharing(getVisibleService(parts, service, actor));
      return asAdmin(actor, async (db) => view(db, definition, await findServiceSettings(db, service)));
    },
    async put(actor, service, given) {
      parts.vault.requireOpen();
      const definition = getSharing(getEnabledService(parts, service, actor));
      const input = readCredential(definition, given, parts.publicUrl);
      if (!input.isCredential) throw nothingToShare(definition);
      const { methodId } = input;
      const candidate = await asAdmin(actor, (db) => sealCandidate(db, service, input));
      const answer = await parts.probes.probeShared(definition, {
        ...candidate,
        methodId,
        userId: actor.userId,
      });
      if (answer.outcome === 'accepted' || answer.outcome === 'unverified') {
        return asAdmin(actor, (db) => store(db, actor, definition, candidate, methodId, answer));
      }
      const refusal = toRefusal(definition, answer);
      await asAdmin(actor, (db) =>
        recordActorChange(db, actor, {
          action: 'shared_credential.refused',
          target: { kind: 'service', id: service },
          service,
          outcome: 'failure',
          errorCode: refusal.code,
          details: { method: methodId },
        }),
      );
      throw markAudited(refusal);
    },
    async remove(actor, service) {
      // A service that no longer shares one may still have the one from before.
      getVisibleService(parts, service, actor);
      await asAdmin(actor, async (db) => {
        if (!(await removeSharedCredential(db, service, actor.userId))) {
          throw new AppError('NOT_FOUND', `${service} has no shared credential`, {
            publicDetail: 'There is no shared credential to delete.',
          });
        }
        await recordActorChange(db, actor, {
          action: 'shared_credential.deleted',
          target: { kind: 'service', id: service },
          service,
        });
      });
    },
  };
}

function getSharing(definition: ServiceDefinition): ServiceDefinition {
  const { name, title, credentials } = definition;
  if (credentials.scope === 'shared') return definition;
  throw new AppError('CONFLICT', `the credentials of ${name} are ${credentials.scope}`, {
    publicDetail: `${title} takes no shared credential: the scope in its file is "${credentials.scope}".`,
  });
}

function nothingToShare({ name, title }: ServiceDefinition): AppError {
  return new AppError('INVALID_REQUEST', `the method for ${name} has no credential`, {
    publicDetail: `${title} needs no credential by this method, so there is none to share.`,
    fields: [{ pointer: '/method', message: 'has no credential' }],
  });
}

function toRefusal(definition: ServiceDefinition, answer: Exclude<ProbeAnswer, Accepted>): AppError {
  const { name, title } = definition;
  switch (answer.outcome) {
    case 'rejected':
      return new AppError('CREDENTIAL_REJECTED', `${name} rejected the shared credential`, {
        publicDetail: answer.reason,
      });
    case 'unreachable':
      return new AppError('UPSTREAM_UNREACHABLE', `${name} could not be reached for the check`, {
        publicDetail: `${title} could not be reached to check the credential: ${answer.reason} Nothing was stored; try again.`,
      });
    case 'away':
      return serviceAway(definition, answer.reason);
  }
}
