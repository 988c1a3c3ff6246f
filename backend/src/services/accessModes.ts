/**
 * The access modes that there are in this release, and which of two asks for more. An admin sets a minimum for the
 * installation (`ACCESS_MODE_MINIMUM`) and for a service (`access.minimumMode` in its file); the stricter one holds, for
 * instances that were made before it as well.
 */
import type { ServiceDefinition } from '../catalog/serviceDefinition.js';
import type { Config } from '../config/config.js';

export const accessModes = ['url', 'url+token'] as const;
export type UsableAccessMode = (typeof accessModes)[number];

export function stricterMode(one: UsableAccessMode, other: UsableAccessMode): UsableAccessMode {
  return one === 'url' ? other : one;
}

/** What instances of this service need at least. */
export function toMinimumMode(
  { accessModeMinimum }: Pick<Config, 'accessModeMinimum'>,
  { access }: Pick<ServiceDefinition, 'access'>,
): UsableAccessMode {
  return stricterMode(accessModeMinimum, access.minimumMode);
}
