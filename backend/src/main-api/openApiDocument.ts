/**
 * The OpenAPI 3.1 document of the declared routes (row C11). Nothing is written here by hand that a route says itself.
 */
import { OpenAPIRegistry, OpenApiGeneratorV31, type RouteConfig } from '@asteasolutions/zod-to-openapi';
import { z } from 'zod';
import { errorCodes, type ErrorCode } from '../errors/errorCodes.js';
import { problemContentType } from '../errors/problem.js';
import type { Route } from './defineRoute.js';

const problem = z
  .object({
    type: z.string().meta({ examples: ['urn:portolan:problem:not-found'] }),
    title: z.string(),
    status: z.int(),
    code: z
      .enum(Object.keys(errorCodes) as [ErrorCode, ...ErrorCode[]])
      .meta({ description: 'Stable; branch on it.' }),
    detail: z.string().optional().meta({ description: 'What is wrong and what to do.' }),
    requestId: z.string().optional(),
    errors: z
      .array(
        z.object({
          pointer: z.string().meta({ description: 'JSON pointer (RFC 6901).' }),
          message: z.string(),
        }),
      )
      .optional(),
  })
  .meta({ id: 'Problem', description: 'What went wrong (RFC 9457).' });

const tagDescriptions: Readonly<Record<string, string>> = {
  'Sign-in': 'Signing in and out, set-up, registering.',
  'My account': 'The caller’s own account, sessions and personal API keys.',
  Accounts: 'Accounts and invitations, for admins.',
  Catalog: 'The services that are offered.',
  Instances: 'The caller’s instances: each a service with a URL and credentials of its own.',
  Credentials: 'The credentials of the caller’s instances.',
  Audit: 'Who changed what, and which calls were made.',
  Health: 'Whether this installation and its services work.',
  Reference: 'This document.',
};

export type OpenApiDocument = ReturnType<OpenApiGeneratorV31['generateDocument']>;

export function toOpenApiDocument(routes: readonly Route[]): OpenApiDocument {
  const registry = new OpenAPIRegistry();
  registry.registerComponent('securitySchemes', 'bearer', {
    type: 'http',
    scheme: 'bearer',
    description: 'An access token of `POST /api/v1/auth/login`, or a personal API key.',
  });
  registry.registerComponent('securitySchemes', 'session', {
    type: 'http',
    scheme: 'bearer',
    description: 'An access token; a personal API key is not enough.',
  });
  for (const route of routes) registry.registerPath(toOperation(route));
  const used = [...new Set(routes.flatMap(({ tags }) => tags))].sort();
  return new OpenApiGeneratorV31(registry.definitions, { sortComponents: 'alphabetically' }).generateDocument(
    {
      openapi: '3.1.0',
      info: {
        title: 'Portolan',
        version: '1',
        description:
          'Every service once, an instance URL for everybody. Errors are problem bodies (RFC 9457).',
      },
      // Relative to where the document is read from (OpenAPI 3.1, "Server Object"), so it is right behind any PUBLIC_URL.
      servers: [{ url: '../..' }],
      tags: used.map((name) => ({
        name,
        ...(tagDescriptions[name] === undefined ? {} : { description: tagDescriptions[name] }),
      })),
    },
  );
}

function toOperation(route: Route): RouteConfig {
  const { params, query, body } = route.request;
  return {
    method: route.method,
    path: route.path.replaceAll(/:([A-Za-z]+)/g, '{$1}'),
    operationId: route.operationId,
    summary: route.summary,
    ...(route.description === undefined ? {} : { description: route.description }),
    tags: [...route.tags],
    ...(route.auth === 'none'
      ? { security: [] }
      : { security: [{ [route.personalKeys === false ? 'session' : 'bearer']: [] }] }),
    request: {
      ...(params instanceof z.ZodObject ? { params } : {}),
      ...(query instanceof z.ZodObject ? { query } : {}),
      ...(body === undefined
        ? {}
        : { body: { required: true, content: { 'application/json': { schema: body } } } }),
    },
    responses: { ...toAnswers(route), ...toProblems(route) },
  };
}

function toAnswers(route: Route): RouteConfig['responses'] {
  return Object.fromEntries(
    Object.entries(route.responses).map(
      ([status, { description, schema, contentType = 'application/json' }]) => [
        status,
        { description, ...(schema === undefined ? {} : { content: { [contentType]: { schema } } }) },
      ],
    ),
  );
}

/** The problems that a route can answer with, by status: its own, and those that its auth and request bring along. */
function toProblems(route: Route): RouteConfig['responses'] {
  const { request, auth, limit, personalKeys, problems = [], audit } = route;
  const codes: ErrorCode[] = [...problems];
  const hasRequest =
    request.params !== undefined || request.query !== undefined || request.body !== undefined;
  if (hasRequest) codes.push('INVALID_REQUEST');
  if (request.body !== undefined) codes.push('INVALID_JSON', 'PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE');
  if (auth !== 'none') codes.push('UNAUTHENTICATED', 'DATABASE_UNAVAILABLE');
  if (auth === 'admin' || auth === 'auditor' || personalKeys === false) codes.push('ACCESS_DENIED');
  if (limit !== undefined) codes.push('RATE_LIMIT_EXCEEDED');
  if (audit !== undefined) codes.push('DATABASE_UNAVAILABLE');
  const byStatus = new Map<number, Set<ErrorCode>>();
  for (const code of codes) {
    const { status } = errorCodes[code];
    byStatus.set(status, (byStatus.get(status) ?? new Set()).add(code));
  }
  return Object.fromEntries(
    [...byStatus].map(([status, some]) => [
      status,
      { description: [...some].sort().join(', '), content: { [problemContentType]: { schema: problem } } },
    ]),
  );
}
