/**
 * REST calls of an `api` service (row U09): resolved, limited and audited like a tool call, answered with problems that
 * have the seed's codes (I05).
 */
import type { ServerResponse } from 'node:http';
import { AppError } from '../../../errors/appError.js';
import type { SealedInstance } from '../../../services/instanceResolver.js';
import { toSetupExtension } from '../../../services/setupInstructions.js';
import type { CallOutcome } from '../../../spool/callRecord.js';
import { argumentDigest } from '../../../vault/argumentDigest.js';
import type { BridgeContext, RequestOrigin } from '../bridge/bridgeContext.js';
import type { InstanceRooms } from '../bridge/instanceRooms.js';
import { toPinError } from '../bridge/pinnedCall.js';
import type { ToolPins } from '../bridge/toolPins.js';
import type { ApiUpstream } from '../upstream/api/apiUpstream.js';
import { goneSignal } from './httpReply.js';
import { sendJsonBody, sendProblem } from './operations.js';
import { planRestCall, runRestCall, type RestAnswer, type RestCallPlan } from './restCall.js';

export interface RestRequest {
  readonly instance: SealedInstance;
  readonly origin: RequestOrigin;
  readonly segments: readonly string[];
  readonly query: string;
}

export type AnswerRest = (from: RestRequest, response: ServerResponse) => Promise<void>;

export function createRestRoute(ctx: BridgeContext, rooms: InstanceRooms, api: ApiUpstream): AnswerRest {
  const run = async (from: RestRequest, signal: AbortSignal): Promise<RestAnswer> => {
    const { instance, origin } = from;
    const room = rooms.of(instance);
    room.limits.takeRequest();
    const plan = await planRestCall(api, from.segments, new URLSearchParams(from.query), (tool) =>
      ctx.gate.show(tool),
    );
    if (ctx.pins !== null) await requirePinned(ctx, ctx.pins, from, api, plan);
    const terms = { instance, values: await ctx.openValues(instance) };
    ctx.noteUse(instance.id);
    await ctx.daily.take(instance, 'rest');
    room.limits.beginCall();
    const callId = ctx.newId();
    const startedAt = performance.now();
    const finish = (outcome: Pick<CallOutcome, 'outcome' | 'httpStatus' | 'errorCode'>): void => {
      const durationMs = performance.now() - startedAt;
      ctx.spool.outcome({ callId, ...outcome, durationMs: Math.round(durationMs) });
      const errorType = outcome.errorCode?.toLowerCase() ?? '';
      ctx.metrics.upstream.observe(durationMs / 1_000, { method: 'rest', errorType });
    };
    try {
      const bytes =
        ctx.definition.audit.arguments === 'none' ? null : Buffer.from(JSON.stringify(plan.given));
      await ctx.spool.intent({
        callId,
        instanceId: instance.id,
        userId: instance.userId,
        method: 'rest',
        name: plan.tool,
        requestId: origin.requestId,
        ...(origin.clientAddress === undefined ? {} : { clientAddress: origin.clientAddress }),
        ...(bytes === null
          ? {}
          : {
              argumentsDigest: argumentDigest(ctx.vault.keys().system.audit, bytes),
              argumentsBytes: bytes.length,
            }),
      });
      const deadline = AbortSignal.any([signal, AbortSignal.timeout(ctx.definition.limits.timeoutMs)]);
      ctx.metrics.overhead.observe((performance.now() - origin.arrivedAt) / 1_000);
      const answer = await runRestCall(api, plan, terms, deadline);
      finish({ outcome: 'ok', httpStatus: answer.status });
      return answer;
    } catch (error) {
      const errorCode = error instanceof AppError ? error.code : 'UPSTREAM_TIMEOUT';
      finish({ outcome: signal.aborted ? 'cancelled' : 'error', errorCode });
      throw error;
    } finally {
      room.limits.endCall();
    }
  };

  return async (from, response) => {
    const startedAt = performance.now();
    const signal = goneSignal(response);
    let errorType = '';
    try {
      sendJsonBody(response, 200, await run(from, signal));
    } catch (error) {
      errorType = error instanceof AppError ? error.code.toLowerCase() : 'upstream_timeout';
      if (!signal.aborted) sendProblem(response, toRestError(error, ctx));
    }
    ctx.metrics.served.observe((performance.now() - startedAt) / 1_000, { method: 'rest', errorType });
  };
}

/** A quarantined tool is refused here as by MCP, and the refusal is audited. @throws AppError TOOL_QUARANTINED */
async function requirePinned(
  { spool, newId }: BridgeContext,
  pins: ToolPins,
  { instance, origin }: RestRequest,
  { tools }: ApiUpstream,
  { tool }: RestCallPlan,
): Promise<void> {
  if (pins.mayCall(instance.id, tool) !== true)
    await pins.examine(instance, undefined, { tools: tools.listed });
  const verdict = pins.verdictOn(instance.id, tool);
  if (verdict === 'approved') return;
  const error = toPinError(tool, verdict);
  const call = {
    callId: newId(),
    instanceId: instance.id,
    userId: instance.userId,
    method: 'rest',
    name: tool,
  };
  const { requestId, clientAddress } = origin;
  spool.refusal(
    { ...call, requestId, ...(clientAddress === undefined ? {} : { clientAddress }) },
    { httpStatus: error.form.status, errorCode: error.code },
  );
  throw error;
}

/** A missing credential comes with what to do about it; a deadline is the upstream's fault. */
function toRestError(error: unknown, { setup }: Pick<BridgeContext, 'setup'>): unknown {
  if (error instanceof DOMException) return new AppError('UPSTREAM_TIMEOUT', 'a REST call took too long');
  if (!(error instanceof AppError) || error.code !== 'CREDENTIAL_MISSING') return error;
  return new AppError('CREDENTIAL_MISSING', error.message, {
    publicDetail: setup.instructions,
    extensions: toSetupExtension(setup),
  });
}
