/**
 * The main API as an express application: what every request passes, in order, and the routes. Errors end in one
 * problem body (RFC 9457).
 */
import express, { type Express, type RequestHandler } from 'express';
import type { IncomingMessage } from 'node:http';
import { auditFailures } from '../middleware/auditFailures.js';
import { authenticate } from '../middleware/authenticate.js';
import { errorHandler, notFound } from '../middleware/errorHandler.js';
import { jsonBody } from '../middleware/jsonBody.js';
import { requestContext } from '../middleware/requestContext.js';
import { requireKnownHost } from '../middleware/requireKnownHost.js';
import { metricsAccess } from '../telemetry/metricsAccess.js';
import type { AppContext } from './context.js';
import { mountRoutes } from './mountRoutes.js';
import { createPages, securityHeaders } from './pages.js';
import { createRoutes } from './routes.js';

export interface AppOptions {
  readonly clientAddressOf: (request: IncomingMessage) => string | null;
}

export function createApp(ctx: AppContext, { clientAddressOf }: AppOptions): Express {
  const { config, log, metrics } = ctx;
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');

  app.use(requestContext({ log, clientAddressOf }));
  app.use(securityHeaders(config));
  app.use(requireKnownHost(config));
  app.use(createPages(config));
  app.use('/metrics', requireMetricsAccess(config));
  app.use(...jsonBody());
  const onRefused = (): void => metrics.authFailures.inc();
  mountRoutes(app, createRoutes(ctx).routes, {
    authenticate: authenticate({ ...ctx, onRefused }),
    onSignInRefused: onRefused,
    rateLimits: ctx.rateLimits,
    recordFailure: auditFailures({ ...ctx, onWriteFailure: () => metrics.auditWriteFailures.inc() }),
  });
  app.use(notFound);
  app.use(errorHandler(log));
  return app;
}

function requireMetricsAccess(config: AppContext['config']): RequestHandler {
  const refuse = metricsAccess({ tokenFile: config.paths.metricsToken, isOpen: config.metricsOpen });
  return (request, _response, next) => {
    const refusal = refuse(request);
    if (refusal !== null) throw refusal;
    next();
  };
}
