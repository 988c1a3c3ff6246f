/**
 * Tools from an OpenAPI 3.x document: one for each chosen operation, its parameters and body made one inputSchema (row
 * U01). Nothing is fetched: references have to stay inside the document.
 */
import { dereference, validate } from '@readme/openapi-parser';
import { AppError } from '../errors/appError.js';
import { toOperationTool } from './openApiOperation.js';
import { reduceDocument, unfoldsTooFar } from './openApiReduction.js';
import type { ApiTool, HttpMethod, OpenApiImport, OperationSelector } from './serviceDefinition.js';

export interface OpenApiTools {
  readonly tools: readonly ApiTool[];
  /** Operations that were chosen and cannot be a tool, each with its reason, for the admin. */
  readonly skipped: readonly { readonly operation: string; readonly reason: string }[];
}

type JsonMap = Readonly<Record<string, unknown>>;

const methods = ['get', 'post', 'put', 'patch', 'delete'] as const;
/** References that lead out of the document are refused before; this is the second bolt. */
const offline = { resolve: { external: false, file: false }, timeoutMs: 4_000 };

/**
 * Only GET operations become tools, unless an `include` names the method or the operationId of another one. Beyond
 * `maxTools` the rest is skipped.
 * @param document parsed; it is not changed.
 * @throws AppError CONFIG_INVALID when it is no valid OpenAPI 3.x document.
 */
export async function toOpenApiTools(
  document: unknown,
  choice: Pick<OpenApiImport, 'include' | 'exclude' | 'rename' | 'maxTools'>,
): Promise<OpenApiTools> {
  const root = await readDocument(document);
  const tools: ApiTool[] = [];
  const skipped: { operation: string; reason: string }[] = [];
  const names = new Set<string>();
  for (const [path, item] of Object.entries(toMap(root.paths))) {
    for (const method of methods) {
      const operation = toMap(item)[method];
      if (typeof operation !== 'object' || operation === null) continue;
      const facts = toFacts(path, method, operation as JsonMap);
      if (!isChosen(facts, choice)) continue;
      const label = facts.operationId ?? `${facts.method} ${path}`;
      if (tools.length >= choice.maxTools) {
        skipped.push({ operation: label, reason: `there are ${choice.maxTools} tools already` });
        continue;
      }
      const renamed = facts.operationId === null ? undefined : choice.rename[facts.operationId];
      const made = toOperationTool({
        name: toFreeName(renamed ?? facts.operationId ?? `${method}${path}`, names),
        method: facts.method,
        path,
        operation: operation as JsonMap,
        shared: toMap(item).parameters,
        find: (reference) => findReference(root, reference),
      });
      if ('reason' in made) {
        skipped.push({ operation: label, reason: made.reason });
        continue;
      }
      names.add(made.tool.name);
      tools.push(made.tool);
    }
  }
  return { tools, skipped };
}

interface OperationFacts {
  readonly path: string;
  readonly method: HttpMethod;
  readonly operationId: string | null;
  readonly tags: readonly unknown[];
}

async function readDocument(document: unknown): Promise<JsonMap> {
  if (typeof document !== 'object' || document === null) throw invalid('is no object');
  if (!('openapi' in document) || !/^3\.[01]\./.test(String(document.openapi))) {
    throw invalid('is not of version 3.0 or 3.1');
  }
  if (leadsOut(document)) throw invalid('has references that lead out of it');
  const reduced = reduceDocument(document);
  if (unfoldsTooFar(reduced)) throw invalid('unfolds too far; give one with fewer operations');
  type Document = Parameters<typeof validate>[0];
  const result = await validate(structuredClone(reduced) as Document, offline).catch(() => null);
  if (result === null) throw invalid('has references that lead nowhere');
  if (!result.valid)
    throw invalid(`is not valid: ${result.errors[0]?.message.slice(0, 300) ?? 'no reason given'}`);
  return (await dereference(structuredClone(reduced) as Document, {
    ...offline,
    dereference: { circular: 'ignore' },
  })) as unknown as JsonMap;
}

const invalid = (why: string): AppError => new AppError('CONFIG_INVALID', `the OpenAPI document ${why}`);

function leadsOut(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const reference = '$ref' in value ? value.$ref : undefined;
  if (typeof reference === 'string' && !reference.startsWith('#')) return true;
  return Object.values(value).some(leadsOut);
}

function findReference(root: JsonMap, reference: string): unknown {
  return reference
    .slice(1)
    .split('/')
    .slice(1)
    .map((name) => decodeURIComponent(name).replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce<unknown>(
      (value, name) => (Object.hasOwn(toMap(value), name) ? toMap(value)[name] : undefined),
      root,
    );
}

function toFacts(path: string, method: (typeof methods)[number], operation: JsonMap): OperationFacts {
  return {
    path,
    method: method.toUpperCase() as HttpMethod,
    operationId: typeof operation.operationId === 'string' ? operation.operationId : null,
    tags: Array.isArray(operation.tags) ? (operation.tags as readonly unknown[]) : [],
  };
}

function isChosen(
  facts: OperationFacts,
  { include, exclude }: Pick<OpenApiImport, 'include' | 'exclude'>,
): boolean {
  if (exclude.some((selector) => fits(selector, facts))) return false;
  const included = include.filter((selector) => fits(selector, facts));
  if (include.length > 0 && included.length === 0) return false;
  return (
    facts.method === 'GET' ||
    included.some(({ methods: named, operationId }) => named.length > 0 || operationId !== null)
  );
}

function fits(selector: OperationSelector, { path, method, operationId, tags }: OperationFacts): boolean {
  return (
    (selector.operationId === null || selector.operationId === operationId) &&
    (selector.tag === null || tags.includes(selector.tag)) &&
    (selector.methods.length === 0 || selector.methods.some((one) => one.toUpperCase() === method)) &&
    (selector.path === null || toPathPattern(selector.path).test(path))
  );
}

/** `*` stands for one segment or a part of it, `**` for any number of segments. */
function toPathPattern(glob: string): RegExp {
  const source = glob
    .split(/(\*\*|\*)/)
    .map((part) => {
      if (part === '**') return '.*';
      return part === '*' ? '[^/]*' : part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
    })
    .join('');
  return new RegExp(`^${source}$`);
}

/** Instance URLs end in these words, so that no tool may be called so. */
const reserved: ReadonlySet<string> = new Set(['mcp', 'sse', 'message']);

function toFreeName(wish: string, taken: ReadonlySet<string>): string {
  const plain =
    wish
      .replaceAll(/[^A-Za-z0-9_.-]+/g, '_')
      .replaceAll(/^_+|_+$/g, '')
      .slice(0, 64) || 'operation';
  const base = reserved.has(plain) ? `${plain}_operation` : plain;
  if (!taken.has(base)) return base;
  for (let number = 2; ; number += 1) {
    const name = `${base.slice(0, 60)}_${number}`;
    if (!taken.has(name)) return name;
  }
}

const toMap = (value: unknown): JsonMap =>
  typeof value === 'object' && value !== null ? (value as JsonMap) : {};
