/**
 * From the bytes of a config file to a JSON value, with every doubt refused: what `JSON.parse` would quietly accept
 * (a key that stands twice, `__proto__`) could make two readers see two configurations.
 */
import type { FoundProblem } from './configProblem.js';

export const configBytesMax = 1_048_576;
const depthMax = 64;

export type ConfigText = { readonly value: unknown } | { readonly problem: FoundProblem };

export function parseConfigText(bytes: Buffer): ConfigText {
  if (bytes.length > configBytesMax) return refused('', 'is larger than 1 MiB');
  if (bytes.length === 0) return refused('', 'is empty');
  if (
    bytes.subarray(0, 3).equals(Buffer.from([0xef, 0xbb, 0xbf])) ||
    bytes[0] === 0xff ||
    bytes[0] === 0xfe
  ) {
    return refused('', 'begins with a byte order mark; save it as UTF-8 without one');
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return refused('', 'is not UTF-8');
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text around the place, which may be a secret.
    return refused('', describeSyntaxError(text));
  }
  const odd = findOddKey(text);
  return odd === null ? { value } : { problem: odd };
}

const refused = (pointer: string, message: string): ConfigText => ({ problem: { pointer, message } });

/** Appends a key or index to a JSON pointer (RFC 6901 §3). */
export function toPointer(base: string, key: string | number): string {
  return `${base}/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`;
}

type Frame = { readonly keys: Set<string> | null; pointer: string; index: number };

/** Walks text that is known to be JSON and looks for a repeated key, `__proto__`, and nesting without end. */
function findOddKey(text: string): FoundProblem | null {
  const tokens = /"(?:[^"\\]|\\.)*"|[{}[\],:]/g;
  const frames: Frame[] = [];
  let pointer = '';
  let expectsKey = false;
  for (const [token] of text.matchAll(tokens)) {
    const frame = frames.at(-1);
    if (token === '{' || token === '[') {
      if (frames.length >= depthMax) return { pointer, message: `is nested deeper than ${depthMax}` };
      frames.push({ keys: token === '{' ? new Set() : null, pointer, index: 0 });
      expectsKey = token === '{';
      if (token === '[') pointer = toPointer(pointer, 0);
    } else if (token === '}' || token === ']') {
      pointer = frames.pop()?.pointer ?? '';
      expectsKey = false;
    } else if (token === ',' && frame !== undefined) {
      frame.index += 1;
      expectsKey = frame.keys !== null;
      pointer = frame.keys === null ? toPointer(frame.pointer, frame.index) : frame.pointer;
    } else if (token !== ':' && expectsKey && frame?.keys) {
      const key = String(JSON.parse(token));
      pointer = toPointer(frame.pointer, key);
      if (key === '__proto__') return { pointer, message: 'is a key that is not allowed' };
      if (frame.keys.has(key)) return { pointer, message: 'stands twice in the same object' };
      frame.keys.add(key);
      expectsKey = false;
    }
  }
  return null;
}

/** Says where the JSON breaks off, by line, without quoting any of it. */
function describeSyntaxError(text: string): string {
  const open = (text.match(/[{[]/g)?.length ?? 0) - (text.match(/[}\]]/g)?.length ?? 0);
  const lines = text.trimEnd().split('\n').length;
  return open > 0
    ? `is not valid JSON: it ends on line ${lines} with ${open} ${open === 1 ? 'bracket' : 'brackets'} open`
    : 'is not valid JSON (comments and trailing commas are not allowed)';
}
