/**
 * Tells from a schema and a value whether checking the one against the other is surely short. What is not (an ambiguous
 * pattern, items that are all compared, references that may recurse, a large document) is checked under a time limit.
 */
import { isJsonObject, type JsonObject } from '../../protocol/jsonRpc.js';

const schemaCharsMax = 16_384;
/** Members and every 16 characters count one. */
const weightMax = 256;

/** True when every value of little weight is checked in microseconds. */
export function isPlainSchema(schema: JsonObject): boolean {
  return isPlain(schema) && JSON.stringify(schema).length <= schemaCharsMax;
}

/** Whether a value is light; looks no further than it has to. */
export function isLight(value: unknown): boolean {
  return weigh(value, weightMax) >= 0;
}

/** What is left of the budget; below zero, the value was heavier. */
function weigh(value: unknown, budget: number): number {
  let left = budget - 1;
  if (typeof value === 'string') return left - (value.length >> 4);
  if (typeof value !== 'object' || value === null) return left;
  if (Array.isArray(value)) {
    if (value.length > left) return -1;
    for (const item of value) if ((left = weigh(item, left)) < 0) return left;
    return left;
  }
  for (const name in value) {
    left = weigh((value as JsonObject)[name], left - (name.length >> 4));
    if (left < 0) return left;
  }
  return left;
}

function isPlain(schema: unknown): boolean {
  if (Array.isArray(schema)) return schema.every(isPlain);
  if (!isJsonObject(schema)) return true;
  return Object.entries(schema).every(([keyword, value]) => {
    switch (keyword) {
      case '$ref':
      case '$dynamicRef':
      case '$recursiveRef':
        return typeof value !== 'string';
      case 'uniqueItems':
        return value !== true;
      case 'pattern':
        return typeof value === 'string' ? isPlainPattern(value) : isPlain(value);
      case 'patternProperties':
        return !isJsonObject(value) || (Object.keys(value).every(isPlainPattern) && isPlain(value));
      default:
        return isPlain(value);
    }
  });
}

/**
 * True for an expression that backtracks over at most the square of a text: nothing that repeats stands within a group
 * that repeats, nothing refers back, and at most two places (a missing `^` is one) may give in.
 */
export function isPlainPattern(pattern: string): boolean {
  // Escapes and classes stand for one character each; what they hold must not be taken for more.
  const bare = pattern.replaceAll(/\\[1-9k]|\\./gsu, (found) => (/[1-9k]/.test(found[1] ?? '') ? '(*' : 'a'));
  const atoms = bare.replaceAll(/\[[^\]]*\]/g, 'a').replaceAll('(?:', '(');
  if (/\)[*+?{]/.test(atoms) || /\((?:\*|\?[=!<])/.test(atoms)) return false;
  const givingIn = atoms.match(/[*+?]\??|\{\d*,\d*\}\??/g)?.length ?? 0;
  const isAnchored = atoms.startsWith('^') && !atoms.includes('|');
  return givingIn + (isAnchored ? 0 : 1) <= 2;
}
