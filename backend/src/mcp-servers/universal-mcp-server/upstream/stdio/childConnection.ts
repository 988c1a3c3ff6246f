/**
 * One conversation's view of a child that it may share with others of the same instance: the level that it logs at and
 * the resources that it subscribed to are its own; the child is told what all of them together need.
 */
import type { JsonRpcRequest, JsonRpcResponse } from '../../protocol/jsonRpc.js';
import { isAtLeast, isLogLevel } from '../../protocol/logLevels.js';
import type { RequestListener, ServerTerms, UpstreamConnection } from '../upstream.js';
import type { ChildRouter } from './childRouter.js';
import type { Owner, RequestTable } from './requestTable.js';

/** What several conversations may share: a child, or a session with a remote server. */
export interface SharedRouter extends Pick<
  ChildRouter,
  'owners' | 'era' | 'isClosed' | 'request' | 'notify' | 'forget'
> {
  readonly requests: Pick<RequestTable, 'requireOpen'>;
}

/**
 * @param takeRequest asked before each request. @throws AppError RATE_LIMIT_EXCEEDED
 * @throws AppError UPSTREAM_UNREACHABLE when the child ended meanwhile: whoever hears of nothing would wait for ever.
 */
export function connectOwner(
  router: SharedRouter,
  server: ServerTerms,
  takeRequest: () => void,
): UpstreamConnection {
  router.requests.requireOpen();
  const owner: Owner = { listeners: new Set(), subscriptions: new Set(), logLevel: null };
  router.owners.add(owner);

  return {
    era: router.era,
    server,
    get isLost() {
      return router.isClosed;
    },
    async request(request, listener, signal) {
      takeRequest();
      // A modern server has no levels and subscriptions but those that a request or stream names itself.
      if (router.era === 'modern') return router.request(request, owner, listener, signal);
      switch (request.method) {
        case 'logging/setLevel':
          return setLevel(router, owner, request, listener, signal);
        case 'resources/subscribe':
        case 'resources/unsubscribe':
          return subscribe(router, owner, request, listener, signal);
        default:
          return router.request(request, owner, listener, signal);
      }
    },
    notify: (notification) => router.notify(notification),
    listen(listener) {
      owner.listeners.add(listener);
      return () => void owner.listeners.delete(listener);
    },
    release() {
      owner.listeners.clear();
      router.forget(owner);
    },
  };
}

/** The child logs at the most talkative level that anybody wants; the rest is left out on the way back. */
async function setLevel(
  router: SharedRouter,
  owner: Owner,
  request: JsonRpcRequest,
  listener: RequestListener,
  signal: AbortSignal,
): Promise<JsonRpcResponse> {
  const level = request.params?.['level'];
  const others = [...router.owners].filter((one) => one !== owner && one.logLevel !== null);
  const isCovered = isLogLevel(level) && others.some((one) => isAtLeast(level, one.logLevel));
  const response: JsonRpcResponse = isCovered
    ? { jsonrpc: '2.0', id: request.id, result: {} }
    : await router.request(request, owner, listener, signal);
  if (!('error' in response) && typeof level === 'string') owner.logLevel = level;
  return response;
}

/** Subscriptions are counted: the child hears of the first of a resource and of the end of the last. */
async function subscribe(
  router: SharedRouter,
  owner: Owner,
  request: JsonRpcRequest,
  listener: RequestListener,
  signal: AbortSignal,
): Promise<JsonRpcResponse> {
  const uri = request.params?.['uri'];
  if (typeof uri !== 'string') return router.request(request, owner, listener, signal);
  const isAdding = request.method === 'resources/subscribe';
  const othersHaveIt = [...router.owners].some((one) => one !== owner && one.subscriptions.has(uri));
  const response: JsonRpcResponse = othersHaveIt
    ? { jsonrpc: '2.0', id: request.id, result: {} }
    : await router.request(request, owner, listener, signal);
  if ('error' in response) return response;
  if (isAdding) owner.subscriptions.add(uri);
  else owner.subscriptions.delete(uri);
  return response;
}
