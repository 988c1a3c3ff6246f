/**
 * Templates: literal and placeholder parts, parsed once when a service is loaded. Rendering puts values between the
 * literals; a value is never looked at for placeholders, `$` or anything else.
 */
import { AppError } from '../errors/appError.js';

export type TemplatePart = { readonly literal: string } | { readonly placeholder: string };

export type Encoding = 'none' | 'base64' | 'url' | 'json';

/** `userToken` knows only `{{token}}`, `credential` the fields and override keys, `instance` only `{{dataDir}}`. */
export type TemplateSource = 'userToken' | 'credential' | 'instance';

export interface Template {
  readonly kind: 'template';
  readonly source: TemplateSource;
  readonly parts: readonly TemplatePart[];
  /**
   * `url` and `json` encode each value (`json` is chosen by itself where the text around is JSON); `base64` encodes the
   * whole text, as HTTP Basic wants it.
   */
  readonly encode: Encoding;
  /** Put before the encoded text as it is (`Basic `). */
  readonly prefix: string;
  /** Leave the header, variable, parameter or argument out when one of the values is empty. */
  readonly omitIfEmpty: boolean;
}

/** Text of an API request with the call's arguments in it, as `/v1/files/{file_key}`. Its user encodes the values. */
export interface ArgumentTemplate {
  readonly kind: 'argumentTemplate';
  readonly parts: readonly TemplatePart[];
}

/** The values of one call: `CredentialValues` of the resolver, and the instance's private directory where it has one. */
export interface TemplateValues {
  readonly token: string | null;
  readonly fields: ReadonlyMap<string, string>;
  readonly dataDir?: string | null;
}

/** Where the text goes; it decides what a value may not contain. */
export type TemplatePlace = 'header' | 'environment' | 'argument' | 'url' | 'query' | 'body';

/** A message says what is wrong and never quotes a value. */
export class TemplateError extends Error {
  override readonly name = 'TemplateError';
}

const objectMembers = new Set(Object.getOwnPropertyNames(Object.prototype));

/** Names that JavaScript objects have by themselves name nothing here, whatever is declared (F10). */
export function isReservedName(name: string): boolean {
  return objectMembers.has(name) || name === 'prototype';
}

/**
 * @param known the placeholders that may stand here.
 * @throws TemplateError on an unknown placeholder, unbalanced braces or JSON text with a placeholder outside a string.
 */
export function parseTemplate(
  source: TemplateSource,
  text: string,
  known: ReadonlySet<string>,
  options: { readonly encode?: Encoding; readonly prefix?: string; readonly omitIfEmpty?: boolean } = {},
): Template {
  const parts = splitParts(text, /\{\{([^{}]*)\}\}/g);
  for (const part of parts) {
    if ('literal' in part) {
      if (part.literal.includes('{{')) throw new TemplateError('has "{{" without its "}}"');
    } else if (isReservedName(part.placeholder) || !known.has(part.placeholder)) {
      const names = [...known].map((name) => `{{${name}}}`).join(', ');
      throw new TemplateError(`has an unknown placeholder; known here: ${names === '' ? 'none' : names}`);
    }
  }
  if (!parts.some((part) => 'placeholder' in part)) throw new TemplateError('has no placeholder');
  const encode = options.encode ?? 'none';
  return Object.freeze({
    kind: 'template',
    source,
    parts: Object.freeze(parts),
    encode: encode === 'none' && isJsonText(parts) ? 'json' : encode,
    prefix: options.prefix ?? '',
    omitIfEmpty: options.omitIfEmpty ?? false,
  });
}

/** Parses `{name}` places; `known` are the tool's arguments. @throws TemplateError on an unknown one. */
export function parseArgumentTemplate(text: string, known: ReadonlySet<string>): ArgumentTemplate {
  const parts = splitParts(text, /\{([^{}]*)\}/g);
  for (const part of parts) {
    if ('literal' in part) {
      if (/[{}]/.test(part.literal)) throw new TemplateError('has a brace without its partner');
    } else if (isReservedName(part.placeholder) || !known.has(part.placeholder)) {
      throw new TemplateError('names an argument that the inputSchema does not declare');
    }
  }
  return Object.freeze({ kind: 'argumentTemplate', parts: Object.freeze(parts) });
}

/**
 * Writes the values between the literals.
 * @returns null when the template is to be left out because a value is empty.
 * @throws AppError CREDENTIAL_MISSING without the bearer token it asks for, INVALID_REQUEST when a value does not fit
 * the place (CR, LF or non-latin1 in a header, NUL anywhere, a leading `-` in an argument). The value is not quoted.
 */
export function renderTemplate(
  template: Template,
  values: TemplateValues,
  place: TemplatePlace,
): string | null {
  let text = '';
  for (const part of template.parts) {
    if ('literal' in part) {
      text += part.literal;
      continue;
    }
    const value = valueOf(template, part.placeholder, values);
    if (value === '' && template.omitIfEmpty) return null;
    text += encodeValue(value, template.encode, place);
  }
  if (template.encode === 'base64') text = Buffer.from(text, 'utf8').toString('base64');
  text = template.prefix + text;
  refuseUnfit(text, template, place);
  return text;
}

/** A literal as it is, a template rendered. */
export function renderValue(
  value: string | Template,
  values: TemplateValues,
  place: TemplatePlace,
): string | null {
  return typeof value === 'string' ? value : renderTemplate(value, values, place);
}

/** Whether HTTP can carry it as a header value (RFC 9110 §5.5, without obs-fold): latin1, no control characters. */
export function isHeaderSafe(value: string): boolean {
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(value);
}

function valueOf(template: Template, placeholder: string, values: TemplateValues): string {
  switch (template.source) {
    case 'userToken':
      if (values.token !== null && values.token !== '') return values.token;
      if (template.omitIfEmpty) return '';
      throw new AppError('CREDENTIAL_MISSING', 'a template needs a bearer token and there is none');
    case 'credential':
      return values.fields.get(placeholder) ?? (placeholder === 'token' ? (values.token ?? '') : '');
    case 'instance':
      if (values.dataDir) return values.dataDir;
      throw new AppError('INTERNAL', 'a template needs the data directory of an instance and there is none');
  }
}

function refuseUnfit(text: string, template: Template, place: TemplatePlace): void {
  const refuse = (why: string): never => {
    throw new AppError('INVALID_REQUEST', `a credential value does not fit its ${place}`, {
      publicDetail: `A value of the stored credential ${why}. Enter it again.`,
    });
  };
  if (text.includes('\0')) refuse('contains a NUL character');
  if (place === 'header' && !isHeaderSafe(text)) refuse('contains characters that no HTTP header can carry');
  // An option that the admin did not write must not come in with a value (F03).
  const opensWithValue = template.prefix === '' && 'placeholder' in (template.parts[0] ?? {});
  if (place === 'argument' && opensWithValue && text.startsWith('-')) refuse('starts with "-"');
}

function encodeValue(value: string, encoding: Encoding, place: TemplatePlace): string {
  if (encoding === 'json') return JSON.stringify(value).slice(1, -1);
  return encoding === 'url' || (encoding === 'none' && place === 'url') ? encodePercent(value) : value;
}

/** `encodeURIComponent` throws on half a surrogate pair, with the value in its message. */
function encodePercent(value: string): string {
  return encodeURIComponent(value.replaceAll(/\p{Surrogate}/gu, '\ufffd'));
}

function splitParts(text: string, pattern: RegExp): TemplatePart[] {
  const parts: TemplatePart[] = [];
  let from = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > from) parts.push({ literal: text.slice(from, match.index) });
    parts.push({ placeholder: match[1] ?? '' });
    from = match.index + match[0].length;
  }
  if (from < text.length || parts.length === 0) parts.push({ literal: text.slice(from) });
  return parts;
}

/** Text that opens and closes like a JSON object or array is held to be JSON, placeholders inside its strings only. */
function isJsonText(parts: readonly TemplatePart[]): boolean {
  const text = parts.map((part) => ('literal' in part ? part.literal : 'x')).join('');
  if (!/^\s*(?:\{[^]*\}|\[[^]*\])\s*$/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    throw new TemplateError('looks like JSON but is not; a placeholder has to stand inside a JSON string');
  }
}
