/** The forms that the console draws, for credentials and for overrides. */
import type { FieldConfig } from './configSchema/credentialSchemas.js';
import type { ConfigReading } from './configReading.js';
import { toPointer } from './configText.js';
import type { EgressPolicy, InputField } from './serviceDefinition.js';
import { checkUrl } from './urlChecks.js';

/** What the fields of a form are used for. */
export interface FieldUses {
  /** Field names whose value goes into a header as it is. */
  readonly inHeaders: ReadonlySet<string>;
  readonly egress: Pick<EgressPolicy, 'allowPrivate'>;
}

export function toFields(
  fields: readonly FieldConfig[],
  pointer: string,
  { inHeaders, egress: { allowPrivate } }: FieldUses,
  reading: ConfigReading,
): InputField[] {
  refuseRepeated(
    fields.map((field) => field.name),
    pointer,
    'name',
    reading,
  );
  return fields.map((field, index): InputField => {
    const at = toPointer(pointer, index);
    const secret = isSecretField(field);
    if (field.pattern !== undefined && !isPattern(field.pattern)) {
      reading.refuse(`${at}/pattern`, 'is no valid regular expression (ECMAScript with the u flag)');
    }
    if ((field.type === 'enum') !== (field.enum !== undefined)) {
      reading.refuse(at, 'has type enum if, and only if, it has enum');
    }
    if (secret && field.default !== undefined)
      reading.refuse(`${at}/default`, 'is not allowed for a secret field');
    if (field.type === 'url' && field.default !== undefined) {
      const verdict = checkUrl(String(field.default), { allowPrivate });
      if ('message' in verdict) reading.refuse(`${at}/default`, verdict.message);
    }
    for (const name of Object.keys(field.showIf ?? {})) {
      if (!fields.some((other) => other.name === name)) {
        reading.refuse(toPointer(`${at}/showIf`, name), 'names no field of this form');
      }
    }
    const maxLength = field.maxLength ?? (field.type === 'text' || field.type === 'json' ? 16_384 : 4_096);
    const minLength = field.minLength ?? (field.required ? 1 : 0);
    if (minLength > maxLength) reading.refuse(at, 'has a minLength above its maxLength');
    return {
      name: field.name,
      label: field.label,
      description: field.description ?? null,
      placeholder: field.placeholder ?? null,
      helpUrl: field.helpUrl ?? null,
      type: field.type,
      secret,
      required: field.required,
      default: field.default === undefined ? null : String(field.default),
      enum: (field.enum ?? []).map((one) => ({ value: one.value, label: one.label ?? one.value })),
      pattern: field.pattern ?? null,
      minLength,
      maxLength,
      minimum: field.minimum ?? null,
      maximum: field.maximum ?? null,
      group: field.group ?? null,
      showIf: Object.fromEntries(
        Object.entries(field.showIf ?? {}).map(([name, value]) => [name, String(value)]),
      ),
      headerSafe: inHeaders.has(field.name),
      allowPrivate,
    };
  });
}

/** For an override key that the file declares no field for. */
export function toPlainField(name: string, headerSafe: boolean): InputField {
  return {
    name,
    label: name,
    description: null,
    placeholder: null,
    helpUrl: null,
    type: 'string',
    secret: false,
    required: false,
    default: null,
    enum: [],
    pattern: null,
    minLength: 0,
    maxLength: 4_096,
    minimum: null,
    maximum: null,
    group: null,
    showIf: {},
    headerSafe,
    allowPrivate: false,
  };
}

export function isSecretField(field: FieldConfig): boolean {
  return field.secret ?? field.type === 'secret';
}

export function refuseRepeated(
  names: readonly string[],
  pointer: string,
  key: string | null,
  reading: ConfigReading,
): void {
  names.forEach((name, index) => {
    if (names.indexOf(name) === index) return;
    const at = toPointer(pointer, index);
    reading.refuse(key === null ? at : toPointer(at, key), 'is there already');
  });
}

function isPattern(source: string): boolean {
  try {
    return new RegExp(source, 'u') instanceof RegExp;
  } catch {
    return false;
  }
}
