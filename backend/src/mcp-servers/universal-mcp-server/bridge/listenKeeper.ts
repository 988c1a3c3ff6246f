/**
 * A `subscriptions/listen` whose upstream tells no changes of its tools though the client wants to hear of them: of pinned
 * tools Portolan tells it, so the stream is acknowledged with them and stays open when the upstream has no more to say.
 */
import { isJsonObject, type JsonObject, type JsonRpcRequest } from '../protocol/jsonRpc.js';
import type { BridgeContext } from './bridgeContext.js';
import { toListenNotice } from './toolsChanged.js';

const acknowledged = 'notifications/subscriptions/acknowledged';

export class ListenKeeper {
  /** Whether the stream has to outlive the upstream's end of it. */
  isOurs = false;
  /** The upstream's end of a stream that passed as frames; it is sent when the stream ends for good. */
  withheld: Buffer | null = null;

  /** Null where the upstream's stream is all that there is to hear. */
  static of({ pins }: Pick<BridgeContext, 'pins'>, request: JsonRpcRequest): ListenKeeper | null {
    return pins === null || toListenNotice(request) === null ? null : new ListenKeeper();
  }

  /** The params of a notification on the stream as the client hears them. */
  show(method: unknown, params: JsonObject): JsonObject {
    if (method !== acknowledged) return params;
    const honored = isJsonObject(params['notifications']) ? params['notifications'] : {};
    if (honored['toolsListChanged'] === true) return params;
    this.isOurs = true;
    return { ...params, notifications: { ...honored, toolsListChanged: true } };
  }

  /** The same of a message in bytes; null where it is not to be sent, or not now. */
  showFrame(data: Buffer): Buffer | null {
    const message: unknown = JSON.parse(data.toString('utf8'));
    if (!isJsonObject(message)) return null;
    if (this.isOurs && 'result' in message) {
      this.withheld = Buffer.from(JSON.stringify(message));
      return null;
    }
    const { method, params } = message;
    const shown = isJsonObject(params) ? { ...message, params: this.show(method, params) } : message;
    return Buffer.from(JSON.stringify(shown));
  }
}
