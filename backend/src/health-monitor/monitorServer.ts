/** The monitor's own listener: its health, its metrics, nothing else. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { AppError, toAppError } from '../errors/appError.js';
import type { HostGuard } from '../lifecycle/hostGuard.js';
import { answerPlain, answerProblem } from '../lifecycle/plainAnswer.js';
import type { MonitorMetrics } from '../telemetry/metrics.js';
import type { MetricsAccess } from '../telemetry/metricsAccess.js';

export interface MonitorServerContext {
  readonly guard: HostGuard;
  readonly metrics: Pick<MonitorMetrics, 'registry'>;
  readonly metricsAccess: MetricsAccess;
  readonly isDraining: () => boolean;
  /** Whether the last round of probes ended in time. */
  readonly isCurrent: () => boolean;
}

export function createMonitorHandler(
  ctx: MonitorServerContext,
): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    answer(ctx, request, response).catch((thrown: unknown) => answerProblem(response, toAppError(thrown)));
  };
}

async function answer(
  ctx: MonitorServerContext,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const refusal = ctx.guard(request.headers);
  if (refusal !== null) return answerProblem(response, refusal);
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    throw new AppError('METHOD_NOT_ALLOWED', 'the monitor is only asked');
  }
  const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
  const isReady = ctx.isCurrent() && !ctx.isDraining();
  if (path === '/livez') return answerPlain(response, 200, 'text/plain', 'ok');
  if (path === '/readyz')
    return answerPlain(response, isReady ? 200 : 503, 'text/plain', isReady ? 'ok' : 'not ready');
  if (path === '/health') {
    const body = {
      status: isReady ? 'healthy' : 'unhealthy',
      service: 'health-monitor',
      uptimeSeconds: Math.floor(process.uptime()),
      checks: { rounds: ctx.isCurrent() ? 'ok' : 'late', draining: ctx.isDraining() ? 'draining' : 'ok' },
    };
    return answerPlain(response, isReady ? 200 : 503, 'application/json', JSON.stringify(body));
  }
  if (path === '/metrics') {
    const refused = ctx.metricsAccess(request);
    if (refused !== null) return answerProblem(response, refused);
    return answerPlain(response, 200, ctx.metrics.registry.contentType, await ctx.metrics.registry.metrics());
  }
  answerProblem(response, new AppError('NOT_FOUND', 'the monitor has no such path'));
}
