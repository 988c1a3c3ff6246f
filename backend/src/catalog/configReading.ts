/**
 * The state of one service's reading: resolves references, parses templates and collects everything that is wrong, so
 * that an admin hears of it all at once.
 */
import type { FoundProblem } from './configProblem.js';
import {
  valueSchema,
  type EnvRef,
  type FileRef,
  type StaticValue,
  type Value,
} from './configSchema/valueSchemas.js';
import { toPointer } from './configText.js';
import { isOwnSecretName } from './envNames.js';
import type { BodyTemplate, ServiceReferences, TemplatedMap, TemplatedValue } from './serviceDefinition.js';
import { isHeaderSafe, parseTemplate, TemplateError, type Template, type TemplatePlace } from './template.js';

/** Where `{"$env"}` and `{"$file"}` look. An empty variable counts as unset. */
export interface ReferenceReader {
  readonly env: (name: string) => string | undefined;
  /** The file's text, or null when it cannot be read. */
  readonly file: (path: string) => string | null;
}

/** What templates of this service may name. */
export interface KnownPlaceholders {
  readonly hasToken: boolean;
  readonly credential: ReadonlySet<string>;
  /** Whether instances have a directory of their own. */
  readonly hasDataDir: boolean;
  /** `$userToken` templates are left out by themselves where a user may come without a credential. */
  readonly tokenOptional: boolean;
  /** A service that is switched off may lack what its references name. */
  readonly needsReferences: boolean;
}

export interface ConfigReading {
  readonly problems: readonly FoundProblem[];
  readonly warnings: readonly FoundProblem[];
  /** Names of variables and files that a reference needs and that are not there. */
  readonly missing: readonly string[];
  references(): ServiceReferences;
  refuse(pointer: string, message: string): void;
  warn(pointer: string, message: string): void;
  /** Null when an optional reference is unset, or when it is missing (and noted). */
  toText(value: StaticValue, pointer: string): string | null;
  toTexts(values: Readonly<Record<string, StaticValue>>, pointer: string): Record<string, string>;
  toValue(value: Value, pointer: string, place: TemplatePlace): TemplatedValue | null;
  toList(values: readonly Value[], pointer: string, place: TemplatePlace): TemplatedValue[];
  toMap(values: Readonly<Record<string, Value>>, pointer: string, place: TemplatePlace): TemplatedMap;
  /** @param known the arguments that `{"$arg"}` may name. */
  toBody(value: unknown, pointer: string, known: ReadonlySet<string>): BodyTemplate;
}

export function createConfigReading(reader: ReferenceReader, known: KnownPlaceholders): ConfigReading {
  const problems: FoundProblem[] = [];
  const warnings: FoundProblem[] = [];
  const missing: string[] = [];
  const envNames = new Map<string, boolean>();
  const files = new Set<string>();
  const refuse = (pointer: string, message: string): void => void problems.push({ pointer, message });

  const note = (name: string, pointer: string, message: string): null => {
    if (!known.needsReferences) return null;
    if (!missing.includes(name)) missing.push(name);
    problems.push({ pointer, message, isMissingReference: true });
    return null;
  };

  const readEnv = (ref: EnvRef, pointer: string): string | null => {
    if (isOwnSecretName(ref.$env)) {
      refuse(pointer, "names a variable of Portolan's own that leads to its secrets");
      return null;
    }
    const isRequired = ref.default === undefined && ref.optional !== true;
    envNames.set(ref.$env, isRequired || envNames.get(ref.$env) === true);
    const value = reader.env(ref.$env);
    if (value !== undefined && value !== '') return value;
    if (ref.default !== undefined) return ref.default;
    return isRequired ? note(ref.$env, pointer, `needs the variable ${ref.$env}, which is not set`) : null;
  };

  const readFile = (ref: FileRef, pointer: string): string | null => {
    files.add(ref.$file);
    const text = reader.file(ref.$file);
    if (text === null) return note(ref.$file, pointer, `needs the file ${ref.$file}, which cannot be read`);
    return ref.trim ? text.trim() : text;
  };

  const toText = (value: StaticValue, pointer: string): string | null => {
    if (typeof value !== 'object') return String(value);
    return '$env' in value ? readEnv(value, pointer) : readFile(value, pointer);
  };

  const toTemplate = (value: Exclude<Value, StaticValue>, pointer: string): Template | null => {
    try {
      if ('$userToken' in value) {
        return parseTemplate('userToken', value.$userToken, new Set(known.hasToken ? ['token'] : []), {
          omitIfEmpty: value.omitIfEmpty ?? known.tokenOptional,
        });
      }
      if ('$instance' in value) {
        return parseTemplate('instance', value.$instance, new Set(known.hasDataDir ? ['dataDir'] : []));
      }
      return parseTemplate('credential', value.$credential, known.credential, {
        encode: value.encode,
        prefix: value.prefix ?? '',
        omitIfEmpty: value.omitIfEmpty ?? false,
      });
    } catch (error) {
      if (!(error instanceof TemplateError)) throw error;
      refuse(toPointer(pointer, Object.keys(value)[0] ?? ''), error.message);
      return null;
    }
  };

  const toValue = (value: Value, pointer: string, place: TemplatePlace): TemplatedValue | null => {
    const isTemplate = typeof value === 'object' && !('$env' in value) && !('$file' in value);
    const result = isTemplate ? toTemplate(value, pointer) : toText(value, pointer);
    if (result === null) return null;
    const literals =
      typeof result === 'string'
        ? [result]
        : [result.prefix, ...result.parts.map((part) => ('literal' in part ? part.literal : ''))];
    for (const literal of literals) {
      if (literal.includes('\0')) refuse(pointer, 'contains a NUL character');
      if (place === 'header' && !isHeaderSafe(literal)) {
        refuse(pointer, 'contains characters that no HTTP header can carry (line breaks, or not latin1)');
      }
    }
    return result;
  };

  const toBody = (value: unknown, pointer: string, args: ReadonlySet<string>): BodyTemplate => {
    if (value === null || typeof value !== 'object') return value as null | boolean | number | string;
    if (Array.isArray(value)) {
      const items: readonly unknown[] = value;
      return {
        kind: 'array',
        items: items.map((item, index) => toBody(item, toPointer(pointer, index), args)),
      };
    }
    const members = Object.entries(value);
    const [mark] = members.find(([key]) => key.startsWith('$')) ?? [];
    if (mark === undefined) {
      return {
        kind: 'object',
        members: members.map(([key, member]) => [key, toBody(member, toPointer(pointer, key), args)]),
      };
    }
    if (mark === '$arg' && members.length === 1) {
      const name: unknown = members[0]?.[1];
      if (typeof name === 'string' && args.has(name)) return { kind: 'argument', name };
      refuse(pointer, 'names an argument that the inputSchema does not declare');
      return null;
    }
    const parsed = valueSchema.safeParse(value);
    if (parsed.success) return toValue(parsed.data, pointer, 'body');
    refuse(
      pointer,
      'is no reference that is known here ($arg, $env, $file, $userToken, $credential, $instance)',
    );
    return null;
  };

  return {
    problems,
    warnings,
    missing,
    references: () => ({
      env: [...envNames]
        .map(([name, required]) => ({ name, required }))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
      files: [...files].toSorted(),
    }),
    refuse,
    warn: (pointer, message) => void warnings.push({ pointer, message }),
    toText,
    toTexts: (values, pointer) =>
      Object.fromEntries(
        Object.entries(values).flatMap(([name, value]) => {
          const text = toText(value, toPointer(pointer, name));
          return text === null ? [] : [[name, text]];
        }),
      ),
    toValue,
    toList: (values, pointer, place) =>
      values.flatMap((value, index) => toValue(value, toPointer(pointer, index), place) ?? []),
    toMap: (values, pointer, place) =>
      Object.fromEntries(
        Object.entries(values).flatMap(([name, value]) => {
          const result = toValue(value, toPointer(pointer, name), place);
          return result === null ? [] : [[name, result]];
        }),
      ),
    toBody,
  };
}
