/**
 * What is known of a request beside its content: an id to find it by, where it came from, which route took it. One line
 * in the log tells how it ended, by the route's pattern and never by its URL.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { RequestHandler } from 'express';
import type { Logger } from '../telemetry/logger.js';

export interface RequestContext {
  /** Taken from `X-Request-Id` when it has a usable form, so that a call can be followed through the front. */
  readonly requestId: string;
  readonly clientAddress: string | null;
  readonly userAgent: string | null;
  /** Filled in as the request gets on. */
  route: string | null;
  userId: string | null;
  errorCode: string | null;
}

const contexts = new WeakMap<IncomingMessage, RequestContext>();
const requestIdForm = /^[A-Za-z0-9_-]{8,64}$/;
const userAgentCharactersMax = 200;

/** The context that `requestContext` gave this request. */
export function contextOf(request: IncomingMessage): RequestContext {
  const context = contexts.get(request);
  if (context === undefined) throw new Error('the request has not passed requestContext');
  return context;
}

export interface RequestContextOptions {
  readonly log: Logger;
  readonly clientAddressOf: (request: IncomingMessage) => string | null;
}

export function requestContext({ log, clientAddressOf }: RequestContextOptions): RequestHandler {
  return (request, response, next) => {
    const startedAt = performance.now();
    const given = request.get('x-request-id');
    const context: RequestContext = {
      requestId: given !== undefined && requestIdForm.test(given) ? given : randomUUID(),
      clientAddress: clientAddressOf(request),
      userAgent: request.get('user-agent')?.slice(0, userAgentCharactersMax) ?? null,
      route: null,
      userId: null,
      errorCode: null,
    };
    contexts.set(request, context);
    response.setHeader('x-request-id', context.requestId);
    response.once('close', () => {
      const status = response.statusCode;
      const fields = {
        requestId: context.requestId,
        method: request.method,
        route: context.route ?? '_none',
        status,
        durationMs: Math.round((performance.now() - startedAt) * 10) / 10,
        userId: context.userId ?? undefined,
        errorCode: context.errorCode ?? undefined,
      };
      if (!response.writableFinished) log.warn('the client went away before the answer was complete', fields);
      else if (status >= 500) log.warn('answered with a failure', fields);
      else if (probeRoutes.has(context.route ?? '')) log.debug('answered', fields);
      else log.info('answered', fields);
    });
    next();
  };
}

/** Asked every few seconds by machines; a line each would drown the rest. */
const probeRoutes: ReadonlySet<string> = new Set(['/health', '/livez', '/readyz', '/metrics']);
