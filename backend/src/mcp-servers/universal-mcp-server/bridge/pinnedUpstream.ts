/**
 * An upstream as a service with pinned tools sees it: what any of its connections lists holds only what may be shown, for
 * whichever way and era it was asked. Looked at before any translation, so that a definition has one digest.
 */
import type { ServiceDefinition } from '../../../catalog/serviceDefinition.js';
import type { JsonRpcNotification } from '../protocol/jsonRpc.js';
import type { RequestListener, Upstream, UpstreamConnection } from '../upstream/upstream.js';
import { ToolPins, type PinnedInstance, type ToolPinsOptions } from './toolPins.js';
import { toolsChanged } from './toolsChanged.js';

/** The pins of a service whose file asks for them, and its upstream with them; both are as they were for all others. */
export function pinTools(
  upstream: Upstream,
  options: ToolPinsOptions & { readonly definition: Pick<ServiceDefinition, 'kind'> },
): { readonly pins: ToolPins | null; readonly upstream: Upstream } {
  const { toolPolicy, kind } = options.definition;
  if (!toolPolicy.pinDescriptions) return { pins: null, upstream };
  const pins = new ToolPins(options);
  return { pins, upstream: withPinnedTools(upstream, pins, { isKept: kind !== 'api' }) };
}

/** @param isKept whether connections are conversations; one that is made for each call says nothing new of the tools. */
function withPinnedTools(
  upstream: Upstream,
  pins: ToolPins,
  { isKept }: { readonly isKept: boolean },
): Upstream {
  return {
    async connect(terms, signal) {
      const connection = await upstream.connect(terms, signal);
      if (isKept) pins.forget(terms.instance.id);
      return toPinned(connection, pins, terms.instance);
    },
    probe: (terms, signal) => upstream.probe(terms, signal),
    forget(instanceId, now) {
      pins.forget(instanceId);
      upstream.forget(instanceId, now);
    },
    [Symbol.asyncDispose]: () => upstream[Symbol.asyncDispose](),
  };
}

function toPinned(
  connection: UpstreamConnection,
  pins: ToolPins,
  instance: PinnedInstance,
): UpstreamConnection {
  const notice = ({ method }: JsonRpcNotification): void => {
    if (method === toolsChanged) pins.forget(instance.id);
  };
  const { attribution } = connection;
  return {
    get era() {
      return connection.era;
    },
    get server() {
      return connection.server;
    },
    get isLost() {
      return connection.isLost === true;
    },
    ...(attribution === undefined ? {} : { attribution }),
    async request(request, listener, signal) {
      const response = await connection.request(request, toHearing(listener, notice), signal);
      if (request.method !== 'tools/list' || 'error' in response) return response;
      const result = await pins.examine(instance, request.params?.['cursor'], response.result);
      return { ...response, result };
    },
    notify: (notification) => connection.notify(notification),
    listen: (listener) =>
      connection.listen({
        onNotification(notification) {
          notice(notification);
          listener.onNotification(notification);
        },
        onServerRequest: (request) => listener.onServerRequest(request),
        onClosed: () => listener.onClosed(),
      }),
    release: () => connection.release(),
  };
}

/** Takes no bytes: what is not read could be the answer to another request (a list of tools under its id). */
function toHearing(
  listener: RequestListener,
  notice: (notification: JsonRpcNotification) => void,
): RequestListener {
  return {
    onNotification(notification) {
      notice(notification);
      listener.onNotification(notification);
    },
    onServerRequest: (request) => listener.onServerRequest(request),
    ...(listener.onStrayRequest === undefined
      ? {}
      : {
          onStrayRequest: (request) =>
            listener.onStrayRequest?.(request) ?? listener.onServerRequest(request),
        }),
  };
}
