/**
 * What the audit and the metrics hear of a call, by whichever way it goes: its intent before the upstream hears anything,
 * and exactly one outcome.
 */
import { AppError } from '../../../errors/appError.js';
import type { SealedInstance } from '../../../services/instanceResolver.js';
import type { CallIntent, CallOutcome } from '../../../spool/callRecord.js';
import { argumentDigest } from '../../../vault/argumentDigest.js';
import type { JsonObject, JsonRpcResponse } from '../protocol/jsonRpc.js';
import type { Era } from '../protocol/revisions.js';
import type { BridgeContext, RequestOrigin } from './bridgeContext.js';

export interface AccountedCall {
  readonly era: Era;
  readonly instance: SealedInstance;
  readonly origin: RequestOrigin;
  readonly method: string;
  readonly params: JsonObject | undefined;
}

/** Why a call was ended that nobody waits for any more. */
export class CallerGone extends Error {
  override readonly name = 'CallerGone';
}

/**
 * Records that a call is about to be made; see `CallSpool.intent` for what it returns.
 * @throws AppError AUDIT_UNAVAILABLE: the call must not be made.
 */
export function recordIntent(ctx: BridgeContext, call: AccountedCall, callId: string): void | Promise<void> {
  return ctx.spool.intent(toIntent(ctx, call, callId));
}

/** A client may ask for a tool by any text; no tool has a name as long as this (MCP: at most 128). */
const nameCharactersMax = 256;

function toIntent(
  { vault, definition }: BridgeContext,
  { instance, origin, era, method, params }: AccountedCall,
  callId: string,
): CallIntent {
  const { name, arguments: given } = params ?? {};
  // A resource's URI may hold what it is about; only tools and prompts are named.
  const isNamed = method === 'tools/call' || method === 'prompts/get';
  const bytes =
    given === undefined || definition.audit.arguments === 'none' ? null : Buffer.from(JSON.stringify(given));
  return {
    callId,
    instanceId: instance.id,
    userId: instance.userId,
    method,
    era,
    requestId: origin.requestId,
    ...(isNamed && typeof name === 'string' ? { name: name.slice(0, nameCharactersMax) } : {}),
    ...(origin.clientAddress === undefined ? {} : { clientAddress: origin.clientAddress }),
    ...(bytes === null
      ? {}
      : { argumentsDigest: argumentDigest(vault.keys().system.audit, bytes), argumentsBytes: bytes.length }),
  };
}

/** Records how a call came out; once for each intent. `startedAt`: when its upstream was asked. */
export function recordOutcome(
  ctx: Pick<BridgeContext, 'spool' | 'metrics'>,
  method: string,
  startedAt: number,
  outcome: CallOutcome,
  errorType: string,
): void {
  const durationMs = performance.now() - startedAt;
  ctx.spool.outcome({ ...outcome, durationMs: Math.round(durationMs) });
  ctx.metrics.upstream.observe(durationMs / 1_000, { method, errorType });
}

export function toOutcome(callId: string, response: JsonRpcResponse): CallOutcome {
  if ('error' in response) return { callId, outcome: 'error', jsonRpcCode: response.error.code };
  const isError = response.result['isError'] === true;
  return isError ? { callId, outcome: 'tool_error', isError } : { callId, outcome: 'ok', isError };
}

export function toFailedOutcome(callId: string, error: unknown): CallOutcome {
  if (error instanceof CallerGone) return { callId, outcome: 'cancelled' };
  if (!(error instanceof AppError)) return { callId, outcome: 'error', errorCode: 'INTERNAL' };
  const outcome = error.code === 'UPSTREAM_TIMEOUT' ? 'timeout' : 'error';
  return { callId, outcome, errorCode: error.code, jsonRpcCode: error.form.jsonRpc };
}

export function errorTypeOf(response: JsonRpcResponse): string {
  if ('error' in response) return String(response.error.code);
  return response.result['isError'] === true ? 'tool_error' : '';
}

export function failureTypeOf(error: unknown): string {
  if (error instanceof CallerGone) return 'cancelled';
  return error instanceof AppError ? error.code.toLowerCase() : 'internal';
}
