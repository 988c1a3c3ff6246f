/**
 * JSON-RPC 2.0 as MCP uses it (no batches after 2025-03-26; ids are strings or integers).
 * Types and guards only: what a message means is the bridge's business.
 */
export type JsonRpcId = string | number;

export type JsonObject = Readonly<Record<string, unknown>>;

export interface JsonRpcRequest {
  readonly jsonrpc: '2.0';
  readonly id: JsonRpcId;
  readonly method: string;
  readonly params?: JsonObject;
}

export interface JsonRpcNotification {
  readonly jsonrpc: '2.0';
  readonly method: string;
  readonly params?: JsonObject;
}

export interface JsonRpcSuccess {
  readonly jsonrpc: '2.0';
  readonly id: JsonRpcId;
  readonly result: JsonObject;
  /**
   * The whole message as it came, under the id above, where whoever asked takes bytes; `result` is empty then. There is
   * no `isError` in it.
   */
  readonly bytes?: Buffer;
}

export interface JsonRpcFailure {
  readonly jsonrpc: '2.0';
  /** Absent or null only when the request could not be read. */
  readonly id: JsonRpcId | null;
  readonly error: { readonly code: number; readonly message: string; readonly data?: unknown };
}

export type JsonRpcResponse = JsonRpcSuccess | JsonRpcFailure;
export type JsonRpcMessage = JsonRpcRequest | JsonRpcNotification | JsonRpcResponse;

export type MessageShape = 'request' | 'notification' | 'response' | 'invalid';

const isId = (value: unknown): value is JsonRpcId =>
  typeof value === 'string' || (typeof value === 'number' && Number.isInteger(value));

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Says what a parsed message is; one that fits no form of the specification is `invalid`. */
export function shapeOf(message: unknown): MessageShape {
  if (!isJsonObject(message) || message.jsonrpc !== '2.0') return 'invalid';
  const { id, method, params, result, error } = message;
  if (method !== undefined) {
    if (typeof method !== 'string' || (params !== undefined && !isJsonObject(params))) return 'invalid';
    if (!('id' in message)) return 'notification';
    return isId(id) ? 'request' : 'invalid';
  }
  if (error !== undefined) {
    if (!isJsonObject(error) || !Number.isInteger(error.code) || typeof error.message !== 'string')
      return 'invalid';
    return isId(id) || id === null || id === undefined ? 'response' : 'invalid';
  }
  return isJsonObject(result) && isId(id) ? 'response' : 'invalid';
}

export function isFailure(response: JsonRpcResponse): response is JsonRpcFailure {
  return 'error' in response;
}
