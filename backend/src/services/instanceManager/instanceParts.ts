/** What the files of this room share: their dependencies, and the few questions that each of them asks first. */
import { AppError } from '../../errors/appError.js';
import type { ServiceDefinition } from '../../catalog/serviceDefinition.js';
import type { ServiceRegistry } from '../../catalog/serviceRegistry.js';
import type { DatabasePool } from '../../database/pool.js';
import type { Queryable } from '../../database/queryable.js';
import { withUser } from '../../database/withUser.js';
import { findInstance, type Instance } from '../../stores/instancesStore.js';
import { findServiceSettings } from '../../stores/serviceSettingsStore.js';
import { stricterMode, toMinimumMode, type UsableAccessMode } from '../accessModes.js';
import type { Actor } from '../changeAudit.js';
import type { ChangeNotices } from '../changeNotices.js';
import type { CredentialVault } from '../credentialVault.js';
import type { ProbeClient } from '../probeClient.js';
import { isVisibleTo, toPublicReason } from '../publicCatalog.js';
import { toMissingInstructions, toSetupExtension, toSetupInstructions } from '../setupInstructions.js';

export interface InstanceParts {
  /** The main API's own pool, role `portolan_api`. */
  readonly pool: DatabasePool;
  readonly registry: ServiceRegistry;
  readonly vault: CredentialVault;
  readonly probes: ProbeClient;
  readonly notices: Pick<ChangeNotices, 'tell'>;
  readonly publicUrl: URL;
  /** What an admin holds every instance of the installation to. */
  readonly accessModeMinimum: UsableAccessMode;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** An instance as the routes name it: by service and label, always the caller's own. */
export interface InstanceName {
  readonly service: string;
  readonly label: string;
}

export const defaultLabel = 'default';

/** A sign-in counts as recent for this long; an instance URL is shown after a recent one only (12.12). */
export const recentSignInMs = 15 * 60_000;

export function hasRecentSignIn(actor: Actor, now: number): boolean {
  return actor.authenticatedAt !== null && now - actor.authenticatedAt.getTime() <= recentSignInMs;
}

/** Runs `work` as the caller and with nobody else's rows in sight, an admin's neither. */
export function asSelf<T>(
  { pool }: Pick<InstanceParts, 'pool'>,
  actor: Actor,
  work: (db: Queryable) => Promise<T>,
): Promise<T> {
  return withUser(pool, { userId: actor.userId, scope: 'self' }, work);
}

/**
 * The same for what makes an instance another one: once it is committed, the service's process is told of those that
 * `work` says it changed, so that what is answered afterwards holds there as well.
 */
export async function changeAsSelf<T>(
  parts: Pick<InstanceParts, 'pool' | 'registry' | 'notices'>,
  actor: Actor,
  service: string,
  work: (db: Queryable, noteChanged: (instanceId: string) => void) => Promise<T>,
): Promise<T> {
  const changed = new Set<string>();
  const value = await asSelf(parts, actor, (db) => work(db, (instanceId) => void changed.add(instanceId)));
  const definition = parts.registry.find(service);
  if (definition !== null) await Promise.all([...changed].map((id) => parts.notices.tell(definition, id)));
  return value;
}

/** @throws AppError SERVICE_UNKNOWN for one that is not there or not shown to the caller. */
export function getVisibleService(
  { registry }: Pick<InstanceParts, 'registry'>,
  service: string,
  actor: Pick<Actor, 'role'>,
): ServiceDefinition {
  const definition = registry.find(service);
  if (definition === null || !isVisibleTo(definition, actor.role)) {
    throw new AppError('SERVICE_UNKNOWN', 'no such service in the registry for this user');
  }
  return definition;
}

/** @throws AppError SERVICE_UNKNOWN, SERVICE_UNAVAILABLE for a disabled one. */
export function getEnabledService(
  parts: Pick<InstanceParts, 'registry'>,
  service: string,
  actor: Pick<Actor, 'role'>,
): ServiceDefinition {
  const definition = getVisibleService(parts, service, actor);
  if (!definition.enabled) {
    throw new AppError('SERVICE_UNAVAILABLE', `service ${service} is disabled`, {
      publicDetail: `${definition.title}: ${toPublicReason(definition, actor.role) ?? ''}`,
    });
  }
  return definition;
}

/**
 * The caller's instance of that name, its row locked until the transaction ends.
 * @throws AppError NOT_FOUND with the setup instructions.
 */
export async function lockInstance(
  parts: Pick<InstanceParts, 'registry' | 'publicUrl'>,
  db: Queryable,
  actor: Actor,
  name: InstanceName,
): Promise<Instance> {
  const instance = await findInstance(db, { userId: actor.userId, ...name }, { forUpdate: true });
  if (instance === null) throw noInstance(parts, name);
  return instance;
}

export function noInstance(
  { registry, publicUrl }: Pick<InstanceParts, 'registry' | 'publicUrl'>,
  { service, label }: InstanceName,
): AppError {
  const definition = registry.find(service);
  const setup = definition === null ? null : toSetupInstructions(definition, publicUrl);
  return new AppError('NOT_FOUND', `no instance of ${service} under this label`, {
    publicDetail:
      label === defaultLabel
        ? (setup?.instructions ?? 'You have no instance of this service.')
        : 'You have no instance of this service under this label.',
    ...(setup === null ? {} : { extensions: toSetupExtension(setup) }),
  });
}

/**
 * Lets pass unless the service works with a credential that an admin shares and none is set (12.19).
 * @throws AppError CREDENTIAL_MISSING, which says that an admin has to set it.
 */
export async function requireShared(
  { publicUrl }: Pick<InstanceParts, 'publicUrl'>,
  db: Queryable,
  definition: ServiceDefinition,
): Promise<void> {
  if (!usesShared(definition)) return;
  const settings = await findServiceSettings(db, definition.name);
  if (settings !== null && settings.sharedCredential !== null) return;
  const setup = toMissingInstructions(definition, publicUrl);
  throw new AppError('CREDENTIAL_MISSING', `no admin has set the shared credential of ${definition.name}`, {
    publicDetail: setup.instructions,
    extensions: toSetupExtension(setup),
  });
}

/** Whether calls need a credential that an admin shares. */
export function usesShared({ credentials }: Pick<ServiceDefinition, 'credentials'>): boolean {
  return credentials.scope === 'shared' && credentials.methods.some(({ type }) => type !== 'none');
}

/** What instances of this service need at least, whatever their own mode. */
export function minimumModeOf(
  { registry, accessModeMinimum }: Pick<InstanceParts, 'registry' | 'accessModeMinimum'>,
  service: string,
): UsableAccessMode {
  const definition = registry.find(service);
  return definition === null
    ? stricterMode(accessModeMinimum, 'url')
    : toMinimumMode({ accessModeMinimum }, definition);
}

/** @throws AppError CONFLICT for one that answers nobody, whose credential the service's process would not check. */
export function requireServed(instance: Instance, now: number): void {
  if (!instance.isActive) {
    throw new AppError('CONFLICT', `instance ${instance.id} is paused`, {
      publicDetail: 'The instance is paused; resume it first.',
    });
  }
  if (hasEnded(instance, now)) {
    throw new AppError('CONFLICT', `instance ${instance.id} has ended`, {
      publicDetail: 'The instance has ended; extend it first.',
    });
  }
}

export function hasEnded({ expiresAt }: Pick<Instance, 'expiresAt'>, now: number): boolean {
  return expiresAt !== null && expiresAt.getTime() <= now;
}

/** Somebody, mostly the same person in another window, changed the instance between two steps of ours. */
export function changedMeanwhile(what: string): AppError {
  return new AppError('VERSION_CONFLICT', what, {
    publicDetail: 'The instance was changed by another request at the same time; look at it and try again.',
  });
}
