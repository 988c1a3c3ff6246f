/** Turns what zod found wrong into JSON pointers (RFC 6901) with a word each on what to do; values are never repeated. */
import type { z } from 'zod';
import type { InvalidField } from '../errors/appError.js';

const fieldsMax = 50;

/** A place in the body is `/email`; one in the path or the query begins with `/path` or `/query`. */
export function toInvalidFields(issues: readonly z.core.$ZodIssue[]): InvalidField[] {
  return issues.slice(0, fieldsMax).flatMap(toFields);
}

function toFields(issue: z.core.$ZodIssue): InvalidField[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.slice(0, fieldsMax).map((key) => ({
      pointer: toPointer([...issue.path, key]),
      message: 'is not known here; leave it out',
    }));
  }
  return [{ pointer: toPointer(issue.path), message: toMessage(issue) }];
}

function toMessage(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined
        ? `is needed: give ${article(issue.expected)}`
        : `must be ${article(issue.expected)}`;
    case 'too_small':
      return `must be at least ${issue.minimum.toString()}${unitOf(issue.origin)}`;
    case 'too_big':
      return `must be at most ${issue.maximum.toString()}${unitOf(issue.origin)}`;
    case 'invalid_value':
      return `must be one of ${issue.values.map(String).join(', ')}`;
    case 'invalid_format':
      return `must be a valid ${formatNames.get(issue.format) ?? issue.format}`;
    case 'custom':
      // Written by this project at the schema.
      return issue.message;
    case 'invalid_union':
    case 'invalid_key':
    case 'invalid_element':
    case 'not_multiple_of':
    case 'unrecognized_keys':
      return 'is not valid; see the API reference';
  }
}

const formatNames: ReadonlyMap<string, string> = new Map([
  ['email', 'email address'],
  ['uuid', 'id (a uuid)'],
  ['guid', 'id (a uuid)'],
  ['datetime', 'time such as 2026-01-31T12:00:00Z'],
  ['regex', 'value of the documented form'],
]);

function article(noun: string): string {
  return /^[aeiou]/.test(noun) ? `an ${noun}` : `a ${noun}`;
}

function unitOf(origin: string): string {
  if (origin === 'string') return ' characters long';
  return origin === 'array' || origin === 'set' ? ' items' : '';
}

function toPointer(path: readonly PropertyKey[]): string {
  return path
    .map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1').slice(0, 100)}`)
    .join('');
}
