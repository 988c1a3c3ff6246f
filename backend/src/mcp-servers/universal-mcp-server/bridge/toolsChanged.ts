/** The notice that another list of tools is shown now, as clients of each era hear it. */
import { envelope } from '../protocol/envelope.js';
import type { JsonRpcNotification, JsonRpcRequest } from '../protocol/jsonRpc.js';
import { parseListenFilter } from './listenStream.js';

export const toolsChanged = 'notifications/tools/list_changed';

/** On the stream that this `subscriptions/listen` asked for; null where its client did not ask for this. */
export function toListenNotice({ id, params }: JsonRpcRequest): JsonRpcNotification | null {
  if (parseListenFilter(params?.['notifications'])?.toolsListChanged !== true) return null;
  return { jsonrpc: '2.0', method: toolsChanged, params: { _meta: { [envelope.subscriptionId]: id } } };
}
