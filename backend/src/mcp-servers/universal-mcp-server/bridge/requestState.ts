/**
 * The `requestState` of the modern era: what a client carries from one round of a call to the next. It is sealed, so that
 * nobody reads or makes one, and it opens only for the instance and epoch, the method and the parameters that it was made
 * for (MCP 2026-07-28, "Multi Round-Trip Requests", server requirements).
 */
import type { KeyObject } from 'node:crypto';
import { AppError } from '../../../errors/appError.js';
import { openState, sealState } from '../../../vault/sealedState.js';
import { isJsonObject, type JsonRpcRequest } from '../protocol/jsonRpc.js';

/**
 * - `held`: a call waits in a process for its answers; `round` makes each state good for one retry.
 * - `page`: nothing waits; the server wants a page to be opened before the call is made again.
 */
export type RequestState =
  | {
      readonly kind: 'held';
      readonly processId: string;
      readonly callId: string;
      readonly round: number;
      /** Milliseconds since the epoch. */
      readonly expiresAt: number;
    }
  | { readonly kind: 'page'; readonly expiresAt: number };

export interface StateBinding {
  readonly service: string;
  readonly instanceId: string;
  readonly epoch: number;
  readonly request: JsonRpcRequest;
}

const purpose = 'request-state';

export function sealRequestState(
  kState: KeyObject,
  state: RequestState,
  binding: StateBinding,
  randomBytes: (size: number) => Buffer,
): string {
  const payload = Buffer.from(JSON.stringify(state));
  return sealState(kState, purpose, payload, toBindings(binding), randomBytes);
}

/** Null for what is garbled, foreign, of another epoch, of another method or other parameters, or too old. */
export function openRequestState(
  kState: KeyObject,
  text: string,
  binding: StateBinding,
  now: number,
): RequestState | null {
  const payload = openState(kState, purpose, text, toBindings(binding));
  if (payload === null) return null;
  const state = JSON.parse(payload.toString('utf8')) as RequestState;
  return now < state.expiresAt ? state : null;
}

/** The one answer to every state that leads nowhere, whatever is wrong with it. */
export function invalidRequestState(): AppError {
  return new AppError('INVALID_PARAMS', 'a request state leads to no call that waits', {
    publicDetail:
      'Invalid or expired requestState. The call that it belongs to waits no longer: it may have run in part, and was not made again.',
    extensions: { reason: 'invalid_request_state' },
  });
}

function toBindings({ service, instanceId, epoch, request }: StateBinding): string[] {
  const { _meta, inputResponses: _responses, requestState: _state, ...salient } = request.params ?? {};
  return [service, instanceId, String(epoch), request.method, toCanonicalText(salient)];
}

/** The same text for the same JSON, whatever order a client writes its members in. */
export function toCanonicalText(value: unknown): string {
  return JSON.stringify(value, (_name, member: unknown) =>
    isJsonObject(member)
      ? Object.fromEntries(Object.entries(member).sort(([one], [other]) => (one < other ? -1 : 1)))
      : member,
  );
}
