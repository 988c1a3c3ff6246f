/**
 * What of an answer is changed on its way to the client, and what is kept of it: lists as the tool policy has them, cache
 * scopes that must not be public (D10), the terms of the server, what a session settled. Everything else passes untouched.
 */
import type { SealedInstance } from '../../../../services/instanceResolver.js';
import { isJsonObject, type JsonObject, type JsonRpcRequest } from '../../protocol/jsonRpc.js';
import { findMember } from '../../protocol/jsonScan.js';
import { legacyRevisions, type Era } from '../../protocol/revisions.js';
import type { BridgeContext } from '../bridgeContext.js';
import type { InstanceRoom } from '../instanceRooms.js';
import { noteSettled } from '../legacyBridge.js';
import { isListMethod, showList } from '../shownLists.js';
import { toShownTerms } from '../shownTerms.js';
import { parseResponse } from './answerFacts.js';

export interface AnsweredCall {
  readonly era: Era;
  readonly instance: SealedInstance;
  readonly request: JsonRpcRequest;
  /** Null where there is no session, or none yet. */
  readonly session: { readonly uuid: string } | null;
}

const looksAt: ReadonlySet<string> = new Set([
  'initialize',
  'server/discover',
  'logging/setLevel',
  'resources/subscribe',
  'resources/unsubscribe',
]);
/** Results that the modern era lets be cached; of others nobody asks how they may be. */
const cacheable: ReadonlySet<string> = new Set(['server/discover', 'resources/read']);

/** Whether the whole answer has to be there before the first of it may go on. */
export function isLookedAt(era: Era, method: string): boolean {
  return isListMethod(method) || looksAt.has(method) || (era === 'modern' && cacheable.has(method));
}

/** The bytes to send for a response that is no failure. */
export function showAnswer(
  ctx: BridgeContext,
  room: InstanceRoom,
  { era, instance, request, session }: AnsweredCall,
  body: Buffer,
): Buffer {
  const { method } = request;
  let shown = body;
  if (isListMethod(method)) {
    const response = parseResponse(body);
    if (response !== null && 'result' in response) {
      const result = showList(ctx, room, instance, request, response.result);
      if (result !== response.result) shown = Buffer.from(JSON.stringify({ ...response, result }));
    }
  } else if (method === 'initialize' || method === 'server/discover') {
    rememberTerms(ctx, instance, body);
    ctx.pins?.forget(instance.id);
    if (ctx.pins !== null) shown = withShownTerms(ctx, body);
  } else if (session !== null) {
    noteSettled(ctx.journal, session.uuid, request);
  }
  return era === 'modern' ? withPrivateScope(shown) : shown;
}

function withShownTerms(ctx: BridgeContext, body: Buffer): Buffer {
  const response = parseResponse(body);
  if (response === null || !('result' in response)) return body;
  const { capabilities } = response.result;
  if (!isJsonObject(capabilities)) return body;
  const result = toShownTerms(ctx, { ...response.result, capabilities });
  return Buffer.from(JSON.stringify({ ...response, result }));
}

const scopeKey = Buffer.from('"cacheScope"');
const privateScope = Buffer.from('"private"');

/** A result is its owner's alone, whatever its server says: it was made with the owner's credential. */
export function withPrivateScope(body: Buffer): Buffer {
  const first = body.indexOf(scopeKey);
  if (first < 0) return body;
  if (body.lastIndexOf(scopeKey) !== first) return rewritten(body);
  const result = findMember(body, 'result');
  const scope = result === null ? null : findMember(body, 'cacheScope', result.start);
  if (scope === null || privateScope.equals(body.subarray(scope.start, scope.end))) return body;
  return Buffer.concat([body.subarray(0, scope.start), privateScope, body.subarray(scope.end)]);
}

/** Where the member stands more than once, parsing alone tells which of them counts. */
function rewritten(body: Buffer): Buffer {
  const response = parseResponse(body);
  if (response === null || !('result' in response) || response.result['cacheScope'] === undefined)
    return body;
  return Buffer.from(JSON.stringify({ ...response, result: { ...response.result, cacheScope: 'private' } }));
}

/** For when the upstream cannot be asked (12.15). */
function rememberTerms(ctx: BridgeContext, { id }: SealedInstance, body: Buffer): void {
  const response = parseResponse(body);
  if (response === null || !('result' in response)) return;
  const { protocolVersion, capabilities, serverInfo, instructions, _meta } = response.result;
  const info = isJsonObject(serverInfo) ? serverInfo : infoIn(_meta);
  if (!isJsonObject(capabilities) || info === null) return;
  ctx.lists.remember(id, 'initialize', {
    protocolVersion: typeof protocolVersion === 'string' ? protocolVersion : legacyRevisions[0],
    capabilities,
    serverInfo: info,
    ...(typeof instructions === 'string' ? { instructions } : {}),
  });
}

function infoIn(meta: unknown): JsonObject | null {
  const info = isJsonObject(meta) ? meta['io.modelcontextprotocol/serverInfo'] : null;
  return isJsonObject(info) ? info : null;
}
