/** The OpenAPI document: valid, whole, and the same thing as the routes that serve it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compileErrors, validate } from '@readme/openapi-parser';
import type { Express } from 'express';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { errorCodes } from '../../backend/src/errors/errorCodes.js';
import { createApp } from '../../backend/src/main-api/app.js';
import { createRoutes } from '../../backend/src/main-api/routes.js';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import { openMainApi, type OpenedMainApi } from '../support/mainApi.js';
import { toOpenApiText } from '../../scripts/openapi/openApiFile.js';

type Json = Record<string, unknown>;
interface Operation extends Json {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: string[];
  readonly security: Json[];
  readonly responses: Record<string, { description: string; content?: Record<string, Json> }>;
}
interface Layer {
  readonly route?: { readonly path: string | string[]; readonly methods: Record<string, boolean> };
  readonly handle: { readonly stack?: Layer[] };
}

/** Every path and method that express answers by a route, wherever its router is mounted. */
function listExpressRoutes(app: Express): string[] {
  const walk = (layers: readonly Layer[]): string[] =>
    layers.flatMap(({ route, handle }) => {
      if (route === undefined) return handle.stack === undefined ? [] : walk(handle.stack);
      const methods = Object.keys(route.methods).filter((method) => method !== '_all');
      return [route.path].flat().flatMap((path) => methods.map((method) => `${method} ${path}`));
    });
  return walk((app as unknown as { router: { stack: Layer[] } }).router.stack);
}

/** Pages of the console and the reference, which are files and no part of the API. */
const pages: ReadonlySet<string> = new Set([
  'get /',
  'get /console',
  'get /console/*path',
  'get /api/v1/docs/reference.js',
]);

describe('the OpenAPI document', () => {
  let api: OpenedMainApi;
  let document: { openapi: string; paths: Record<string, Record<string, Operation>>; components: Json };
  let operations: [string, Operation][];
  beforeAll(async () => {
    api = await openMainApi();
    ({ body: document } = await api.get('/api/v1/openapi.json'));
    operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]): [string, Operation] => [
        `${method} ${path}`,
        operation,
      ]),
    );
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
  });

  it('C11 is valid OpenAPI 3.1', async () => {
    expect(document.openapi).toBe('3.1.0');
    const result = await validate(structuredClone(document) as never);
    expect(result.valid ? '' : compileErrors(result)).toBe('');
  });

  it('C11 names every route that express answers, and no other', () => {
    const app = createApp(api.ctx, { clientAddressOf: () => null });
    const served = listExpressRoutes(app)
      .filter((route) => !pages.has(route))
      .map((route) => route.replaceAll(/:([A-Za-z]+)/g, '{$1}'));
    expect(served.length).toBeGreaterThan(30);
    expect(operations.map(([name]) => name).sort()).toEqual([...new Set(served)].sort());
  });

  it('C11 gives each operation a name that an MCP tool can have, a summary and a tag', () => {
    const names = operations.map(([, { operationId }]) => operationId);
    expect(new Set(names).size).toBe(names.length);
    for (const [, { operationId, summary, tags }] of operations) {
      expect(operationId).toMatch(/^[a-z][a-z0-9]*(_[a-z0-9]+)+$/);
      expect(summary.length).toBeGreaterThan(5);
      expect(tags).toHaveLength(1);
    }
  });

  it('C11 tells how to authenticate wherever it is needed, and a stranger gets 401 exactly there', async () => {
    for (const [name, operation] of operations) {
      const [method, path] = name.split(' ') as [string, string];
      const isOpen = operation.security.length === 0;
      if (isOpen && method !== 'get') continue;
      const concrete = path.replaceAll(/\{[A-Za-z]+\}/g, '00000000-0000-4000-8000-000000000000');
      const send = api[method as 'get'];
      const { status } = await send(concrete);
      expect({ name, isRefused: status === 401 }).toEqual({ name, isRefused: !isOpen });
      expect({ name, saysSo: isOpen || '401' in operation.responses }).toEqual({ name, saysSo: true });
    }
  });

  it('C11 describes problems as problems, by the status of their codes', () => {
    for (const [name, { responses }] of operations) {
      for (const [status, { description, content }] of Object.entries(responses)) {
        if (content === undefined || !('application/problem+json' in content)) continue;
        for (const code of description.split(', ')) {
          expect({ name, code, status: errorCodes[code as keyof typeof errorCodes]?.status }).toEqual({
            name,
            code,
            status: Number(status),
          });
        }
      }
    }
  });

  it('C11 says of every mutation what it is called in the audit', () => {
    const { routes } = createRoutes(api.ctx);
    const unnamed = routes.filter(({ method, audit }) => method !== 'get' && audit === undefined);
    expect(unnamed.map(({ operationId }) => operationId)).toEqual([]);
  });

  it('C11 is committed as it is; regenerating changes nothing', () => {
    const root = findProjectRoot(import.meta.dirname);
    const committed = readFileSync(join(root, 'docs', 'api', 'openapi.json'), 'utf8');
    expect(toOpenApiText(root)).toBe(committed);
    expect(JSON.parse(committed)).toEqual(document);
  });
});
