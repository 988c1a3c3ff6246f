/** Short answers of listeners that need no framework: health, metrics, refusals. */
import type { ServerResponse } from 'node:http';
import type { AppError } from '../errors/appError.js';
import { problemContentType, toProblem } from '../errors/problem.js';

/** Answers whole, and lets nobody store it or guess its type. */
export function answerPlain(
  response: ServerResponse,
  status: number,
  contentType: string,
  body: string,
): void {
  response.writeHead(status, {
    'content-type': contentType,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  response.end(body);
}

/** Answers with a problem body (RFC 9457), with Retry-After where the error knows when. */
export function answerProblem(response: ServerResponse, error: AppError): void {
  const { retryAfterSeconds } = error.options;
  if (retryAfterSeconds !== undefined) response.setHeader('retry-after', String(retryAfterSeconds));
  answerPlain(response, error.form.status, problemContentType, JSON.stringify(toProblem(error)));
}
