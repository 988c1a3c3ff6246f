/** What a form means where it was left empty: the default of its field, as long as the field applies. */
import type { InputField } from '../catalog/serviceDefinition.js';

type Field = Pick<InputField, 'name' | 'default' | 'showIf'>;
type Values = ReadonlyMap<string, string>;

/** What counts for a field: what was entered, else its default, else empty. */
export function effectiveValue(field: Field, given: Values): string {
  return given.get(field.name) || field.default || '';
}

/** Whether a field belongs to the form as it is filled in; its `showIf` says so. */
export function isApplicable(field: Field, fields: readonly Field[], given: Values): boolean {
  return Object.entries(field.showIf).every(([name, value]) => {
    const other = fields.find((one) => one.name === name);
    return other !== undefined && effectiveValue(other, given) === value;
  });
}

/** The defaults of the fields that apply and were left empty; for values that were stored before the file gave any. */
export function findDefaults(fields: readonly Field[], given: Values): [string, string][] {
  return fields.flatMap((field): [string, string][] =>
    field.default !== null &&
    field.default !== '' &&
    !given.get(field.name) &&
    isApplicable(field, fields, given)
      ? [[field.name, field.default]]
      : [],
  );
}
