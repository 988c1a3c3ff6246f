/** JSON Pointer (RFC 6901): parsed once when a service is loaded, followed on each answer. */

/** The reference tokens, unescaped. The empty list means the whole document. */
export type JsonPointer = readonly string[];

/** @param text empty or beginning with `/`, as the config's schema makes sure. */
export function parseJsonPointer(text: string): JsonPointer {
  if (text === '') return [];
  return text
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** What the pointer leads to, or undefined. Only own members count: nothing is found that was not in the document. */
export function followPointer(document: unknown, pointer: JsonPointer): unknown {
  let value = document;
  for (const token of pointer) {
    if (typeof value !== 'object' || value === null) return undefined;
    if (Array.isArray(value)) {
      if (!/^(?:0|[1-9]\d*)$/.test(token)) return undefined;
    } else if (!Object.hasOwn(value, token)) {
      return undefined;
    }
    value = (value as Readonly<Record<string, unknown>>)[token];
  }
  return value;
}
