/**
 * The id of a JSON-RPC message, read and replaced in its bytes: what a gateway has to change in a message that it passes
 * on, however large the rest is. Servers write the id first or last; neither way is the rest looked at.
 */
import type { JsonRpcId } from './jsonRpc.js';
import { findMember, isEscaped, type Span } from './jsonScan.js';

/**
 * The message with another id, every other byte unchanged; null when it has no id at its top level. Where a message says
 * its id twice, the last one counts if it ends the message, else the first.
 */
export function spliceId(message: Buffer, id: JsonRpcId): Buffer | null {
  const found = findId(message);
  if (found === null) return null;
  const { start, end } = found;
  return Buffer.concat([message.subarray(0, start), Buffer.from(JSON.stringify(id)), message.subarray(end)]);
}

/** The id of a message; null when it has none, or one of a form that ids do not have. */
export function readId(message: Buffer): JsonRpcId | null {
  const found = findId(message);
  if (found === null) return null;
  try {
    const value: unknown = JSON.parse(message.toString('utf8', found.start, found.end));
    return typeof value === 'string' || typeof value === 'number' ? value : null;
  } catch {
    return null;
  }
}

/** Where the id's value lies. */
export function findId(message: Buffer): Span | null {
  return findLastMember(message, idKey) ?? findMember(message, 'id');
}

const idKey = Buffer.from('"id"');
const quote = 0x22;
const colon = 0x3a;
const comma = 0x2c;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/**
 * The last member of an object, when it is the named one and its value is a string or a number. What stands directly
 * before the brace that ends an object is a member of that object; so the search goes backwards from there.
 */
function findLastMember(bytes: Buffer, key: Buffer): Span | null {
  const brace = skipBlanksBack(bytes, bytes.length - 1);
  if (bytes[brace] !== closeBrace) return null;
  const last = skipBlanksBack(bytes, brace - 1);
  const start = bytes[last] === quote ? startOfString(bytes, last) : startOfNumber(bytes, last);
  if (start < 0) return null;
  const separator = skipBlanksBack(bytes, start - 1);
  if (bytes[separator] !== colon) return null;
  const keyStart = skipBlanksBack(bytes, separator - 1) - key.length + 1;
  if (keyStart < 1 || bytes.compare(key, 0, key.length, keyStart, keyStart + key.length) !== 0) return null;
  const before = bytes[skipBlanksBack(bytes, keyStart - 1)];
  return before === comma || before === openBrace ? { start, end: last + 1 } : null;
}

function startOfString(bytes: Buffer, end: number): number {
  for (let at = end - 1; at > 0; at -= 1) {
    if (bytes[at] === quote && !isEscaped(bytes, at, 0)) return at;
    if (end - at > idBytesMax) return -1;
  }
  return -1;
}

const idBytesMax = 4_096;

function startOfNumber(bytes: Buffer, end: number): number {
  let at = end;
  while (at >= 0 && isNumberByte(bytes[at] ?? 0)) at -= 1;
  return at === end ? -1 : at + 1;
}

/** Digits, signs, a point, an exponent. */
function isNumberByte(byte: number): boolean {
  return (
    (byte >= 0x30 && byte <= 0x39) ||
    byte === 0x2d ||
    byte === 0x2b ||
    byte === 0x2e ||
    (byte | 0x20) === 0x65
  );
}

function skipBlanksBack(bytes: Buffer, at: number): number {
  let cursor = at;
  for (;;) {
    const byte = bytes[cursor];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return cursor;
    cursor -= 1;
  }
}
