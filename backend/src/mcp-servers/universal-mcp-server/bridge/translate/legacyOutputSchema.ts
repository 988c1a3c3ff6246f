/**
 * The output schema of a tool as the legacy era can say it: there its root is an object. What is surely no object is
 * described as the member `result` of one, as its value is wrapped; what may or may not be one is not described at all,
 * for no single form would fit both of its values. A pure function.
 */
import { isJsonObject, type JsonObject } from '../../protocol/jsonRpc.js';

/** Null when the schema has no counterpart. */
export function toLegacyOutputSchema(schema: JsonObject): JsonObject | null {
  const { type } = schema;
  if (type === 'object') return schema;
  const types: readonly unknown[] = Array.isArray(type) ? type : [type];
  const isNeverObject = types.length > 0 && types.every((one) => typeof one === 'string' && one !== 'object');
  if (!isNeverObject) return null;
  const { $schema, ...own } = schema;
  return {
    ...($schema === undefined ? {} : { $schema }),
    type: 'object',
    properties: { result: hasOwnBase(own) ? own : moved(own, false) },
    required: ['result'],
  };
}

/** Where the schema's root comes to stand, as a JSON pointer. */
const newRoot = '#/properties/result';
/** Keywords whose value is data rather than a schema, and those whose members are named by the author. */
const dataKeywords = new Set(['const', 'enum', 'default', 'examples']);
const namedSchemas = new Set([
  'properties',
  'patternProperties',
  '$defs',
  'definitions',
  'dependentSchemas',
  'dependencies',
]);

/** The same schema with the references into its own document pointing to where they stand now. */
function moved(value: unknown, areNames: boolean): unknown {
  if (Array.isArray(value)) return value.map((item) => moved(item, false));
  if (!isJsonObject(value)) return value;
  if (areNames) return mapMembers(value, (_name, member) => moved(member, false));
  if (hasOwnBase(value)) return value;
  return mapMembers(value, (name, member) => {
    if ((name === '$ref' || name === '$dynamicRef') && typeof member === 'string') {
      return member === '#' || member.startsWith('#/') ? newRoot + member.slice(1) : member;
    }
    return dataKeywords.has(name) ? member : moved(member, namedSchemas.has(name));
  });
}

/** A schema with an `$id` of its own resolves its references against that, wherever it stands. */
function hasOwnBase({ $id }: JsonObject): boolean {
  return typeof $id === 'string' && !$id.startsWith('#');
}

function mapMembers(value: JsonObject, change: (name: string, member: unknown) => unknown): JsonObject {
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, change(name, member)]));
}
