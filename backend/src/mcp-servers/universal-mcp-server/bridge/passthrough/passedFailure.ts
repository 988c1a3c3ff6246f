/** How a passed request is answered when it fails: as on every other way, and in the client's own era. */
import { AppError } from '../../../../errors/appError.js';
import type { SealedInstance } from '../../../../services/instanceResolver.js';
import type { JsonObject, JsonRpcId, JsonRpcRequest, JsonRpcResponse } from '../../protocol/jsonRpc.js';
import { negotiateRevision, type Era } from '../../protocol/revisions.js';
import type { BridgeContext } from '../bridgeContext.js';
import { CallerGone } from '../callAccount.js';
import { toFailureReply } from '../failureReply.js';
import { toInitializeResult } from '../legacyBridge.js';
import { answerWithoutCredential, findServerTerms } from '../missingCredential.js';
import { toModernForm } from '../modernBridge.js';
import type { ReplyForm } from '../reply.js';
import { toShownTerms } from '../shownTerms.js';
import { toDiscoverResult, toModernResult } from '../translate/modernToLegacy.js';

export interface OwnAnswer {
  readonly response: JsonRpcResponse;
  readonly form: ReplyForm;
}

export function toPassedFailure(
  era: Era,
  id: JsonRpcId | null,
  error: unknown,
  log: BridgeContext['log'],
): OwnAnswer {
  if (error instanceof CallerGone) {
    const cancelled = { code: -32603, message: 'The request was cancelled.' };
    return { response: { jsonrpc: '2.0', id, error: cancelled }, form: { status: 200 } };
  }
  const { response, form } = toFailureReply(error, id, log);
  return { response, form: era === 'modern' ? toModernForm(form, response.error.code) : form };
}

/**
 * The result of a request for which the credential is missing or no longer taken (12.15).
 * @throws the given error where no result can be given.
 */
export async function answerWithout(
  ctx: BridgeContext,
  era: Era,
  { id: instanceId }: SealedInstance,
  request: JsonRpcRequest,
  error: AppError,
): Promise<JsonObject> {
  const { method, params } = request;
  if (method === 'initialize') {
    return toInitializeResult(
      toShownTerms(ctx, await findServerTerms(ctx, instanceId)),
      negotiateRevision(params?.['protocolVersion']),
    );
  }
  if (era === 'legacy') return await answerWithoutCredential(ctx, instanceId, request, error);
  const server = await findServerTerms(ctx, instanceId);
  if (method === 'server/discover') return toDiscoverResult(toShownTerms(ctx, server));
  const result = await answerWithoutCredential(ctx, instanceId, request, error);
  return toModernResult(method, result, server.serverInfo);
}

/** An answer of the upstream that is none: its status says more than nothing, and is no secret. */
export function unusable(status: number): AppError {
  return new AppError(
    'UPSTREAM_FAILED',
    `the upstream answered with status ${status} and no JSON-RPC response`,
    {
      publicDetail: `The service behind answered with HTTP status ${status} and nothing that can be passed on.`,
    },
  );
}
