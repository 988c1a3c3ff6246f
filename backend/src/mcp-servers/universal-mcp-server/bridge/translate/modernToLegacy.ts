/**
 * A client of the modern era (2026-07-28) before an upstream of the legacy era: what its requests become, and what comes
 * back to it (spec 04, "Translation", C26→U25). Pure functions; nothing here waits or remembers.
 */
import { envelope } from '../../protocol/envelope.js';
import {
  isJsonObject,
  type JsonObject,
  type JsonRpcFailure,
  type JsonRpcRequest,
} from '../../protocol/jsonRpc.js';
import { modernRevisions } from '../../protocol/revisions.js';
import type { ServerTerms } from '../../upstream/upstream.js';

/** The requests that a modern client may make and a legacy upstream understands, but for discover and listen. */
const passedMethods = new Set([
  'tools/list',
  'tools/call',
  'prompts/list',
  'prompts/get',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'completion/complete',
]);

const cacheableMethods = new Set([
  'server/discover',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  'resources/read',
]);

export function isPassedMethod(method: string): boolean {
  return passedMethods.has(method);
}

/** The same request without what the legacy era does not know: the envelope, and answers to questions never asked. */
export function toLegacyRequest(request: JsonRpcRequest): JsonRpcRequest {
  const { _meta, inputResponses: _responses, requestState: _state, ...params } = request.params ?? {};
  const meta = isJsonObject(_meta) ? withoutEnvelope(_meta) : {};
  return {
    ...request,
    params: Object.keys(meta).length === 0 ? params : { ...params, _meta: meta },
  };
}

/** A result with the members that the modern era requires; nothing is ever cacheable by others than its owner (D10). */
export function toModernResult(method: string, result: JsonObject, serverInfo: JsonObject): JsonObject {
  const { _meta } = result;
  return {
    ...result,
    resultType: 'complete',
    ...(cacheableMethods.has(method) ? { ttlMs: 0, cacheScope: 'private' } : {}),
    _meta: { ...(isJsonObject(_meta) ? _meta : {}), [envelope.serverInfo]: serverInfo },
  };
}

/** A modern upstream's own result, as it is; but whatever it says, nobody may keep it for others (D10). */
export function toPassedResult(result: JsonObject): JsonObject {
  const { cacheScope } = result;
  return cacheScope === undefined || cacheScope === 'private' ? result : { ...result, cacheScope: 'private' };
}

export function toDiscoverResult(server: ServerTerms): JsonObject {
  const { tasks: _tasks, ...capabilities } = server.capabilities;
  return toModernResult(
    'server/discover',
    {
      supportedVersions: [...modernRevisions],
      capabilities,
      ...(server.instructions === undefined ? {} : { instructions: server.instructions }),
    },
    server.serverInfo,
  );
}

/** Codes that the modern era dropped or gave another meaning. `uri` is what was asked for, where it was a resource. */
export function toModernError(error: JsonRpcFailure['error'], uri: string | null): JsonRpcFailure['error'] {
  switch (error.code) {
    case -32002: {
      const data = isJsonObject(error.data) ? error.data : {};
      return { code: -32602, message: error.message, data: uri === null ? data : { uri, ...data } };
    }
    // Pages to be opened are asked for in another way (`toPageRequests`); this code means nothing in the modern era.
    case -32042:
      return { code: -32603, message: 'The server behind wants a page to be opened first.' };
    // These speak of headers and versions between us and the upstream, which are not the client's.
    case -32020:
    case -32022:
      return { code: -32603, message: 'The server behind did not understand the request.' };
    default:
      return error;
  }
}

/**
 * The HTTP status of a response to a modern client: errors of the protocol itself are told by status as well. A server
 * that answers a call with −32601 speaks of the tool, not of the method, and clients read no answer from a 404.
 */
export function toModernStatus(error: { readonly code: number } | undefined, method?: string): number {
  if (error === undefined) return 200;
  if (error.code === -32601) return method === 'tools/call' ? 200 : 404;
  return badRequestCodes.has(error.code) ? 400 : 200;
}

const badRequestCodes = new Set([-32020, -32021, -32022, -32600, -32700]);

function withoutEnvelope(meta: JsonObject): JsonObject {
  const own: readonly string[] = Object.values(envelope);
  return Object.fromEntries(Object.entries(meta).filter(([name]) => !own.includes(name)));
}
