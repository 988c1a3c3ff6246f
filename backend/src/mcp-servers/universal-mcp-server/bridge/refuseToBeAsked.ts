import type { JsonRpcRequest, JsonRpcResponse } from '../protocol/jsonRpc.js';

/** The honest answer to a server that asks outside of any call that could ask its client. */
export function refuseToBeAsked(request: JsonRpcRequest): Promise<JsonRpcResponse> {
  const error = {
    code: -32601,
    message: 'the client cannot be asked: this belongs to no call that can ask it',
  };
  return Promise.resolve({ jsonrpc: '2.0', id: request.id, error });
}
