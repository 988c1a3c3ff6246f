import type { JsonRpcId, JsonRpcResponse } from '../../protocol/jsonRpc.js';

/**
 * What stands in for an answer over `limits.maxResponseBytes`: where a tool was called, words for the model, for what it
 * can do is to ask for less (MCP "Tools", "Error Handling").
 */
export function toTooLarge(
  { id, method }: { readonly id: JsonRpcId; readonly method: string },
  bytesMax: number,
): JsonRpcResponse {
  const message = `PAYLOAD_TOO_LARGE: The answer is larger than the ${bytesMax} bytes that this service may send. Ask for less.`;
  if (method === 'tools/call')
    return { jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: message }], isError: true } };
  return { jsonrpc: '2.0', id, error: { code: -32603, message, data: { code: 'PAYLOAD_TOO_LARGE' } } };
}
