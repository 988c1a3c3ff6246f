/**
 * Finds members of a JSON object in its bytes without parsing what lies between: large results are routed and judged by
 * a few small members, and building them as objects would cost more than all the rest of a call (spec 04, "splice ids in
 * the bytes"). It takes well-formed JSON for granted where it need not look, and gives up where it stumbles.
 */

/** Where a member's value lies: `[start, end)`. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;

/**
 * The value of an object's member, by its name; the first where it stands twice.
 * @param at where the object begins; blanks may stand before it.
 * @returns null when there is no such member, or the bytes are no object.
 */
export function findMember(bytes: Buffer, name: string, at = 0): Span | null {
  let from = -1;
  walkMembers(bytes, at, (found, start) => {
    if (found !== name) return true;
    from = start;
    return false;
  });
  if (from < 0) return null;
  const end = endOfValue(bytes, from);
  return end < 0 ? null : { start: from, end };
}

/**
 * Goes through an object's members as long as the visitor says so.
 * @returns true when it came to the object's end.
 */
function walkMembers(
  bytes: Buffer,
  at: number,
  visit: (name: string, valueStart: number) => boolean,
): boolean {
  let cursor = skipBlanks(bytes, at);
  if (bytes[cursor] !== openBrace) return false;
  cursor = skipBlanks(bytes, cursor + 1);
  if (bytes[cursor] === closeBrace) return true;
  while (bytes[cursor] === quote) {
    const keyEnd = endOfString(bytes, cursor);
    const name = keyEnd < 0 ? null : toName(bytes, cursor, keyEnd);
    if (name === null) return false;
    cursor = skipBlanks(bytes, keyEnd);
    if (bytes[cursor] !== colon) return false;
    const start = skipBlanks(bytes, cursor + 1);
    if (!visit(name, start)) return false;
    const end = endOfValue(bytes, start);
    if (end < 0) return false;
    cursor = skipBlanks(bytes, end);
    if (bytes[cursor] === closeBrace) return true;
    if (bytes[cursor] !== comma) return false;
    cursor = skipBlanks(bytes, cursor + 1);
  }
  return false;
}

/** Finds which of some members comes first, and where its value begins; what comes after it is not looked at. */
export function findFirstOf(bytes: Buffer, names: readonly string[]): { name: string; start: number } | null {
  let found: { name: string; start: number } | null = null;
  walkMembers(bytes, 0, (name, start) => {
    if (!names.includes(name)) return true;
    found = { name, start };
    return false;
  });
  return found;
}

/** The names of an object's members in their order, repeated ones included; null when the bytes are no object. */
export function namesOf(bytes: Buffer, at: number): string[] | null {
  const names: string[] = [];
  const isWhole = walkMembers(bytes, at, (name) => {
    names.push(name);
    return true;
  });
  return isWhole ? names : null;
}

/** The index behind a value that begins at `start`; negative when it does not end. */
export function endOfValue(bytes: Buffer, start: number): number {
  const first = bytes[start];
  if (first === quote) return endOfString(bytes, start);
  if (first !== openBrace && first !== openBracket) return endOfScalar(bytes, start);
  let depth = 0;
  for (let at = start; at < bytes.length; at += 1) {
    switch (bytes[at] ?? 0) {
      case quote: {
        const end = endOfString(bytes, at);
        if (end < 0) return -1;
        at = end - 1;
        break;
      }
      case openBrace:
      case openBracket:
        depth += 1;
        break;
      case closeBrace:
      case closeBracket:
        depth -= 1;
        if (depth === 0) return at + 1;
    }
  }
  return -1;
}

/** The index behind the string that begins at `start`; negative when it does not end. */
function endOfString(bytes: Buffer, start: number): number {
  let at = start + 1;
  while (at < bytes.length) {
    // Most strings are short, and a call into the native search costs more than a few steps.
    const near = Math.min(at + nearBytes, bytes.length);
    for (; at < near; at += 1) {
      const byte = bytes[at];
      if (byte === quote) return at + 1;
      if (byte === backslash) at += 1;
    }
    const end = bytes.indexOf(quote, at);
    if (end < 0) return -1;
    if (!isEscaped(bytes, end, at - 1)) return end + 1;
    at = end + 1;
  }
  return -1;
}

const nearBytes = 48;

/** Whether an odd number of backslashes stands between `start` and it. */
export function isEscaped(bytes: Buffer, at: number, start: number): boolean {
  let before = at - 1;
  while (before > start && bytes[before] === backslash) before -= 1;
  return (at - 1 - before) % 2 === 1;
}

/** Numbers, `true`, `false`, `null`. */
function endOfScalar(bytes: Buffer, start: number): number {
  let at = start;
  for (; at < bytes.length; at += 1) {
    const byte = bytes[at] ?? 0;
    if (byte === comma || byte === closeBrace || byte === closeBracket || byte <= 0x20) break;
  }
  return at === start ? -1 : at;
}

export function skipBlanks(bytes: Buffer, at: number): number {
  let cursor = at;
  for (;;) {
    const byte = bytes[cursor];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return cursor;
    cursor += 1;
  }
}

/** A key may be written with escapes; then it is read. */
function toName(bytes: Buffer, start: number, end: number): string | null {
  const text = bytes.toString('utf8', start + 1, end - 1);
  if (!text.includes('\\')) return text;
  try {
    return String(JSON.parse(bytes.toString('utf8', start, end)));
  } catch {
    return null;
  }
}
