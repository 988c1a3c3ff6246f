/**
 * What differs between two definitions of a tool, field by field, as a person reads it. Made of text that an upstream
 * wrote: bounded in time and length, and with nothing in it that cannot be seen.
 */
import { diffLines, diffWordsWithSpace, type ChangeObject } from 'diff';
import { findOddities, toReadableText } from './readableText.js';

export interface DifferencePart {
  readonly kind: 'same' | 'removed' | 'added';
  readonly text: string;
}

export interface FieldDifference {
  /** A member of the definition: `description`, `inputSchema`, … */
  readonly field: string;
  readonly change: 'added' | 'removed' | 'changed';
  /** In reading order; words of a text, lines of anything else. */
  readonly parts: readonly DifferencePart[];
  /** What an admin should know before reading, such as that there are invisible characters. */
  readonly oddities: readonly string[];
}

/** Fields in the order in which a person asks about them; others follow by name. */
const fieldOrder = ['name', 'title', 'description', 'inputSchema', 'outputSchema', 'annotations'];
/** How much is compared before both are shown whole; a hostile pair would take minutes. */
const editLengthMax = 4_000;
const timeoutMs = 100;
/** Lines or characters that are kept of what is the same, on either side of a change. */
const contextLines = 3;
const contextCharacters = 200;

/**
 * @param before null where nothing was approved yet: all of `after` is added.
 * @param after canonical form, like `before`.
 */
export function toDefinitionDifference(before: string | null, after: string): FieldDifference[] {
  const old = readMembers(before);
  const now = readMembers(after);
  return [...new Set([...old.keys(), ...now.keys()])]
    .sort(byFieldOrder)
    .flatMap((field) => toFieldDifference(field, old.get(field), now.get(field)));
}

function toFieldDifference(field: string, before: unknown, after: unknown): FieldDifference[] {
  const isText = [before, after].every((value) => value === undefined || typeof value === 'string');
  const old = toText(before);
  const now = toText(after);
  if (old === now) return [];
  const change = before === undefined ? 'added' : after === undefined ? 'removed' : 'changed';
  const parts = compare(toReadableText(old), toReadableText(now), isText);
  return [{ field: toReadableText(field), change, parts, oddities: findOddities(`${field}\n${now}`) }];
}

function compare(before: string, after: string, isText: boolean): DifferencePart[] {
  const options = { maxEditLength: editLengthMax, timeout: timeoutMs };
  const found = isText ? diffWordsWithSpace(before, after, options) : diffLines(before, after, options);
  const changes: readonly Pick<ChangeObject<string>, 'added' | 'removed' | 'value'>[] = found ?? [
    { removed: true, added: false, value: before },
    { removed: false, added: true, value: after },
  ];
  return changes
    .filter(({ value }) => value !== '')
    .map(({ added, removed, value }, at) => {
      if (added) return { kind: 'added', text: value };
      if (removed) return { kind: 'removed', text: value };
      const sides = { hasBefore: at > 0, hasAfter: at < changes.length - 1 };
      return { kind: 'same', text: isText ? shortenWords(value, sides) : shortenLines(value, sides) };
    });
}

interface Sides {
  readonly hasBefore: boolean;
  readonly hasAfter: boolean;
}

function shortenLines(text: string, { hasBefore, hasAfter }: Sides): string {
  const lines = text.split('\n');
  const head = hasBefore ? contextLines : 0;
  const tail = hasAfter ? contextLines + 1 : 0;
  if (lines.length <= head + tail + 1) return text;
  const left = lines.length - head - tail;
  return [...lines.slice(0, head), `… ${left} lines …`, ...(tail === 0 ? [] : lines.slice(-tail))].join('\n');
}

function shortenWords(text: string, { hasBefore, hasAfter }: Sides): string {
  const head = hasBefore ? contextCharacters : 0;
  const tail = hasAfter ? contextCharacters : 0;
  if (text.length <= head + tail + contextCharacters) return text;
  const left = text.length - head - tail;
  return `${text.slice(0, head)} … ${left} characters … ${tail === 0 ? '' : text.slice(-tail)}`;
}

/** Own members only, whatever they are called. */
function readMembers(definition: string | null): Map<string, unknown> {
  const parsed: unknown = definition === null ? {} : JSON.parse(definition);
  return new Map(typeof parsed === 'object' && parsed !== null ? Object.entries(parsed) : []);
}

/** The canonical form is sorted already, so that laying it out is all. */
function toText(value: unknown): string {
  if (value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value, null, 2);
}

function byFieldOrder(one: string, other: string): number {
  return rankOf(one) - rankOf(other) || (one < other ? -1 : 1);
}

function rankOf(field: string): number {
  const at = fieldOrder.indexOf(field);
  return at < 0 ? fieldOrder.length : at;
}
