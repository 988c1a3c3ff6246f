/**
 * Checks what a person entered against the form that a service declares: credential fields and overrides alike
 * (03 rule 6). A message names the field and what it must be; it never quotes the value.
 */
import { findUrlProblem } from '../addresses/urlProblem.js';
import { isHeaderSafe } from '../catalog/template.js';
import type { InputField } from '../catalog/serviceDefinition.js';
import type { InvalidField } from '../errors/appError.js';
import { withinTime } from '../lifecycle/timeLimit.js';
import { effectiveValue, isApplicable } from './fieldDefaults.js';

export interface FormResult {
  /** The fields that apply and have a value, defaults included. */
  readonly values: ReadonlyMap<string, string>;
  readonly wrong: readonly InvalidField[];
}

/** @param pointerOf where in the request the value of a field stands. */
export function readForm(
  fields: readonly InputField[],
  given: ReadonlyMap<string, string>,
  pointerOf: (name: string) => string,
): FormResult {
  const wrong: InvalidField[] = [];
  const values = new Map<string, string>();
  const known = new Set(fields.map(({ name }) => name));
  for (const name of given.keys()) {
    if (!known.has(name)) wrong.push({ pointer: pointerOf(name), message: 'is no field of this service' });
  }
  for (const field of fields) {
    const value = effectiveValue(field, given);
    if (!isApplicable(field, fields, given)) {
      if (given.get(field.name)) {
        wrong.push({ pointer: pointerOf(field.name), message: 'does not apply to what else was entered' });
      }
      continue;
    }
    if (value === '') {
      if (field.required)
        wrong.push({ pointer: pointerOf(field.name), message: `${field.label} is required` });
      continue;
    }
    const fault = findFault(field, value);
    if (fault === null) values.set(field.name, value);
    else wrong.push({ pointer: pointerOf(field.name), message: `${field.label} ${fault}` });
  }
  return { values, wrong };
}

/** What is wrong with one value, or null. */
function findFault(field: InputField, value: string): string | null {
  if (value.length > field.maxLength) return `must have at most ${field.maxLength} characters`;
  if (value.length < field.minLength) return `must have at least ${field.minLength} characters`;
  if (value.includes('\0')) return 'must not contain a NUL character';
  if (field.headerSafe && !isHeaderSafe(value)) {
    return 'must not contain line breaks or characters that no HTTP header can carry';
  }
  if (field.pattern !== null && !fitsPattern(field.pattern, value)) {
    return 'does not have the form that the service gives it; check that it was copied whole';
  }
  return findTypeFault(field, value);
}

/** A pattern that cannot tell in time does not fit: some need longer than the world for 40 characters (R28). */
function fitsPattern(pattern: string, value: string): boolean {
  const expression = new RegExp(pattern, 'u');
  return withinTime(patternMsMax, () => expression.test(value)) ?? false;
}

const patternMsMax = 100;

function findTypeFault(field: InputField, value: string): string | null {
  switch (field.type) {
    case 'string':
    case 'secret':
      return /[\r\n]/.test(value) ? 'must be one line' : null;
    case 'text':
      return null;
    case 'number':
      return findNumberFault(field, value);
    case 'boolean':
      return value === 'true' || value === 'false' ? null : 'must be true or false';
    case 'enum':
      return field.enum.some((one) => one.value === value) ? null : 'must be one of the choices';
    case 'url':
      return findUrlProblem(value, { allowHosts: null, allowPrivate: field.allowPrivate });
    case 'email':
      return /^[^\s@]+@[^\s@]+$/.test(value) ? null : 'must be an email address';
    case 'json':
      return isJson(value) ? null : 'must be valid JSON';
  }
}

function findNumberFault({ minimum, maximum }: InputField, value: string): string | null {
  const number = Number(value);
  if (value.trim() === '' || !Number.isFinite(number)) return 'must be a number';
  if (minimum !== null && number < minimum) return `must be at least ${minimum}`;
  if (maximum !== null && number > maximum) return `must be at most ${maximum}`;
  return null;
}

function isJson(value: string): boolean {
  try {
    JSON.parse(value);
    return true;
  } catch {
    return false;
  }
}
