/**
 * Turns what a socket, DNS, TLS or the HTTP client reports into an `AppError`. Only the error's code is kept: messages of
 * these libraries quote header values, host names and paths.
 */
import { AppError, type AppErrorOptions } from '../errors/appError.js';
import type { ErrorCode } from '../errors/errorCodes.js';

const timeouts: ReadonlySet<string> = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT']);

/** Failures before a request was written: trying again cannot do anything twice. */
const neverConnected: ReadonlySet<string> = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'EHOSTDOWN',
  'ENETDOWN',
]);

/**
 * UPSTREAM_UNREACHABLE: nothing was sent. UPSTREAM_FAILED: the connection broke, or the answer was no HTTP.
 * UPSTREAM_TIMEOUT: it stayed silent. An `AppError` passes as it is.
 */
export function toEgressError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const code = codeOf(error);
  if (timeouts.has(code)) return egressError('UPSTREAM_TIMEOUT', code, 'The service behind went silent.');
  if (neverConnected.has(code)) {
    return egressError('UPSTREAM_UNREACHABLE', code, 'No connection to the service behind could be made.');
  }
  if (/^(?:CERT_|ERR_TLS_|ERR_SSL_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/.test(code)) {
    return egressError(
      'UPSTREAM_UNREACHABLE',
      code,
      'The service behind has no certificate that is trusted.',
    );
  }
  return egressError('UPSTREAM_FAILED', code, 'The connection to the service behind broke.');
}

export function egressError(
  code: ErrorCode,
  logMessage: string,
  publicDetail: string,
  options: AppErrorOptions = {},
): AppError {
  return new AppError(code, `egress: ${logMessage}`, { ...options, publicDetail });
}

/** The code of the error, or of the first one inside it (several addresses were tried). */
function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return 'unknown';
  if ('errors' in error && Array.isArray(error.errors) && error.errors.length > 0)
    return codeOf(error.errors[0]);
  const code = 'code' in error ? error.code : undefined;
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]*$/.test(code) ? code : 'unknown';
}
