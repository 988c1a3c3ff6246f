/**
 * Settings that a config may hold but that nothing enforces in this release: the loader warns of each that is written
 * down, with what happens instead, so that no admin relies on a promise that is not kept. Whoever enforces one removes
 * its entry here.
 */
import type { FoundProblem } from './configProblem.js';
import { toPointer } from './configText.js';
import { kindsWithUpstream, type ServiceKind } from './serviceDefinition.js';

interface UnenforcedSetting {
  /** The keys from the top of the file; `*` stands for every entry of a list. */
  readonly path: readonly string[];
  /** Whether a value asks for more than is done; without it every value does. */
  readonly asksForMore?: (value: unknown) => boolean;
  /** The one kind that it concerns; without it all kinds. */
  readonly kind?: ServiceKind;
  /** What happens instead, as the end of a sentence. */
  readonly instead: string;
}

const auditedByDigest = 'the audit keeps a keyed digest and the size of the arguments, which says less';

export const unenforcedSettings: readonly UnenforcedSetting[] = [
  {
    path: ['audit', 'results'],
    asksForMore: (value) => value === 'full',
    instead: 'the audit keeps the size of a result at most, never its content',
  },
  {
    path: ['audit', 'arguments'],
    asksForMore: (value) => value === 'keys' || value === 'redacted' || value === 'full',
    instead: auditedByDigest,
  },
  {
    path: ['visibility', 'groups'],
    asksForMore: (value) => Array.isArray(value) && value.length > 0,
    instead: 'there are no groups yet: the roles that are named see the service, and admins',
  },
  {
    path: ['userOverrides', 'allowTools'],
    asksForMore: (value) => value === true,
    instead: 'users cannot narrow the tools of their instances; toolPolicy holds for all',
  },
  {
    path: ['process', 'instances'],
    asksForMore: (value) => typeof value === 'number' && value > 1,
    kind: 'stdio',
    instead: 'one process runs, since the children of a stdio service belong to one process',
  },
  {
    path: ['credentials', 'methods', '*', 'probe', 'recheckEverySec'],
    instead: 'a credential is checked when it is entered and judged by its calls after that',
  },
];

/** @param config the file's content as it was written, without defaults, so that only what somebody asked for is named. */
export function findUnenforced(config: unknown, kind: ServiceKind): FoundProblem[] {
  // A service that cannot run at all says so itself.
  if (!kindsWithUpstream.includes(kind)) return [];
  return unenforcedSettings
    .filter((setting) => setting.kind === undefined || setting.kind === kind)
    .flatMap(({ path, asksForMore = () => true, instead }) =>
      valuesAt(config, path)
        .filter(({ value }) => asksForMore(value))
        .map(({ pointer }) => ({ pointer, message: `is not enforced in this release: ${instead}` })),
    );
}

function valuesAt(
  value: unknown,
  [key, ...rest]: readonly string[],
  pointer = '',
): { readonly pointer: string; readonly value: unknown }[] {
  if (key === undefined) return [{ pointer, value }];
  if (typeof value !== 'object' || value === null) return [];
  if (key !== '*') {
    const member: unknown = Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined;
    return member === undefined ? [] : valuesAt(member, rest, toPointer(pointer, key));
  }
  return Array.isArray(value)
    ? value.flatMap((item, at) => valuesAt(item, rest, toPointer(pointer, String(at))))
    : [];
}
