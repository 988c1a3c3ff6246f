/**
 * Asks a remote server which eras it speaks: `server/discover` for the modern one, `initialize` for the legacy one, since
 * a server of both names only the modern one in `supportedVersions`. What is about access or health is no evidence and is
 * thrown (spec 04, "Packages and their roles").
 */
import { AppError } from '../../../../errors/appError.js';
import { isJsonObject, shapeOf, type JsonObject, type JsonRpcResponse } from '../../protocol/jsonRpc.js';
import { eraOf, type Era } from '../../protocol/revisions.js';
import type { EraFacts } from '../eraRegistry.js';
import { toModernHeaders, postHeaders } from './modernHeaders.js';
import { exchangeMessages } from './messageExchange.js';
import { ownEnvelope, ownTerms } from './ownTerms.js';
import type { MessageOwner } from './rawCall.js';
import type { RawHead, RawRequest } from './rawUpstream.js';
import type { RemoteParts } from './remoteParts.js';
import { endSession } from './endSession.js';
import { findSseEndpoint } from './sseStream.js';

const unsupportedVersion = -32022;

export async function askEra(
  parts: RemoteParts,
  owner: MessageOwner,
  preferred: Era,
  signal: AbortSignal,
): Promise<EraFacts> {
  return await parts.auditUse(owner.instance, 'era/ask', () =>
    preferred === 'modern' ? askModern(parts, owner, signal) : askLegacy(parts, owner, signal),
  );
}

async function askModern(parts: RemoteParts, owner: MessageOwner, signal: AbortSignal): Promise<EraFacts> {
  const message = {
    jsonrpc: '2.0',
    id: 1,
    method: 'server/discover',
    params: { _meta: ownEnvelope },
  } as const;
  const { response } = await ask(parts, owner, toPost(message, toModernHeaders(message)), signal);
  const versions =
    response === null
      ? null
      : 'error' in response
        ? supportedOf(response)
        : response.result['supportedVersions'];
  const modern =
    Array.isArray(versions) && versions.some((one) => typeof one === 'string' && eraOf(one) === 'modern');
  // Whatever else a server says to a method that it does not know, it is no modern one.
  return { modern, legacy: null, legacyTransport: null };
}

async function askLegacy(parts: RemoteParts, owner: MessageOwner, signal: AbortSignal): Promise<EraFacts> {
  const message = { jsonrpc: '2.0', id: 1, method: 'initialize', params: { ...ownTerms } } as const;
  const { response, head } = await ask(parts, owner, toPost(message, postHeaders), signal);
  if (response !== null && !('error' in response)) {
    void endSession(parts, owner, head.sessionId, ownTerms.protocolVersion);
    const { protocolVersion } = response.result;
    const legacy = typeof protocolVersion === 'string' && eraOf(protocolVersion) === 'legacy';
    return { modern: null, legacy, legacyTransport: legacy ? 'streamable-http' : null };
  }
  const supported = response === null ? null : supportedOf(response);
  if (supported !== null) {
    const speaks = (era: Era): boolean =>
      supported.some((one) => typeof one === 'string' && eraOf(one) === era);
    return { modern: speaks('modern'), legacy: speaks('legacy'), legacyTransport: null };
  }
  // MCP 2025-03-26, "Backwards Compatibility": an older server has no POST at this place.
  if (response === null && parts.remote.fallbackSse) {
    const found = await findSseEndpoint(parts, owner, signal);
    if (found !== null) return { modern: false, legacy: true, legacyTransport: 'sse' };
  }
  if (response?.error !== undefined) return { modern: null, legacy: false, legacyTransport: null };
  throw new AppError('UPSTREAM_FAILED', `the remote server answered initialize with status ${head.status}`, {
    publicDetail: `What stands at the address of the service answered with status ${head.status} and is no MCP server that we know.`,
  });
}

interface Answer {
  readonly head: RawHead;
  /** Null when nothing in the answer was a JSON-RPC response. */
  readonly response: JsonRpcResponse | null;
}

async function ask(
  parts: RemoteParts,
  owner: MessageOwner,
  request: RawRequest,
  signal: AbortSignal,
): Promise<Answer> {
  let response: JsonRpcResponse | null = null;
  const head = await exchangeMessages(
    parts,
    owner,
    request,
    {
      onMessage(message) {
        if (shapeOf(message) === 'response') response ??= message as JsonRpcResponse;
      },
    },
    signal,
  );
  return { head, response };
}

function toPost(message: JsonObject, headers: readonly string[]): RawRequest {
  return {
    lane: 'call',
    method: 'POST',
    body: Buffer.from(JSON.stringify(message)),
    sessionId: null,
    headers,
  };
}

/** The versions that a server lists as it refuses ours; null when it does not. */
function supportedOf(response: JsonRpcResponse): readonly unknown[] | null {
  if (!('error' in response) || response.error.code !== unsupportedVersion) return null;
  const { data } = response.error;
  return isJsonObject(data) && Array.isArray(data['supported']) ? data['supported'] : null;
}
