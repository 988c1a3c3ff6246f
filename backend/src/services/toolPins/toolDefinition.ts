/**
 * The canonical form of a tool's definition, and its digest: all that an upstream says of the tool, since any of it may
 * reach a model or change what a client does with it (`_meta` and unknown members too). RFC 8785, "JSON Canonicalization
 * Scheme"; a lone surrogate is kept as its escape, so that a definition that has one is told from one that has not.
 */
import { createHash } from 'node:crypto';
import canonicalizeModule from 'canonicalize';
import { definitionBytesMax } from '../../stores/toolPinsStore.js';

/** Its types name a default export that the CommonJS module, which is the function itself, does not have. */
const canonicalize = canonicalizeModule as unknown as (value: unknown) => string | undefined;

export interface ToolDefinition {
  readonly tool: string;
  /** `v1:` and 64 hex digits; the tag names this way of making it. */
  readonly digest: string;
  /** The canonical form. */
  readonly text: string;
}

const depthMax = 64;
const valuesMax = 20_000;
const nameCharactersMax = 256;
/** Control characters, and surrogates that stand alone. */
const unkeepable = /[\p{Cc}\p{Cs}]/u;

/**
 * Null for what cannot be pinned, and so is never shown: a name that is none or that no database keeps, a number that is
 * none, a definition of more than 128 KiB, 20,000 values or 64 levels.
 */
export function toToolDefinition(tool: Readonly<Record<string, unknown>>): ToolDefinition | null {
  const { name } = tool;
  if (typeof name !== 'string' || name === '' || name.length > nameCharactersMax) return null;
  if (unkeepable.test(name) || !isBounded(tool)) return null;
  const text = canonicalize(tool);
  if (text === undefined || Buffer.byteLength(text) > definitionBytesMax) return null;
  return { tool: name, digest: `v1:${createHash('sha256').update(text).digest('hex')}`, text };
}

/** Without recursion: what is deep is found out before anything recurses over it. */
function isBounded(tool: object): boolean {
  let level: unknown[] = [tool];
  let count = 1;
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > depthMax) return false;
    const next: unknown[] = [];
    for (const value of level) {
      if (typeof value === 'number' && !Number.isFinite(value)) return false;
      if (typeof value !== 'object' || value === null) continue;
      for (const one of Object.values(value)) {
        count += 1;
        if (count > valuesMax) return false;
        next.push(one);
      }
    }
    level = next;
  }
  return true;
}
