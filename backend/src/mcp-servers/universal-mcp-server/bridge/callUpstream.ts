/**
 * One request on its way to the upstream and back: policy, limits, deadline, audit, metrics. Nothing reaches an upstream
 * except through here; the audit's intent is safe before the upstream is contacted, and each intent gets one outcome.
 */
import { AppError } from '../../../errors/appError.js';
import type { SealedInstance } from '../../../services/instanceResolver.js';
import type { CallOutcome } from '../../../spool/callRecord.js';
import { argumentDigest } from '../../../vault/argumentDigest.js';
import {
  isJsonObject,
  type JsonObject,
  type JsonRpcRequest,
  type JsonRpcResponse,
} from '../protocol/jsonRpc.js';
import type { Era } from '../protocol/revisions.js';
import { toFailure, type RequestListener, type UpstreamConnection } from '../upstream/upstream.js';
import type { BridgeContext, RequestOrigin } from './bridgeContext.js';
import type { InstanceRoom } from './instanceRooms.js';
import type { Reply } from './reply.js';
import { isReadOnly } from './toolPolicy.js';

export interface UpstreamCall {
  readonly era: Era;
  readonly instance: SealedInstance;
  readonly origin: RequestOrigin;
  readonly request: JsonRpcRequest;
  readonly listener: RequestListener;
  /** Joins the conversation to the upstream; called after the intent is recorded. */
  readonly connect: (signal: AbortSignal) => Promise<UpstreamConnection>;
  /** Hears of the controller with which this call can be ended from elsewhere. */
  readonly onStart?: (controller: AbortController) => void;
}

/** Why a call was ended that nobody waits for any more. */
export class CallerGone extends Error {
  override readonly name = 'CallerGone';
}

/**
 * @param client tells when the client is gone.
 * @throws AppError of limits, audit, credential and upstream; CallerGone when the client is gone or cancelled the call.
 */
export async function callUpstream(
  ctx: BridgeContext,
  room: InstanceRoom,
  call: UpstreamCall,
  client: Pick<Reply, 'isGone' | 'onGone'>,
): Promise<JsonRpcResponse> {
  const { definition, gate, spool, metrics } = ctx;
  const { request, instance } = call;
  const tool = request.method === 'tools/call' ? request.params?.['name'] : undefined;
  const sent = toSentRequest(ctx, request, tool);
  if (sent === null) return unknownTool(request, tool);

  room.limits.beginCall();
  let startedAt = performance.now();
  const controller = new AbortController();
  const stopWatching = client.onGone(() => controller.abort(new CallerGone('the client is gone')));
  const deadline = setTimeout(
    () =>
      controller.abort(
        new AppError('UPSTREAM_TIMEOUT', `no answer within ${definition.limits.timeoutMs} ms`),
      ),
    definition.limits.timeoutMs,
  );
  room.calls.add(controller);
  call.onStart?.(controller);
  const callId = ctx.newId();
  let isIntended = false;
  try {
    if (client.isGone) throw new CallerGone('the client is gone');
    const recorded = spool.intent(toIntent(ctx, call, callId));
    isIntended = true;
    if (recorded !== undefined) await recorded;
    controller.signal.throwIfAborted();
    startedAt = performance.now();
    metrics.overhead.observe((startedAt - call.origin.arrivedAt) / 1_000);
    const connection = await call.connect(controller.signal);
    if (typeof tool === 'string' && gate.needsAnnotations(toolNameOf(sent))) {
      const allowed = await room.isReadOnlyTool(toolNameOf(sent), connection, controller.signal);
      if (!allowed) {
        finish(ctx, call, startedAt, { callId, outcome: 'refused' }, 'refused');
        return unknownTool(request, tool);
      }
    }
    const response = await connection.request(sent, call.listener, controller.signal);
    finish(ctx, call, startedAt, toOutcome(callId, response), errorTypeOf(response));
    return toShown(ctx, room, instance, request, response);
  } catch (error) {
    if (isIntended) finish(ctx, call, startedAt, toFailedOutcome(callId, error), failureTypeOf(error));
    else if (error instanceof AppError && error.code === 'AUDIT_UNAVAILABLE')
      metrics.auditWriteFailures.inc();
    throw error;
  } finally {
    clearTimeout(deadline);
    stopWatching();
    room.calls.delete(controller);
    room.limits.endCall();
  }
}

function finish(
  ctx: BridgeContext,
  { request }: UpstreamCall,
  startedAt: number,
  outcome: CallOutcome,
  errorType: string,
): void {
  const durationMs = performance.now() - startedAt;
  ctx.spool.outcome({ ...outcome, durationMs: Math.round(durationMs) });
  ctx.metrics.upstream.observe(durationMs / 1_000, { method: request.method, errorType });
}

/** The request under the upstream's own tool name; null when the policy hides the tool. */
function toSentRequest(
  { gate }: BridgeContext,
  request: JsonRpcRequest,
  tool: unknown,
): JsonRpcRequest | null {
  if (typeof tool !== 'string' || gate.isOpen) return request;
  const name = gate.toUpstreamName(tool);
  if (name === null) return null;
  return name === tool ? request : { ...request, params: { ...request.params, name } };
}

const toolNameOf = ({ params }: JsonRpcRequest): string => String(params?.['name']);

function unknownTool(request: JsonRpcRequest, tool: unknown): JsonRpcResponse {
  return toFailure(request, { code: -32602, message: `Unknown tool: ${String(tool).slice(0, 128)}` });
}

function toIntent({ vault, definition }: BridgeContext, call: UpstreamCall, callId: string) {
  const { instance, origin, request, era } = call;
  const { name, arguments: given } = request.params ?? {};
  // A resource's URI may hold what it is about; only tools and prompts are named.
  const isNamed = request.method === 'tools/call' || request.method === 'prompts/get';
  const bytes =
    given === undefined || definition.audit.arguments === 'none' ? null : Buffer.from(JSON.stringify(given));
  return {
    callId,
    instanceId: instance.id,
    userId: instance.userId,
    method: request.method,
    era,
    requestId: origin.requestId,
    ...(isNamed && typeof name === 'string' ? { name } : {}),
    ...(origin.clientAddress === undefined ? {} : { clientAddress: origin.clientAddress }),
    ...(bytes === null
      ? {}
      : { argumentsDigest: argumentDigest(vault.keys().system.audit, bytes), argumentsBytes: bytes.length }),
  };
}

function toOutcome(callId: string, response: JsonRpcResponse): CallOutcome {
  if ('error' in response) return { callId, outcome: 'error', jsonRpcCode: response.error.code };
  const isError = response.result['isError'] === true;
  return isError ? { callId, outcome: 'tool_error', isError } : { callId, outcome: 'ok', isError };
}

function toFailedOutcome(callId: string, error: unknown): CallOutcome {
  if (error instanceof CallerGone) return { callId, outcome: 'cancelled' };
  if (!(error instanceof AppError)) return { callId, outcome: 'error', errorCode: 'INTERNAL' };
  const outcome = error.code === 'UPSTREAM_TIMEOUT' ? 'timeout' : 'error';
  return { callId, outcome, errorCode: error.code, jsonRpcCode: error.form.jsonRpc };
}

function errorTypeOf(response: JsonRpcResponse): string {
  if ('error' in response) return String(response.error.code);
  return response.result['isError'] === true ? 'tool_error' : '';
}

function failureTypeOf(error: unknown): string {
  if (error instanceof CallerGone) return 'cancelled';
  return error instanceof AppError ? error.code.toLowerCase() : 'internal';
}

const keptKinds = {
  'tools/list': 'tools',
  'prompts/list': 'prompts',
  'resources/list': 'resources',
  'resources/templates/list': 'resource_templates',
} as const;

const isKeptMethod = (method: string): method is keyof typeof keptKinds => Object.hasOwn(keptKinds, method);

/** A list as the policy shows it; whole lists are remembered as the upstream gave them. */
function toShown(
  ctx: BridgeContext,
  room: InstanceRoom,
  instance: SealedInstance,
  request: JsonRpcRequest,
  response: JsonRpcResponse,
): JsonRpcResponse {
  const { method, params } = request;
  if ('error' in response || !isKeptMethod(method)) return response;
  const { result } = response;
  const isWhole = params?.['cursor'] === undefined && result['nextCursor'] === undefined;
  if (isWhole) ctx.lists.remember(instance.id, keptKinds[method], result);
  if (method !== 'tools/list') return response;
  const tools = toolsOf(result);
  ctx.metrics.served.learnTools(tools.map(({ name }) => String(name)));
  room.noteTools(
    tools.filter(isReadOnly).map(({ name }) => String(name)),
    isWhole,
  );
  return ctx.gate.isOpen ? response : { ...response, result: ctx.gate.showList(result) };
}

export function toolsOf({ tools }: JsonObject): readonly JsonObject[] {
  return Array.isArray(tools) ? tools.filter(isJsonObject) : [];
}
