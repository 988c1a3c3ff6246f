/**
 * The tools of an `api` service: those that its file declares, and those of its OpenAPI document. A document that
 * Portolan generates may appear or change while the service runs; it is looked at again when tools are listed.
 */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import type { ApiTool, OpenApiImport } from '../../../../catalog/serviceDefinition.js';
import type { EgressClient } from '../../../../egress/egressClient.js';
import { AppError } from '../../../../errors/appError.js';
import type { Logger } from '../../../../telemetry/logger.js';
import type { JsonObject } from '../../protocol/jsonRpc.js';
import { parseDocument } from './answerReading.js';
import type { ToolPlan } from './toolPlan.js';

export interface ToolSet {
  /** Looks at a changed document first, at most every few seconds. */
  refresh(): Promise<void>;
  /** What `tools/list` answers with, laid out already. */
  readonly listed: readonly JsonObject[];
  find(name: string): ToolPlan | undefined;
  readonly plans: readonly ToolPlan[];
}

export interface ToolSetOptions {
  readonly declared: readonly ApiTool[];
  readonly openapi: OpenApiImport | null;
  readonly stateDir: string;
  readonly toPlan: (tool: ApiTool) => ToolPlan;
  readonly egress: EgressClient;
  readonly log: Pick<Logger, 'warn' | 'info'>;
}

const lookAgainMs = 2_000;
const documentBytesMax = 16_777_216;

export function createToolSet(options: ToolSetOptions): ToolSet {
  const { declared, openapi, toPlan, log } = options;
  const own = declared.map(toPlan);
  let plans: readonly ToolPlan[] = own;
  let byName = new Map(own.map((plan) => [plan.name, plan]));
  let listed: readonly JsonObject[] = own.map((plan) => plan.listed);
  /** What the tools in use were made of. */
  let version: string | null = null;
  let lookedAt = Number.NEGATIVE_INFINITY;
  let looking: Promise<void> | null = null;

  const load = async (source: OpenApiImport): Promise<void> => {
    const found = await findVersion(source, options.stateDir);
    if (found === version && version !== null) return;
    const { tools, skipped } = await readTools(source, options);
    const imported = tools.filter(({ name }) => !own.some((plan) => plan.name === name)).map(toPlan);
    plans = [...own, ...imported];
    byName = new Map(plans.map((plan) => [plan.name, plan]));
    listed = plans.map((plan) => plan.listed);
    version = found;
    if (skipped.length > 0)
      log.info('operations of the OpenAPI document are no tools', { count: skipped.length });
  };

  return {
    get listed() {
      return listed;
    },
    get plans() {
      return plans;
    },
    find: (name) => byName.get(name),
    async refresh() {
      if (openapi === null || performance.now() - lookedAt < lookAgainMs) return looking ?? undefined;
      // A file of the service's folder, or a document behind a URL, belongs to what was loaded: once is enough.
      if (version !== null && openapi.source.type !== 'state') return;
      lookedAt = performance.now();
      looking ??= load(openapi)
        .catch((error: unknown) => log.warn('the OpenAPI document of the service cannot be used', { error }))
        .finally(() => {
          looking = null;
        });
      await looking;
    },
  };
}

async function findVersion({ source }: OpenApiImport, stateDir: string): Promise<string> {
  if (source.type === 'url') return source.url;
  const { mtimeMs, size, ino } = await stat(toPath(source, stateDir));
  return `${mtimeMs} ${size} ${ino}`;
}

async function readTools(
  openapi: OpenApiImport,
  { stateDir, egress }: ToolSetOptions,
): Promise<{ readonly tools: readonly ApiTool[]; readonly skipped: readonly unknown[] }> {
  const { source, sha256 } = openapi;
  const bytes =
    source.type === 'url'
      ? await fetchDocument(source.url, egress)
      : await readFile(toPath(source, stateDir));
  if (sha256 !== null && createHash('sha256').update(bytes).digest('hex') !== sha256) {
    throw new AppError('CONFIG_INVALID', 'the OpenAPI document does not have the declared digest');
  }
  const document = parseDocument(bytes);
  if (document === undefined) throw new AppError('CONFIG_INVALID', 'the OpenAPI document is no JSON');
  // The parser is large; services without a document never load it.
  const { toOpenApiTools } = await import('../../../../catalog/openApiTools.js');
  return toOpenApiTools(document, openapi);
}

async function fetchDocument(url: string, egress: EgressClient): Promise<Buffer> {
  const destination = egress.parse(url);
  const { status, body } = await egress.send({
    method: 'GET',
    destination,
    target: destination.pathname + destination.search,
    headers: ['accept', 'application/json'],
    maxBytes: documentBytesMax,
    totalTimeoutMs: 30_000,
  });
  if (status !== 200)
    throw new AppError('UPSTREAM_FAILED', `the OpenAPI document answered with status ${status}`);
  return body;
}

function toPath(source: Exclude<OpenApiImport['source'], { type: 'url' }>, stateDir: string): string {
  return source.type === 'file' || isAbsolute(source.path) ? source.path : join(stateDir, source.path);
}
