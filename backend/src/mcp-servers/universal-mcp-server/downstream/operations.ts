/** What supervisors, monitors and Prometheus ask of a service's port (spec 10). */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';
import { endBeforeBody } from '../../../lifecycle/plainAnswer.js';
import { toAppError } from '../../../errors/appError.js';
import { problemContentType, toProblem } from '../../../errors/problem.js';
import type { Readiness } from '../../../services/readiness.js';
import type { MetricsAccess } from '../../../telemetry/metricsAccess.js';

export interface OperationsOptions {
  readonly service: string;
  readonly readiness: Readiness;
  readonly metricsAccess: MetricsAccess;
  readonly registry: Registry;
  /** Brings gauges up to date that are read rather than counted. */
  readonly refreshGauges: () => void;
  readonly uptimeSeconds: () => number;
}

export type AnswerOperation = (
  name: 'health' | 'livez' | 'readyz' | 'metrics',
  request: IncomingMessage,
  response: ServerResponse,
) => Promise<void>;

export function createOperations(options: OperationsOptions): AnswerOperation {
  const { service, readiness, registry } = options;
  return async (name, request, response) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      return sendBody(response, 405, 'application/json', '{}');
    }
    switch (name) {
      case 'livez':
        return sendJsonBody(response, 200, { status: 'live' });
      case 'health': {
        const { isReady, checks } = await readiness.check();
        const status = isReady ? 'healthy' : 'unhealthy';
        const uptimeSeconds = Math.floor(options.uptimeSeconds());
        return sendJsonBody(response, isReady ? 200 : 503, { status, service, uptimeSeconds, checks });
      }
      case 'readyz': {
        const { isReady, checks } = await readiness.check();
        const isVerbose = /[?&]verbose\b/.test(request.url ?? '');
        const status = isReady ? 'ready' : 'not ready';
        return sendJsonBody(response, isReady ? 200 : 503, isVerbose ? { status, checks } : { status });
      }
      case 'metrics': {
        const refusal = options.metricsAccess(request);
        if (refusal !== null) return sendProblem(response, refusal);
        options.refreshGauges();
        return sendBody(response, 200, registry.contentType, await registry.metrics());
      }
    }
  };
}

export function sendJsonBody(response: ServerResponse, status: number, value: unknown): void {
  sendBody(response, status, 'application/json', JSON.stringify(value));
}

export function sendProblem(response: ServerResponse, thrown: unknown): void {
  const error = toAppError(thrown);
  const { retryAfterSeconds } = error.options;
  if (retryAfterSeconds !== undefined) response.setHeader('retry-after', retryAfterSeconds);
  sendBody(response, error.form.status, problemContentType, JSON.stringify(toProblem(error)));
}

function sendBody(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
  });
  endBeforeBody(response, body);
}
