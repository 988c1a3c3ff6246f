/**
 * A user's own values for the settings that a service marks as theirs (I08): service defaults, then the admin's, then the
 * user's, and the user wins unless the service says otherwise. Only marked keys, and only where the service allows it.
 */
import { AppError } from '../../errors/appError.js';
import type { InputField, ServiceDefinition } from '../../catalog/serviceDefinition.js';
import { toPointer } from '../../catalog/configText.js';
import { isDeniedEnvName } from '../../catalog/envNames.js';
import type { Queryable } from '../../database/queryable.js';
import { findInstance, setOverrides, type Instance } from '../../stores/instancesStore.js';
import { recordActorChange, type Actor } from '../changeAudit.js';
import { readForm } from '../inputForm.js';
import {
  asSelf,
  changeAsSelf,
  changedMeanwhile,
  getVisibleService,
  lockInstance,
  noInstance,
  type InstanceName,
  type InstanceParts,
} from './instanceParts.js';

export interface OverridesView {
  readonly serviceType: string;
  readonly label: string;
  readonly allowed: boolean;
  readonly merge: 'user-wins' | 'admin-wins';
  readonly fields: readonly InputField[];
  /** The user's own values; a secret one is only said to be set. */
  readonly values: Readonly<Record<string, string>>;
  readonly setKeys: readonly string[];
  /** Keys for which an admin set a value. */
  readonly adminKeys: readonly string[];
}

/** @throws AppError NOT_FOUND, SERVICE_UNKNOWN, CREDENTIAL_UNREADABLE. */
export async function getOverrides(
  parts: InstanceParts,
  actor: Actor,
  name: InstanceName,
): Promise<OverridesView> {
  const definition = getVisibleService(parts, name.service, actor);
  return asSelf(parts, actor, async (db) => {
    const instance = await findInstance(db, { userId: actor.userId, ...name });
    if (instance === null) throw noInstance(parts, name);
    return toView(definition, instance, await openOverrides(parts, db, instance));
  });
}

/**
 * Replaces all of them; an empty value removes its key.
 * @throws AppError ACCESS_DENIED when the service allows none, INVALID_REQUEST, NOT_FOUND.
 */
export async function putOverrides(
  parts: InstanceParts,
  actor: Actor,
  name: InstanceName,
  given: Readonly<Record<string, string>>,
): Promise<OverridesView> {
  parts.vault.requireOpen();
  const definition = getVisibleService(parts, name.service, actor);
  const values = readOverrides(definition, given);
  return changeAsSelf(parts, actor, name.service, async (db, noteChanged) => {
    const before = await lockInstance(parts, db, actor, name);
    noteChanged(before.id);
    const revision = before.overridesRevision + 1;
    const sealed =
      values.size === 0
        ? null
        : await parts.vault.sealFields(db, before, 'sealed_overrides', revision, values);
    const instance = await setOverrides(db, before, { revision, sealed });
    if (instance === null) throw changedMeanwhile(`the overrides of instance ${before.id} changed`);
    await recordActorChange(db, actor, {
      action: 'instance.overrides_changed',
      target: { kind: 'instance', id: instance.id },
      service: name.service,
      details: { label: name.label, keys: [...values.keys()] },
    });
    return toView(definition, instance, values);
  });
}

function readOverrides(
  { name, title, userOverrides }: ServiceDefinition,
  given: Readonly<Record<string, string>>,
): ReadonlyMap<string, string> {
  if (!userOverrides.allow) {
    throw new AppError('ACCESS_DENIED', `${name} allows no overrides`, {
      publicDetail: `${title} has no settings of your own.`,
    });
  }
  // The loader refuses such keys as well; a name that makes a child load something else never passes here (F06).
  const denied = Object.keys(given).filter(isDeniedEnvName);
  const fields = userOverrides.fields.filter(({ name: key }) => userOverrides.keys.includes(key));
  const { values, wrong } = readForm(
    fields.map((field) => Object.assign({}, field, { required: false, default: null })),
    new Map(Object.entries(given)),
    pointerOf,
  );
  const all = [
    ...denied.map((key) => ({ pointer: pointerOf(key), message: 'may not be set' })),
    ...wrong.filter(({ pointer }) => !denied.map(pointerOf).includes(pointer)),
  ];
  if (all.length > 0) {
    throw new AppError('INVALID_REQUEST', `overrides of ${name} are not valid`, {
      publicDetail: 'Some settings are not valid.',
      fields: all,
    });
  }
  return values;
}

function pointerOf(key: string): string {
  return toPointer('/values', key);
}

async function openOverrides(
  { vault }: InstanceParts,
  db: Queryable,
  instance: Instance,
): Promise<ReadonlyMap<string, string>> {
  const { overridesRevision: revision, sealedOverrides: sealed } = instance;
  return sealed === null ? new Map() : vault.openFields(db, instance, 'sealed_overrides', revision, sealed);
}

function toView(
  { userOverrides, adminConfig }: ServiceDefinition,
  { service, label }: Instance,
  stored: ReadonlyMap<string, string>,
): OverridesView {
  const { allow, merge, fields, keys } = userOverrides;
  const mine = allow ? [...stored].filter(([key]) => keys.includes(key)) : [];
  const secrets = new Set(fields.filter(({ secret }) => secret).map((field) => field.name));
  return {
    serviceType: service,
    label,
    allowed: allow,
    merge,
    fields: allow ? fields : [],
    values: Object.fromEntries(mine.filter(([key]) => !secrets.has(key))),
    setKeys: mine.map(([key]) => key),
    adminKeys: allow ? keys.filter((key) => Object.hasOwn(adminConfig, key)) : [],
  };
}
