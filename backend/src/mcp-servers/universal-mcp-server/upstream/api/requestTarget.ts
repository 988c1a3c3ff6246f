/**
 * Paths and queries of API requests, compiled from templates. An argument in a path becomes one encoded segment or part
 * of one; it can neither leave its segment nor take one away (E07).
 */
import type { ArgumentTemplate, TemplatePart } from '../../../../catalog/template.js';
import { AppError } from '../../../../errors/appError.js';
import type { JsonObject } from '../../protocol/jsonRpc.js';

/** Begins with `/`. @throws AppError INVALID_PARAMS when an argument is missing or would leave no segment. */
export type RenderPath = (given: JsonObject) => string;

export function compilePath(template: ArgumentTemplate): RenderPath {
  const segments = splitSegments(template.parts);
  return (given) => {
    let path = '';
    for (const segment of segments) {
      let text = '';
      let argument: string | null = null;
      for (const part of segment) {
        if ('literal' in part) {
          text += part.literal;
          continue;
        }
        argument = part.placeholder;
        text += encodeText(toText(given[argument]) ?? refuse(argument, 'is required'));
      }
      // Servers and proxies resolve these, whether their dots are encoded or not (RFC 3986 §5.2.4).
      if (argument !== null && (text === '' || text === '.' || text === '..')) {
        refuse(argument, 'must not be empty, "." or ".."');
      }
      path += `/${text}`;
    }
    return path;
  };
}

/** Writes `name=value` pairs joined by `&`; empty when every argument is absent. */
export type RenderQuery = (given: JsonObject) => string;

/** A list stands for its parameter once per item, where the parameter is nothing but that argument. */
export function compileQuery(query: Readonly<Record<string, ArgumentTemplate>>): RenderQuery {
  const parameters = Object.entries(query).map(([name, { parts }]) => ({ name: encodeText(name), parts }));
  return (given) => {
    let text = '';
    for (const { name, parts } of parameters) {
      const [only] = parts;
      if (parts.length === 1 && only !== undefined && 'placeholder' in only) {
        const value = given[only.placeholder];
        for (const item of Array.isArray(value) ? (value as readonly unknown[]) : [value]) {
          const itemText = toText(item);
          if (itemText !== null) text += `&${name}=${encodeText(itemText)}`;
        }
        continue;
      }
      const names = parts.flatMap((part) => ('placeholder' in part ? [part.placeholder] : []));
      if (names.length > 0 && names.every((one) => toText(given[one]) === null)) continue;
      const joined = parts.map((part) =>
        'literal' in part ? part.literal : (toText(given[part.placeholder]) ?? ''),
      );
      text += `&${name}=${encodeText(joined.join(''))}`;
    }
    return text.slice(1);
  };
}

/** Percent-encodes everything but unreserved characters; half a surrogate pair becomes U+FFFD. */
export function encodeText(text: string): string {
  if (/^[\w.~-]*$/.test(text)) return text;
  return encodeURIComponent(text.replaceAll(/\p{Surrogate}/gu, '\ufffd'));
}

/** Null when the argument is absent. Lists are joined by commas, objects written as JSON. */
function toText(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return value.map((item) => toText(item) ?? '').join(',');
  return JSON.stringify(value);
}

/** Cuts the parts at each `/` of the literals. */
function splitSegments(parts: readonly TemplatePart[]): TemplatePart[][] {
  const segments: TemplatePart[][] = [];
  for (const part of parts) {
    if ('placeholder' in part) {
      if (segments.length === 0) segments.push([]);
      segments.at(-1)?.push(part);
      continue;
    }
    const [first = '', ...rest] = part.literal.split('/').map((text) => encodeURI(text));
    if (first !== '') {
      if (segments.length === 0) segments.push([]);
      segments.at(-1)?.push({ literal: first });
    }
    for (const text of rest) segments.push(text === '' ? [] : [{ literal: text }]);
  }
  return segments;
}

function refuse(argument: string, why: string): never {
  throw new AppError('INVALID_PARAMS', `an argument of a path ${why}`, {
    fields: [{ pointer: `/${argument.replaceAll('~', '~0').replaceAll('/', '~1')}`, message: why }],
  });
}
