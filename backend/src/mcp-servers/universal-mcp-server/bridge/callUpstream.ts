/**
 * One request on its way to the upstream and back: policy, limits, deadline, audit, metrics. Nothing reaches an upstream
 * except through here; the audit's intent is safe before the upstream is contacted, and each intent gets one outcome.
 */
import { AppError } from '../../../errors/appError.js';
import type { SealedInstance } from '../../../services/instanceResolver.js';
import type { JsonRpcRequest, JsonRpcResponse } from '../protocol/jsonRpc.js';
import type { Era } from '../protocol/revisions.js';
import { toFailure, type RequestListener, type UpstreamConnection } from '../upstream/upstream.js';
import type { BridgeContext, RequestOrigin } from './bridgeContext.js';
import {
  CallerGone,
  errorTypeOf,
  failureTypeOf,
  recordIntent,
  recordOutcome,
  toFailedOutcome,
  toOutcome,
} from './callAccount.js';
import { CallDeadline } from './callDeadline.js';
import type { InstanceRoom } from './instanceRooms.js';
import { findPinVerdict, toPinRefusal } from './pinnedCall.js';
import { showList } from './shownLists.js';
import type { Reply } from './reply.js';

export interface UpstreamCall {
  readonly era: Era;
  readonly instance: SealedInstance;
  readonly origin: RequestOrigin;
  readonly request: JsonRpcRequest;
  readonly listener: RequestListener;
  /** Joins the conversation to the upstream; called after the intent is recorded. */
  readonly connect: (signal: AbortSignal) => Promise<UpstreamConnection>;
  /** Hears of the controller with which this call can be ended from elsewhere. */
  readonly onStart?: (controller: AbortController, deadline: CallDeadline) => void;
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
  const { definition, gate, pins, metrics } = ctx;
  const { request, instance } = call;
  const tool = request.method === 'tools/call' ? request.params?.['name'] : undefined;
  const sent = toSentRequest(ctx, request, tool);
  if (sent === null) return unknownTool(request, tool);

  room.limits.beginCall();
  let startedAt = performance.now();
  const controller = new AbortController();
  const stopWatching = client.onGone(() => controller.abort(new CallerGone('the client is gone')));
  const { timeoutMs } = definition.limits;
  const deadline = new CallDeadline(timeoutMs, () =>
    controller.abort(new AppError('UPSTREAM_TIMEOUT', `no answer within ${timeoutMs} ms`)),
  );
  const listener: RequestListener = {
    onNotification: (notification) => call.listener.onNotification(notification),
    onServerRequest: (question) => deadline.whileAsked(call.listener.onServerRequest(question)),
    takesBytes: call.listener.takesBytes === true,
    // Whose deadline stands still meanwhile only the listener can tell.
    onStrayRequest: (question) =>
      call.listener.onStrayRequest?.(question) ??
      deadline.whileAsked(call.listener.onServerRequest(question)),
  };
  room.calls.add(controller);
  call.onStart?.(controller, deadline);
  const callId = ctx.newId();
  let isIntended = false;
  try {
    if (client.isGone) throw new CallerGone('the client is gone');
    const taken = ctx.daily.take(instance, request.method);
    if (taken !== undefined) await taken;
    controller.signal.throwIfAborted();
    const recorded = recordIntent(ctx, { ...call, method: request.method, params: request.params }, callId);
    isIntended = true;
    if (recorded !== undefined) await recorded;
    controller.signal.throwIfAborted();
    startedAt = performance.now();
    metrics.overhead.observe((startedAt - call.origin.arrivedAt) / 1_000);
    const connection = await call.connect(controller.signal);
    if (typeof tool === 'string' && gate.needsAnnotations(toolNameOf(sent))) {
      const allowed = await room.isReadOnlyTool(toolNameOf(sent), connection, controller.signal);
      if (!allowed) {
        recordOutcome(ctx, request.method, startedAt, { callId, outcome: 'refused' }, 'refused');
        return unknownTool(request, tool);
      }
    }
    if (typeof tool === 'string' && pins !== null) {
      const name = toolNameOf(sent);
      const verdict = await findPinVerdict(pins, instance.id, name, connection, controller.signal);
      if (verdict !== null) {
        const refused = { callId, outcome: 'refused', errorCode: 'TOOL_QUARANTINED' } as const;
        recordOutcome(ctx, request.method, startedAt, refused, 'refused');
        return toPinRefusal(call.era, request, verdict);
      }
    }
    const response = await send({ ...call, listener }, sent, connection, controller.signal);
    recordOutcome(ctx, request.method, startedAt, toOutcome(callId, response), errorTypeOf(response));
    if ('error' in response) return response;
    const isRecalled = connection.isRecalled === true;
    return { ...response, result: showList(ctx, room, instance, request, response.result, isRecalled) };
  } catch (error) {
    if (isIntended)
      recordOutcome(ctx, request.method, startedAt, toFailedOutcome(callId, error), failureTypeOf(error));
    else if (error instanceof AppError && error.code === 'AUDIT_UNAVAILABLE')
      metrics.auditWriteFailures.inc();
    throw error;
  } finally {
    deadline.clear();
    stopWatching();
    room.calls.delete(controller);
    room.limits.endCall();
  }
}

/** A connection can be lost between two requests; what never left goes over a new one, once (U08). */
async function send(
  call: UpstreamCall,
  sent: JsonRpcRequest,
  connection: UpstreamConnection,
  signal: AbortSignal,
): Promise<JsonRpcResponse> {
  try {
    return await connection.request(sent, call.listener, signal);
  } catch (error) {
    const neverLeft = error instanceof AppError && error.code === 'UPSTREAM_UNREACHABLE';
    if (!neverLeft || connection.isLost !== true) throw error;
    const another = await call.connect(signal);
    return await another.request(sent, call.listener, signal);
  }
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
