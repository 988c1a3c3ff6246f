/**
 * The end of every request that failed: one problem body (RFC 9457), with `Retry-After` where another try makes sense.
 * Messages and causes go to the log; the wire gets the code's public title and the public detail.
 */
import type { ErrorRequestHandler, RequestHandler } from 'express';
import { AppError, toAppError } from '../errors/appError.js';
import { problemContentType, toProblem } from '../errors/problem.js';
import { endBeforeBody } from '../lifecycle/plainAnswer.js';
import type { Logger } from '../telemetry/logger.js';
import { contextOf } from './requestContext.js';

export const notFound: RequestHandler = () => {
  throw new AppError('NOT_FOUND', 'no such route');
};

export function errorHandler(log: Logger): ErrorRequestHandler {
  return (thrown: unknown, request, response, next) => {
    const error = toAppError(fromBodyParser(thrown));
    const context = contextOf(request);
    context.errorCode = error.code;
    if (error.form.status >= 500) {
      log.error('a request failed', {
        requestId: context.requestId,
        route: context.route ?? undefined,
        errorCode: error.code,
        error,
      });
    }
    // The answer has begun: only breaking it off can still tell the client that it is not whole.
    if (response.headersSent) return next(error);
    const retryAfter = error.options.retryAfterSeconds ?? retryAfterDefaults.get(error.form.status);
    if (retryAfter !== undefined) response.setHeader('retry-after', String(retryAfter));
    if (error.form.status === 401) response.setHeader('www-authenticate', 'Bearer realm="portolan"');
    response.setHeader('cache-control', 'no-store');
    response.setHeader('content-type', problemContentType);
    const body = JSON.stringify(toProblem(error, context.requestId));
    response.setHeader('content-length', Buffer.byteLength(body));
    endBeforeBody(response.status(error.form.status), body);
  };
}

/** Whole seconds; a 429 or 503 always says when to come back. */
const retryAfterDefaults: ReadonlyMap<number, number> = new Map([
  [429, 60],
  [503, 5],
]);

/** Errors of express' body parser and router, known by their `type` or status; everything else is left as it is. */
function fromBodyParser(thrown: unknown): unknown {
  if (!(thrown instanceof Error) || thrown instanceof AppError) return thrown;
  const type: unknown = 'type' in thrown ? thrown.type : undefined;
  switch (type) {
    case 'entity.parse.failed':
      return new AppError('INVALID_JSON', 'the body is not JSON', {
        publicDetail: 'Send a JSON object as the body.',
      });
    case 'entity.too.large':
      return new AppError('PAYLOAD_TOO_LARGE', 'the body is over the limit', {
        publicDetail: 'Send at most 1 MiB.',
      });
    case 'encoding.unsupported':
    case 'charset.unsupported':
      return new AppError('UNSUPPORTED_MEDIA_TYPE', 'the encoding of the body is not supported', {
        publicDetail: 'Send the body as UTF-8, not compressed.',
      });
    case 'request.aborted':
    case 'request.size.invalid':
      return new AppError('INVALID_REQUEST', 'the body is not whole');
    default:
      // A path with a broken percent-encoding; the router gives it status 400.
      return thrown instanceof URIError ? new AppError('NOT_FOUND', 'the path cannot be decoded') : thrown;
  }
}
