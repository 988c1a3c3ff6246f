/** The headers of a message of the modern era (MCP 2026-07-28, "Streamable HTTP", "Standard request headers"). */
import type { JsonObject, JsonRpcNotification, JsonRpcRequest } from '../../protocol/jsonRpc.js';
import { modernRevisions } from '../../protocol/revisions.js';

const jsonHeaders = [
  'content-type',
  'application/json',
  'accept',
  'application/json, text/event-stream',
] as const;

/** What every `POST` of either era says of itself. */
export const postHeaders: readonly string[] = jsonHeaders;

const namedBy: Readonly<Record<string, string>> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
};

export function toModernHeaders(message: JsonRpcRequest | JsonRpcNotification): string[] {
  const { method, params } = message;
  const headers = [
    ...jsonHeaders,
    'mcp-protocol-version',
    modernRevisions[0],
    'mcp-method',
    toHeaderText(method),
  ];
  const member = namedBy[method];
  const name = member === undefined ? undefined : params?.[member];
  if (typeof name === 'string') headers.push('mcp-name', toHeaderText(name));
  return headers;
}

const sentinel = '=?base64?';
const sentinelEnd = '?=';

/** Text that no field value can carry as it is goes as base64 between sentinels ("Value encoding"). */
export function toHeaderText(text: string): string {
  const isPlain = /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/.test(text);
  const looksEncoded = text.startsWith(sentinel) && text.endsWith(sentinelEnd);
  return isPlain && !looksEncoded ? text : `${sentinel}${Buffer.from(text).toString('base64')}${sentinelEnd}`;
}

/** A place in a tool's arguments whose value a header repeats. */
export interface ParamHeader {
  readonly header: string;
  readonly path: readonly string[];
}

/**
 * What `x-mcp-header` in an input schema asks for ("Schema extension"): strings, integers and booleans below `properties`
 * alone. Anything else is left out; the server says if it minds.
 */
export function findParamHeaders(inputSchema: unknown): readonly ParamHeader[] {
  const found: ParamHeader[] = [];
  const visit = (schema: unknown, path: readonly string[]): void => {
    if (typeof schema !== 'object' || schema === null || path.length > pathLengthMax) return;
    const { 'x-mcp-header': name, type, properties } = schema as Record<string, unknown>;
    const isPrimitive = type === 'string' || type === 'integer' || type === 'boolean';
    if (
      path.length > 0 &&
      isPrimitive &&
      typeof name === 'string' &&
      /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name)
    )
      found.push({ header: `mcp-param-${name.toLowerCase()}`, path });
    if (typeof properties !== 'object' || properties === null) return;
    for (const [key, value] of Object.entries(properties)) visit(value, [...path, key]);
  };
  visit(inputSchema, []);
  return found;
}

const pathLengthMax = 16;

export function toParamHeaders(wanted: readonly ParamHeader[], given: JsonObject): string[] {
  return wanted.flatMap(({ header, path }) => {
    let value: unknown = given;
    for (const key of path) {
      value =
        typeof value === 'object' && value !== null && Object.hasOwn(value, key)
          ? Reflect.get(value, key)
          : null;
    }
    const isNumber = Number.isSafeInteger(value) || (typeof value === 'number' && !Number.isInteger(value));
    if (typeof value !== 'string' && typeof value !== 'boolean' && !isNumber) return [];
    return [header, toHeaderText(String(value))];
  });
}
