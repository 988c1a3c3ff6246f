import type { SealedInstance } from '../../../services/instanceResolver.js';
import { envelope } from '../protocol/envelope.js';
import { isJsonObject, type JsonRpcRequest } from '../protocol/jsonRpc.js';
import { isLogLevel } from '../protocol/logLevels.js';
import type { RequestOrigin } from './bridgeContext.js';
import type { WaitingPost } from './heldCall.js';
import type { Reply } from './reply.js';

/** One request of a modern client, with what it says of itself taken out of its envelope. */
export interface ModernPost extends WaitingPost {
  readonly instance: SealedInstance;
  readonly origin: RequestOrigin;
  readonly reply: Reply;
  /** Name, value, name, value, …, as they came. */
  readonly headers: readonly string[];
}

export function toModernPost(
  from: Pick<ModernPost, 'instance' | 'origin' | 'headers'>,
  request: JsonRpcRequest,
  reply: Reply,
): ModernPost {
  const meta = request.params?.['_meta'];
  const { [envelope.logLevel]: level, [envelope.clientCapabilities]: declared } = isJsonObject(meta)
    ? meta
    : {};
  const capabilities = isJsonObject(declared) ? declared : {};
  return { ...from, request, reply, capabilities, logLevel: isLogLevel(level) ? level : null };
}
