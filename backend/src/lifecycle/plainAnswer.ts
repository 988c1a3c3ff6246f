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
  endBeforeBody(response, body);
}

/** How long the rest of a body that nobody wants may come after its answer. */
const lateBodyMs = 1_000;

/**
 * Ends an answer whose head is written with its length, also when the request's body has not come whole. What still comes
 * is read and dropped for a moment then: closing a connection with unread bytes resets it, and the client would never see
 * why (RFC 9112 §9.6).
 */
export function endBeforeBody(response: ServerResponse, body: string | Buffer): void {
  const { req: request } = response;
  if (request.complete || request.destroyed) return void response.end(body);
  const end = (): void => {
    clearTimeout(timer);
    request.off('end', end);
    request.off('close', end);
    response.end();
  };
  const timer = setTimeout(end, lateBodyMs).unref();
  request.once('end', end);
  request.once('close', end);
  response.write(body);
  request.resume();
}

/** Answers with a problem body (RFC 9457), with Retry-After where the error knows when. */
export function answerProblem(response: ServerResponse, error: AppError): void {
  const { retryAfterSeconds } = error.options;
  if (retryAfterSeconds !== undefined) response.setHeader('retry-after', String(retryAfterSeconds));
  answerPlain(response, error.form.status, problemContentType, JSON.stringify(toProblem(error)));
}
