/**
 * The service's tool policy, on lists and on calls alike: what is hidden cannot be called, and a renamed tool answers to
 * its new name only (03 rule 8). Every path to a tool goes through here.
 */
import type { ToolPolicy } from '../../../catalog/servicePolicies.js';
import { isJsonObject, type JsonObject } from '../protocol/jsonRpc.js';

export interface ToolGate {
  /** True when the policy changes nothing: lists pass as they are. */
  readonly isOpen: boolean;
  /** A listed tool as clients see it, or null when it is hidden. */
  show(tool: JsonObject): JsonObject | null;
  /** A `tools/list` result as clients see it. */
  showList(result: JsonObject): JsonObject;
  /** The upstream's name of a tool that a client named, or null when no visible tool can have that name. */
  toUpstreamName(shown: string): string | null;
  /** Whether a call needs the tool's listed annotations: only read-only tools pass, and this one is not named in `allow`. */
  needsAnnotations(upstreamName: string): boolean;
}

export function createToolGate(policy: ToolPolicy): ToolGate {
  const allow = policy.allow.map(toPattern);
  const deny = policy.deny.map(toPattern);
  const named = new Set(policy.allow.filter((glob) => !/[*?]/.test(glob)));
  const rename = new Map(Object.entries(policy.rename));
  const original = new Map([...rename].map(([upstream, shown]) => [shown, upstream]));
  const describe = new Map(Object.entries(policy.describe));
  const isOpen = allow.length + deny.length + rename.size + describe.size === 0 && !policy.readOnlyDefault;

  const isNameAllowed = (name: string): boolean =>
    (allow.length === 0 || allow.some((pattern) => pattern.test(name))) &&
    !deny.some((pattern) => pattern.test(name));
  const needsAnnotations = (name: string): boolean => policy.readOnlyDefault && !named.has(name);

  const show = (tool: JsonObject): JsonObject | null => {
    const { name } = tool;
    if (typeof name !== 'string' || !isNameAllowed(name)) return null;
    if (needsAnnotations(name) && !isReadOnly(tool)) return null;
    const shown = rename.get(name);
    const description = describe.get(name);
    // A tool of the upstream that happens to bear a name that we gave to another one would be called in its place.
    if (shown === undefined && original.has(name)) return null;
    return {
      ...tool,
      ...(shown === undefined ? {} : { name: shown }),
      ...(description === undefined ? {} : { description }),
    };
  };

  return {
    isOpen,
    show,
    showList(result) {
      const { tools } = result;
      if (isOpen || !Array.isArray(tools)) return result;
      return {
        ...result,
        tools: tools
          .filter(isJsonObject)
          .map(show)
          .filter((tool) => tool !== null),
      };
    },
    toUpstreamName(shown) {
      if (isOpen) return shown;
      const name = original.get(shown) ?? shown;
      return (rename.get(name) ?? name) === shown && isNameAllowed(name) ? name : null;
    },
    needsAnnotations,
  };
}

export function isReadOnly({ annotations }: JsonObject): boolean {
  return isJsonObject(annotations) && annotations['readOnlyHint'] === true;
}

/** A glob in which `*` stands for any characters and `?` for one. */
function toPattern(glob: string): RegExp {
  const source = glob
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`, 'su');
}
