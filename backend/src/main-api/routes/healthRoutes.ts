/** What supervisors and Prometheus ask: is it alive, is it ready, how is it doing. */
import { z } from 'zod';
import type { Registry } from 'prom-client';
import type { Readiness, ReadinessReport } from '../../services/readiness.js';
import { defineRoute, type Route } from '../defineRoute.js';

const tags = ['Health'];

const alive = z.object({ status: z.literal('alive') });
const isAlive: z.input<typeof alive> = { status: 'alive' };
const check = z.object({ status: z.enum(['ok', 'failed']), reason: z.string().optional() });
const checks = z.record(z.string(), check);
const health = z
  .object({
    status: z.enum(['healthy', 'unhealthy']),
    service: z.literal('main-api'),
    uptimeSeconds: z.number(),
    checks,
  })
  .meta({ id: 'Health' });
const ready = z
  .object({ status: z.enum(['ready', 'unready']), checks: checks.optional() })
  .meta({ id: 'Ready' });

export interface HealthRoutesParts {
  readonly readiness: Readiness;
  readonly metrics: { readonly registry: Pick<Registry, 'metrics' | 'contentType'> };
}

export function createHealthRoutes({ readiness, metrics }: HealthRoutesParts): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/livez',
      operationId: 'get_liveness',
      summary: 'Tell that the process turns',
      tags,
      auth: 'none',
      responses: { 200: { description: 'Alive.', schema: alive } },
      async handle() {
        return { status: 200, body: isAlive };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/readyz',
      operationId: 'get_readiness',
      summary: 'Tell whether the main API can do its work',
      tags,
      auth: 'none',
      request: {
        query: z.object({
          verbose: z.string().optional().meta({ description: 'Present: name each check.' }),
        }),
      },
      responses: {
        200: { description: 'Ready.', schema: ready },
        503: { description: 'Not ready.', schema: ready },
      },
      async handle({ query }) {
        const report = await readiness.check();
        return {
          status: report.isReady ? 200 : 503,
          body: toReadyBody(report, query.verbose !== undefined),
        };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/health',
      operationId: 'get_health',
      summary: 'Show the health of the main API',
      tags,
      auth: 'none',
      responses: {
        200: { description: 'Healthy.', schema: health },
        503: { description: 'Unhealthy.', schema: health },
      },
      async handle() {
        const report = await readiness.check();
        return {
          status: report.isReady ? 200 : 503,
          body: toHealthBody(report),
        };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/metrics',
      operationId: 'get_metrics',
      summary: 'Read the metrics of the main API',
      description: 'Wants the metrics token of the state directory as bearer credential; 404 without it.',
      tags,
      auth: 'none',
      responses: {
        200: {
          description: 'Prometheus text format.',
          schema: z.string(),
          contentType: 'text/plain; version=0.0.4; charset=utf-8',
        },
      },
      problems: ['NOT_FOUND'],
      async handle() {
        return { status: 200, body: await metrics.registry.metrics() };
      },
    }),
  ];
}

function toReadyBody({ isReady, checks: made }: ReadinessReport, isVerbose: boolean): z.input<typeof ready> {
  return { status: isReady ? 'ready' : 'unready', ...(isVerbose ? { checks: made } : {}) };
}

function toHealthBody({ isReady, checks: made }: ReadinessReport): z.input<typeof health> {
  return {
    status: isReady ? 'healthy' : 'unhealthy',
    service: 'main-api',
    uptimeSeconds: Math.round(process.uptime()),
    checks: made,
  };
}
