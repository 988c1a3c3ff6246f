/**
 * Schemas of OpenAPI 3.0 and 3.1 as JSON Schema 2020-12: 3.0's own keywords rewritten, what says nothing about a value
 * left out.
 */
type JsonMap = Readonly<Record<string, unknown>>;

const mute: ReadonlySet<string> = new Set([
  'xml',
  'externalDocs',
  'discriminator',
  'example',
  'examples',
  'deprecated',
  'readOnly',
  'writeOnly',
  'nullable',
  '$schema',
  '$id',
]);
const lists: ReadonlySet<string> = new Set(['allOf', 'anyOf', 'oneOf', 'prefixItems']);
const maps: ReadonlySet<string> = new Set([
  'properties',
  'patternProperties',
  '$defs',
  'definitions',
  'dependentSchemas',
]);
const single: ReadonlySet<string> = new Set([
  'items',
  'not',
  'additionalProperties',
  'propertyNames',
  'contains',
  'if',
  'then',
  'else',
]);
const depthMax = 24;
/** Schemas within one schema: one that is used twice at each of 24 depths would come to 16 million. */
const partsMax = 20_000;

export interface SchemaOptions {
  /** Leaves out properties that only answers carry (`readOnly`). */
  readonly forRequest?: boolean;
  /** What a reference leads to that was left in place, because its target contains itself. */
  readonly find: (reference: string) => unknown;
}

/**
 * A schema that contains itself is unfolded once, and one that unfolds too far not to its end; any value passes below, and
 * the service decides.
 */
export function toToolSchema(schema: unknown, options: SchemaOptions): JsonMap {
  return unfold(schema, { ...options, partsLeft: partsMax }, [], 0);
}

function unfold(
  schema: unknown,
  options: SchemaOptions & { partsLeft: number },
  entered: readonly string[],
  depth: number,
): JsonMap {
  if (schema === false) return { not: {} };
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema) || depth > depthMax) return {};
  options.partsLeft -= 1;
  if (options.partsLeft < 0) return {};
  const source = schema as JsonMap;
  const { $ref: reference } = source;
  if (typeof reference === 'string') {
    if (entered.includes(reference)) return {};
    return unfold(options.find(reference), options, [...entered, reference], depth + 1);
  }
  const nested = (value: unknown): unknown =>
    typeof value === 'boolean' ? value : unfold(value, options, entered, depth + 1);
  const result: Record<string, unknown> = {};
  for (const [keyword, value] of Object.entries(source)) {
    if (mute.has(keyword) || keyword.startsWith('x-')) continue;
    if (lists.has(keyword) && Array.isArray(value)) result[keyword] = value.map(nested);
    else if (maps.has(keyword)) result[keyword] = mapValues(value, nested);
    else if (single.has(keyword)) result[keyword] = nested(value);
    else result[keyword] = value;
  }
  rewriteBounds(result);
  if (source.nullable === true) allowNull(result);
  return options.forRequest === true ? withoutReadOnly(result, source) : result;
}

/** In 3.0 `exclusiveMinimum: true` makes the `minimum` exclusive. */
function rewriteBounds(schema: Record<string, unknown>): void {
  for (const [exclusive, bound] of [
    ['exclusiveMinimum', 'minimum'],
    ['exclusiveMaximum', 'maximum'],
  ] as const) {
    if (typeof schema[exclusive] !== 'boolean') continue;
    if (schema[exclusive] && bound in schema) {
      schema[exclusive] = schema[bound];
      delete schema[bound];
    } else {
      delete schema[exclusive];
    }
  }
}

function allowNull(schema: Record<string, unknown>): void {
  if (typeof schema.type === 'string') schema.type = [schema.type, 'null'];
  if (Array.isArray(schema.enum) && !schema.enum.includes(null))
    schema.enum = [...(schema.enum as unknown[]), null];
}

function withoutReadOnly(schema: JsonMap, source: JsonMap): JsonMap {
  const hidden = Object.entries(toMap(source.properties))
    .filter(([, property]) => toMap(property).readOnly === true)
    .map(([name]) => name);
  if (hidden.length === 0) return schema;
  const properties = Object.fromEntries(
    Object.entries(toMap(schema.properties)).filter(([name]) => !hidden.includes(name)),
  );
  const required = Array.isArray(schema.required)
    ? schema.required.filter((name) => !hidden.includes(String(name)))
    : undefined;
  return { ...schema, properties, ...(required === undefined ? {} : { required }) };
}

function mapValues(value: unknown, change: (member: unknown) => unknown): JsonMap {
  return Object.fromEntries(Object.entries(toMap(value)).map(([name, member]) => [name, change(member)]));
}

const toMap = (value: unknown): JsonMap =>
  typeof value === 'object' && value !== null ? (value as JsonMap) : {};
