/**
 * The request handler of the front: guard, own health, then on to where the request belongs. It keeps no state and reads
 * no body.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { AppError, toAppError } from '../errors/appError.js';
import type { HostGuard } from '../lifecycle/hostGuard.js';
import { answerPlain, answerProblem } from '../lifecycle/plainAnswer.js';
import type { Logger } from '../telemetry/logger.js';
import type { FrontMetrics } from '../telemetry/metrics.js';
import type { MetricsAccess } from '../telemetry/metricsAccess.js';
import type { Forwarder } from './forward.js';
import { routeRequest, type ServicePorts } from './frontRoutes.js';

export interface FrontContext {
  readonly guard: HostGuard;
  readonly services: ServicePorts;
  readonly forwarder: Forwarder;
  /** The signed statement of a request's client address. */
  readonly stateAddress: (request: IncomingMessage) => string;
  readonly metrics: FrontMetrics;
  readonly metricsAccess: MetricsAccess;
  readonly log: Logger;
  readonly isDraining: () => boolean;
  /** Told of answers that are streams without an end of their own, so that draining does not wait for them. */
  readonly markStream: (response: ServerResponse) => void;
  readonly innerHosts: { readonly api: string; readonly service: string };
  readonly apiPort: number;
  readonly servicePortOffset: number;
}

/** The uniform answer to an instance that cannot be (07, "404u"), byte for byte that of a service's port. */
const unknownInstanceBody = '{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Not found"}}';

export function createFrontHandler(
  ctx: FrontContext,
): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    handle(ctx, request, response).catch((thrown: unknown) => {
      // The client is gone, most likely in the middle of its body: there is nobody to answer.
      if (response.destroyed) return;
      const error = toAppError(thrown);
      ctx.log.warn('a request could not be passed on', { errorCode: error.code, error });
      if (response.headersSent) response.destroy();
      else answerProblem(response, error);
    });
  };
}

async function handle(ctx: FrontContext, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = request.url ?? '/';
  const refusal = ctx.guard(request.headers);
  if (refusal !== null) return answerProblem(response, refusal);
  if (await answerOwn(ctx, path, request, response)) return;

  const target = routeRequest(path, ctx.services, ctx.servicePortOffset);
  switch (target.kind) {
    case 'unknownInstance':
      ctx.metrics.authFailures.inc();
      answerPlain(response, 404, 'application/json', unknownInstanceBody);
      return;
    case 'disabledService':
      throw new AppError('SERVICE_UNAVAILABLE', `the service ${target.service} is disabled`, {
        publicDetail: 'An admin has switched this service off.',
      });
    case 'mainApi':
      return pass(ctx, request, response, 'main-api', { host: ctx.innerHosts.api, port: ctx.apiPort });
    case 'service':
      return pass(ctx, request, response, target.service, {
        host: ctx.innerHosts.service,
        port: target.port,
      });
  }
}

async function pass(
  ctx: FrontContext,
  request: IncomingMessage,
  response: ServerResponse,
  service: string,
  to: { readonly host: string; readonly port: number },
): Promise<void> {
  const open = ctx.metrics.openStreams(service);
  open.inc();
  try {
    await ctx.forwarder.forward(request, response, to, ctx.stateAddress(request), ctx.markStream);
  } finally {
    open.dec();
  }
}

const ownPaths: ReadonlySet<string> = new Set(['/livez', '/readyz', '/health', '/metrics']);

/** The front's own paths; true when it answered. */
async function answerOwn(
  ctx: FrontContext,
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<boolean> {
  const own = path.split('?', 1)[0] ?? path;
  if (!ownPaths.has(own)) return false;
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    answerProblem(response, new AppError('METHOD_NOT_ALLOWED', 'the front itself is only asked'));
    return true;
  }
  const status = ctx.isDraining() ? 503 : 200;
  switch (own) {
    case '/livez':
      answerPlain(response, 200, 'text/plain', 'ok');
      return true;
    case '/readyz':
      answerPlain(response, status, 'text/plain', status === 200 ? 'ok' : 'draining');
      return true;
    case '/health': {
      const body = {
        status: status === 200 ? 'healthy' : 'unhealthy',
        service: 'front',
        uptimeSeconds: Math.floor(process.uptime()),
        checks: { draining: status === 200 ? 'ok' : 'draining' },
      };
      answerPlain(response, status, 'application/json', JSON.stringify(body));
      return true;
    }
    case '/metrics': {
      const refusal = ctx.metricsAccess(request);
      if (refusal !== null) answerProblem(response, refusal);
      else answerPlain(response, 200, ctx.metrics.registry.contentType, await ctx.metrics.registry.metrics());
      return true;
    }
    default:
      return false;
  }
}
