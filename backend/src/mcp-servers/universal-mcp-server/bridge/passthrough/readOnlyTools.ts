/** Asks an upstream for its tools' annotations, where the policy lets only read-only ones be called. */
import type { JsonRpcRequest } from '../../protocol/jsonRpc.js';
import { modernRevisions, type Era } from '../../protocol/revisions.js';
import type { InstanceRoom } from '../instanceRooms.js';
import { askForResponse } from './askUpstream.js';
import type { PassContext, PassedRequest } from './passContext.js';
import type { PassedSession } from './passedSession.js';
import { toLegacyHeaders, toModernHeaders } from './requestHeaders.js';

const modernHeaders = toModernHeaders(
  ['mcp-protocol-version', modernRevisions[0], 'mcp-method', 'tools/list'],
  null,
);

/** Part of a call that is accounted for. Renews the session where the upstream lost it. */
export async function findOutWhetherReadOnly(
  { raw, sessions, ctx }: PassContext,
  { instance, origin, revision }: PassedRequest,
  { era, session }: { readonly era: Era; readonly session: PassedSession | null },
  room: InstanceRoom,
  name: string,
  ended: AbortSignal,
): Promise<boolean> {
  if (session !== null && session.upstream === null) await sessions.renew(session, origin);
  const sessionId = session?.upstream?.id ?? null;
  const headers = era === 'modern' ? modernHeaders : toLegacyHeaders(revision);
  const connection = {
    era,
    request: (request: JsonRpcRequest, _listener: unknown, signal: AbortSignal) =>
      askForResponse({ raw, instance, sessionId, headers }, request, signal),
  };
  const signal = AbortSignal.any([AbortSignal.timeout(ctx.definition.limits.timeoutMs), ended]);
  return await room.isReadOnlyTool(name, connection, signal);
}
