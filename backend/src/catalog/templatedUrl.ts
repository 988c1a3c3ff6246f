/** The URLs of a config, fixed or with a credential's value in them. */
import type { Value } from './configSchema/valueSchemas.js';
import type { ConfigReading } from './configReading.js';
import type { EgressPolicy, TemplatedValue } from './serviceDefinition.js';
import { checkUrl } from './urlChecks.js';

export interface TemplatedUrl {
  readonly value: TemplatedValue;
  /** The host, when the file fixes it. */
  readonly hosts: readonly string[];
}

/**
 * A URL of the config. Where the host itself comes from a credential, `egress.allowHosts` has to say which ones there
 * may be.
 */
export function toTemplatedUrl(
  value: Value,
  pointer: string,
  egress: EgressPolicy,
  reading: ConfigReading,
): TemplatedUrl {
  const result = reading.toValue(value, pointer, 'url');
  if (result === null) {
    if (typeof value === 'object' && 'optional' in value && value.optional === true) {
      reading.refuse(pointer, 'cannot be optional');
    }
    return { value: '', hosts: [] };
  }
  const sample =
    typeof result === 'string'
      ? result
      : result.parts.map((part) => ('literal' in part ? part.literal : sampleValue)).join('');
  const first = typeof result === 'string' ? result : result.parts[0];
  const opening =
    typeof first === 'string' ? first : first !== undefined && 'literal' in first ? first.literal : '';
  const hostIsFixed = typeof result === 'string' || /^https?:\/\/[^/?#]+[/?#]/.test(opening);
  const verdict = checkUrl(sample, { allowPrivate: egress.allowPrivate });
  if ('message' in verdict) {
    reading.refuse(pointer, verdict.message);
    return { value: '', hosts: [] };
  }
  if (typeof result !== 'string' && !/^https?:\/\//.test(opening)) {
    reading.refuse(pointer, 'must begin with http:// or https:// as it stands');
  }
  if (hostIsFixed) return { value: result, hosts: [verdict.url.hostname] };
  if (egress.allowHosts.length === 0) {
    reading.refuse(
      pointer,
      'takes its host from a credential: list the hosts there may be in egress.allowHosts',
    );
  }
  return { value: result, hosts: [] };
}

/** Stands for a credential's value while the rest is checked: it could be a host, a part of one, or of a path. */
const sampleValue = 'x.example.com';

/** A fixed URL of the file is allowed by itself. */
export const withHosts = (egress: EgressPolicy, hosts: readonly string[]): EgressPolicy => ({
  allowHosts: [...new Set([...egress.allowHosts, ...hosts])],
  allowPrivate: egress.allowPrivate,
});
