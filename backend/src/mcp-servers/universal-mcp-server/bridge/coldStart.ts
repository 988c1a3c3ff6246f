/**
 * What a client hears while its child starts: `initialize` and whole lists are answered from what the instance's server
 * said last, and the client is told when that is no longer so (spec 08, "stdio cold"). The start goes on behind the
 * answer, so that the child is there for the first call. Calls wait for it.
 */
import { isDeepStrictEqual } from 'node:util';
import type { SealedInstance } from '../../../services/instanceResolver.js';
import { isJsonObject, type JsonObject, type JsonRpcRequest } from '../protocol/jsonRpc.js';
import { eraOf } from '../protocol/revisions.js';
import { createAuditUse } from '../upstream/credentialUses.js';
import type { RequestListener, ServerTerms, UpstreamConnection } from '../upstream/upstream.js';
import type { BridgeContext } from './bridgeContext.js';
import type { HeldConnection } from './heldConnection.js';
import { isListMethod, keptKinds, recallTools, rememberList } from './shownLists.js';

export interface ColdStart {
  readonly ctx: Pick<BridgeContext, 'definition' | 'lists' | 'pins' | 'log' | 'spool' | 'newId'>;
  readonly held: Pick<HeldConnection, 'get' | 'isConnected'>;
  readonly instance: SealedInstance;
  readonly request: JsonRpcRequest;
  /** The client was answered with what is no longer so. */
  readonly onOther: () => void;
}

/** The member of each list's result that holds the list; the rest belongs to one answer. */
const listMembers = {
  'tools/list': 'tools',
  'prompts/list': 'prompts',
  'resources/list': 'resources',
  'resources/templates/list': 'resourceTemplates',
} as const;

/** The connection, or one that answers this request from memory where the real one takes its time. */
export async function joinOrRecall(
  { ctx, held, instance, request, onOther }: ColdStart,
  signal: AbortSignal,
): Promise<UpstreamConnection> {
  const joining = held.get(instance, signal);
  const kind = kindOf(request);
  if (ctx.definition.kind !== 'stdio' || held.isConnected || kind === null) return await joining;
  joining.catch(() => {});
  const ready = await Promise.race([joining, nextTurn()]);
  if (ready !== null) return ready;
  const known =
    kind === 'tools' ? await recallTools(ctx, instance.id) : await ctx.lists.find(instance.id, kind);
  const server = toRecalledTerms(
    kind === 'initialize' ? known : await ctx.lists.find(instance.id, 'initialize'),
  );
  const list = isListMethod(request.method) ? known?.[listMembers[request.method]] : undefined;
  if (server === null || (kind !== 'initialize' && !Array.isArray(list))) return await joining;

  const catchUp = async (): Promise<void> => {
    const connection = await joining;
    if (!isListMethod(request.method)) {
      ctx.lists.remember(instance.id, 'initialize', { ...connection.server });
      if (!isDeepStrictEqual(connection.server.capabilities, server.capabilities)) onOther();
      return;
    }
    const again = { jsonrpc: '2.0', id: 'recall', method: request.method, params: {} } as const;
    const response = await createAuditUse(ctx)(instance, 'list/recall', () =>
      connection.request(again, deaf, AbortSignal.timeout(catchUpMsMax)),
    );
    if ('error' in response) return;
    const now = response.result[listMembers[request.method]];
    if (isDeepStrictEqual(now, list)) return;
    if (response.result['nextCursor'] === undefined)
      rememberList(ctx, instance.id, request.method, response.result);
    onOther();
  };
  catchUp().catch((error: unknown) =>
    // Whoever makes the next call hears why.
    ctx.log.debug('a child did not start behind an answer', { instance: instance.id, error }),
  );

  const result = isListMethod(request.method) ? { [listMembers[request.method]]: list } : {};
  return {
    era: 'legacy',
    server,
    isRecalled: true,
    request: ({ id }) => Promise.resolve({ jsonrpc: '2.0', id, result }),
    notify() {},
    listen: () => () => {},
    release() {},
  };
}

function kindOf({
  method,
  params,
}: JsonRpcRequest): 'initialize' | (typeof keptKinds)[keyof typeof keptKinds] | null {
  if (method === 'initialize') return 'initialize';
  return isListMethod(method) && params?.['cursor'] === undefined ? keptKinds[method] : null;
}

/** Null unless they are those of a server of the legacy era. */
function toRecalledTerms(known: JsonObject | null): ServerTerms | null {
  const { protocolVersion, capabilities, serverInfo, instructions } = known ?? {};
  if (typeof protocolVersion !== 'string' || eraOf(protocolVersion) !== 'legacy') return null;
  if (!isJsonObject(capabilities) || !isJsonObject(serverInfo)) return null;
  return {
    protocolVersion,
    capabilities,
    serverInfo,
    ...(typeof instructions === 'string' ? { instructions } : {}),
  };
}

/** A child that runs already is joined within this turn of the loop. */
const nextTurn = (): Promise<null> => new Promise((resolve) => setImmediate(resolve, null));

const catchUpMsMax = 60_000;

const deaf: RequestListener = {
  onNotification() {},
  onServerRequest: ({ id }) =>
    Promise.resolve({ jsonrpc: '2.0', id, error: { code: -32601, message: 'nobody is there to answer' } }),
};
