/** The catalog of services and how each of them does (rows C02, P01, P05). */
import { z } from 'zod';
import type { CatalogReader } from '../../services/catalogReader.js';
import { defineRoute, type Route } from '../defineRoute.js';
import { publicService, serviceParams, serviceStatus } from './instanceSchemas.js';

const tags = ['Catalog'];
const idParams = z.object({ id: serviceParams.shape.serviceType });

export function createCatalogRoutes({ catalogReader }: { readonly catalogReader: CatalogReader }): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api/v1/catalog',
      operationId: 'list_catalog',
      summary: 'List the services that you can connect',
      tags,
      auth: 'user',
      responses: {
        200: {
          description: 'All that you may see; disabled ones say why.',
          schema: z.object({ services: z.array(publicService) }),
        },
      },
      async handle({ actor }) {
        return { status: 200, body: { services: await catalogReader.list(actor) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/v1/catalog/:id',
      operationId: 'get_catalog_service',
      summary: 'Show one service: what it asks for and how it does',
      tags,
      auth: 'user',
      problems: ['SERVICE_UNKNOWN'],
      request: { params: idParams },
      responses: { 200: { description: 'The service.', schema: publicService } },
      async handle({ actor, params }) {
        return { status: 200, body: await catalogReader.get(actor, params.id) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/v1/services',
      operationId: 'list_services',
      summary: 'List services by name, with their kind and whether they can be used now',
      tags,
      auth: 'user',
      responses: {
        200: {
          description: 'By name.',
          schema: z.object({
            services: z.array(
              serviceStatus.extend({
                name: z.string(),
                title: z.string(),
                kind: publicService.shape.kind,
                enabled: z.boolean(),
              }),
            ),
          }),
        },
      },
      async handle({ actor }) {
        const services = await catalogReader.list(actor);
        return {
          status: 200,
          body: {
            services: services.map(({ name, title, kind, enabled, health }) => ({
              name,
              title,
              kind,
              enabled,
              ...health,
            })),
          },
        };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/v1/health/services',
      operationId: 'get_service_health',
      summary: 'Show what the health monitor last saw of each service',
      tags,
      auth: 'user',
      responses: {
        200: { description: 'By service name.', schema: z.record(z.string(), serviceStatus) },
      },
      async handle({ actor }) {
        return { status: 200, body: await catalogReader.health(actor) };
      },
    }),
  ];
}
