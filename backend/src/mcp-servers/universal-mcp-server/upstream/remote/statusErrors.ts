/**
 * Statuses of a remote server that say something about access or about the server, not about one message. None of them,
 * and nothing of their headers or bodies, reaches an MCP client as it came (D08, 12.15).
 */
import { AppError } from '../../../../errors/appError.js';
import type { EgressHead } from '../../../../egress/egressExchange.js';
import type { ResolvedInstance } from '../../../../services/resolvedInstance.js';

/** Whether the body of an answer with this status is worth handing on. */
export function isPlainStatus(status: number): boolean {
  if (status >= 200 && status < 300) return true;
  return status >= 400 && status < 500 && status !== 401 && status !== 403 && status !== 429;
}

/** For a status that is not plain, or one that a message can make nothing of. */
export function toStatusError(
  head: Pick<EgressHead, 'status' | 'header'>,
  { credentialMethod }: Pick<ResolvedInstance, 'credentialMethod'>,
): AppError {
  const { status } = head;
  const logMessage = `the remote server answered with status ${status}`;
  switch (status) {
    case 401:
      if (credentialMethod === null) {
        return new AppError('CREDENTIAL_MISSING', `${logMessage} and there is no credential`);
      }
      return new AppError('EXPIRED_CREDENTIALS', logMessage, {
        publicDetail: 'The service behind does not accept the stored credential (status 401).',
      });
    case 403:
      return new AppError('CREDENTIAL_REJECTED', logMessage, {
        publicDetail:
          'The service behind does not allow this with the stored credential (status 403). It may lack a permission that another one has.',
      });
    case 429: {
      const retryAfterSeconds = toRetryAfter(head.header('retry-after'));
      return new AppError('RATE_LIMIT_EXCEEDED', logMessage, {
        publicDetail: 'The service behind is receiving too many requests.',
        ...(retryAfterSeconds === null ? {} : { retryAfterSeconds }),
      });
    }
    default:
      return new AppError('UPSTREAM_FAILED', logMessage, {
        publicDetail:
          status >= 300 && status < 400
            ? 'The service behind redirects elsewhere, which is not followed.'
            : `The service behind answered with status ${status}.`,
      });
  }
}

/** Whole seconds, an hour at most; dates are not read (RFC 9110 §10.2.3). */
function toRetryAfter(value: string | null): number | null {
  return value !== null && /^\d{1,6}$/.test(value) ? Math.min(Math.max(Number(value), 1), 3_600) : null;
}
