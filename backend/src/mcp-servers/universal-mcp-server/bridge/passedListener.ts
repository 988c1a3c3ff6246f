import type {
  JsonObject,
  JsonRpcNotification,
  JsonRpcRequest,
  JsonRpcResponse,
} from '../protocol/jsonRpc.js';
import { isAtLeast } from '../protocol/logLevels.js';
import type { Era } from '../protocol/revisions.js';
import type { RequestListener } from '../upstream/upstream.js';
import type { ModernConversation } from './modernConversation.js';
import { refuseToBeAsked } from './refuseToBeAsked.js';
import type { ModernPost } from './modernPost.js';
import { canBeAsked, findMissingCapability } from './translate/inputRequests.js';

/** Hears what belongs to a request that its client is never asked about. */
export class PassedListener implements RequestListener {
  era: Era = 'legacy';
  missingCapabilities: JsonObject | null = null;
  readonly #post: ModernPost;
  readonly #conversation: ModernConversation;

  constructor(post: ModernPost, conversation: ModernConversation) {
    this.#post = post;
    this.#conversation = conversation;
  }

  onNotification(notification: JsonRpcNotification): void {
    const { reply, logLevel } = this.#post;
    if (this.era === 'modern') return reply.send(notification);
    if (notification.method === 'notifications/message') {
      if (logLevel === null || !isAtLeast(notification.params?.['level'], logLevel)) return;
    } else if (notification.method !== 'notifications/progress') return;
    reply.send(notification);
  }

  onServerRequest(request: JsonRpcRequest): Promise<JsonRpcResponse> {
    // With a capability of this kind there is a call that it may be of; without, it is of this one.
    if (canBeAsked(this.#post.capabilities)) return this.#conversation.ask(request);
    this.missingCapabilities ??= findMissingCapability(request, this.#post.capabilities);
    return refuseToBeAsked(request);
  }
}
