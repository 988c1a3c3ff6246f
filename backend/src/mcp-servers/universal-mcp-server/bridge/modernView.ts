/**
 * A connection of either era as the request of a modern client meets it: a modern one takes it as it is, a legacy one
 * takes it translated, and only what it can have. Which of them it is shows when the connection is there.
 */
import { AppError } from '../../../errors/appError.js';
import { isJsonObject, type JsonRpcRequest } from '../protocol/jsonRpc.js';
import type { UpstreamConnection } from '../upstream/upstream.js';
import { invalidRequestState } from './requestState.js';
import { isPassedMethod, toLegacyRequest } from './translate/modernToLegacy.js';

/**
 * @param asked what the client sent
 * @throws AppError METHOD_NOT_FOUND, INVALID_PARAMS (a state that no legacy upstream can have given)
 */
export function toModernView(connection: UpstreamConnection, asked: JsonRpcRequest): UpstreamConnection {
  const { era, server } = connection;
  if (era === 'legacy') {
    if (!isPassedMethod(asked.method))
      throw new AppError('METHOD_NOT_FOUND', 'a method that the revision does not have');
    if (asked.params?.['requestState'] !== undefined) throw invalidRequestState();
  }
  const toSent = (request: JsonRpcRequest): JsonRpcRequest =>
    era === 'legacy' ? toLegacyRequest(request) : withEnvelope(request, asked);
  return {
    era,
    server,
    get isLost() {
      return connection.isLost === true;
    },
    request: (request, listener, signal) => connection.request(toSent(request), listener, signal),
    notify: (notification) => connection.notify(notification),
    listen: (listener) => connection.listen(listener),
    release: () => connection.release(),
  };
}

/** A request of ours (a list that the policy needs) says what the client's own request said. */
function withEnvelope(request: JsonRpcRequest, { params }: JsonRpcRequest): JsonRpcRequest {
  if (isJsonObject(request.params?.['_meta'])) return request;
  const { progressToken: _token, ...own } = isJsonObject(params?.['_meta']) ? params['_meta'] : {};
  return { ...request, params: { ...request.params, _meta: own } };
}
