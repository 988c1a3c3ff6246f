/**
 * How a failed call is told to an MCP client. What is about access or about us is an HTTP status with a time to wait;
 * what the upstream did is a JSON-RPC error in a 200, for many clients read no body beside another status. Nothing about a
 * credential of the service is ever 401, for clients would start OAuth (12.15); a missing access key is (decision 0014).
 */
import { toAppError } from '../../../errors/appError.js';
import type { ErrorCode } from '../../../errors/errorCodes.js';
import { toJsonRpcError } from '../../../errors/jsonRpcError.js';
import type { Logger } from '../../../telemetry/logger.js';
import type { JsonRpcFailure, JsonRpcId } from '../protocol/jsonRpc.js';
import type { ReplyForm } from './reply.js';

const toldByStatus: ReadonlySet<ErrorCode> = new Set([
  'RATE_LIMIT_EXCEEDED',
  'SERVICE_SATURATED',
  'SERVICE_UNAVAILABLE',
  'SEALED',
  'DATABASE_UNAVAILABLE',
  'AUDIT_UNAVAILABLE',
  'CREDENTIAL_UNREADABLE',
  'SESSION_NOT_FOUND',
  'NOT_FOUND',
  'METHOD_NOT_FOUND',
  'HEADER_MISMATCH',
  'MISSING_CLIENT_CAPABILITY',
  'UNSUPPORTED_PROTOCOL_VERSION',
  'INVALID_REQUEST',
  'INVALID_JSON',
  'INVALID_ENVELOPE',
  'CONFLICT',
  'UNAUTHENTICATED',
  'BEARER_TOKEN_REQUIRED',
  'BEARER_TOKEN_INVALID',
  'ACCESS_DENIED',
  'PAYLOAD_TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
  'NOT_ACCEPTABLE',
  'METHOD_NOT_ALLOWED',
  'HOST_NOT_ALLOWED',
  'ORIGIN_NOT_ALLOWED',
]);

export interface FailureReply {
  readonly response: JsonRpcFailure;
  readonly form: ReplyForm;
}

const defaultRetrySeconds = 1;

export function toFailureReply(
  thrown: unknown,
  id: JsonRpcId | null,
  log: Pick<Logger, 'error' | 'debug'>,
): FailureReply {
  const error = toAppError(thrown);
  if (error.code === 'INTERNAL') log.error('a request failed', { error });
  else log.debug('a request was refused', { errorCode: error.code, error });
  const { status } = error.form;
  const response: JsonRpcFailure = { jsonrpc: '2.0', id, error: toJsonRpcError(error) };
  if (!toldByStatus.has(error.code)) return { response, form: { status: 200 } };
  const isPassing = status === 429 || status === 503;
  const retryAfterSeconds = error.options.retryAfterSeconds ?? defaultRetrySeconds;
  return { response, form: { status, ...(isPassing ? { retryAfterSeconds } : {}) } };
}
