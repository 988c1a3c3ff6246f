/** The upstream of kind `api`: a REST API, its tools declared here or taken from an OpenAPI document. */
import { dirname, normalize, resolve, sep } from 'node:path';
import type { ApiConfig, ApiToolConfig } from './configSchema/upstreamSchemas.js';
import type { ConfigReading } from './configReading.js';
import { toPointer } from './configText.js';
import type {
  ApiDefinition,
  ApiTool,
  EgressPolicy,
  OpenApiImport,
  OpenApiSource,
} from './serviceDefinition.js';
import { parseArgumentTemplate, TemplateError, type ArgumentTemplate } from './template.js';
import { toTemplatedUrl, withHosts } from './templatedUrl.js';
import { checkUrl } from './urlChecks.js';

export function toApiDefinition(api: ApiConfig, file: string, reading: ConfigReading): ApiDefinition {
  const base = toTemplatedUrl(api.baseUrl, '/api/baseUrl', api.egress, reading);
  if (typeof base.value === 'string' && /[?#]/.test(base.value)) {
    reading.refuse('/api/baseUrl', 'must not have a query; use api.query');
  }
  const openapi = api.openapi === undefined ? null : toOpenApiImport(api.openapi, file, api.egress, reading);
  const names = api.tools.map((tool) => tool.name);
  api.tools.forEach((tool, index) => {
    if (names.indexOf(tool.name) !== index) reading.refuse(`/api/tools/${index}/name`, 'is there already');
  });
  const documentHosts = openapi?.source.type === 'url' ? [new URL(openapi.source.url).hostname] : [];
  return {
    baseUrl: typeof base.value === 'string' ? base.value.replace(/\/+$/, '') : base.value,
    headers: reading.toMap(api.headers, '/api/headers', 'header'),
    query: reading.toMap(api.query, '/api/query', 'query'),
    egress: withHosts(api.egress, [...base.hosts, ...documentHosts]),
    openapi,
    tools: api.tools.map((tool, index) => toApiTool(tool, `/api/tools/${index}`, reading)),
    pagination: {
      style: api.pagination.style,
      cursorParam: api.pagination.cursorParam ?? null,
      cursorPath: api.pagination.cursorPath ?? null,
      maxPages: api.pagination.maxPages,
    },
    retry: api.retry,
    response: {
      maxBytes: api.response.maxBytes,
      pick: api.response.pick ?? null,
      errorPath: api.response.errorPath ?? null,
    },
    connections: api.connections,
  };
}

function toOpenApiImport(
  config: NonNullable<ApiConfig['openapi']>,
  file: string,
  egress: EgressPolicy,
  reading: ConfigReading,
): OpenApiImport {
  const select = (one: (typeof config.include)[number]) => ({
    operationId: one.operationId ?? null,
    tag: one.tag ?? null,
    path: one.path ?? null,
    methods: one.methods,
  });
  return {
    source: toOpenApiSource(config.source, dirname(file), egress, reading),
    sha256: config.sha256 ?? null,
    include: config.include.map(select),
    exclude: config.exclude.map(select),
    rename: config.rename,
    maxTools: config.maxTools,
  };
}

function toOpenApiSource(
  text: string,
  folder: string,
  egress: EgressPolicy,
  reading: ConfigReading,
): OpenApiSource {
  const pointer = '/api/openapi/source';
  if (text.startsWith('state:')) {
    const path = normalize(text.slice('state:'.length));
    if (path.startsWith('..') || path.startsWith('/')) {
      reading.refuse(pointer, 'must stay below the state directory');
    }
    return { type: 'state', path };
  }
  if (text.startsWith('./')) {
    const path = resolve(folder, text);
    if (!path.startsWith(folder + sep)) reading.refuse(pointer, "must stay in the service's own folder");
    return { type: 'file', path };
  }
  const verdict = checkUrl(text, egress);
  if ('message' in verdict) {
    reading.refuse(pointer, `${verdict.message} (or "./<path>", or "state:<path>")`);
    return { type: 'file', path: '' };
  }
  return { type: 'url', url: verdict.url.href };
}

function toApiTool(tool: ApiToolConfig, pointer: string, reading: ConfigReading): ApiTool {
  const { request, response } = tool;
  const properties: unknown = tool.inputSchema.properties;
  const known = new Set(typeof properties === 'object' && properties !== null ? Object.keys(properties) : []);
  const required: unknown = tool.inputSchema.required;
  const toArguments = (text: string, at: string): ArgumentTemplate => {
    try {
      return parseArgumentTemplate(text, known);
    } catch (error) {
      if (!(error instanceof TemplateError)) throw error;
      reading.refuse(at, error.message);
      return { kind: 'argumentTemplate', parts: [] };
    }
  };
  const path = toArguments(request.path, `${pointer}/request/path`);
  for (const part of path.parts) {
    if ('placeholder' in part && !(Array.isArray(required) && required.includes(part.placeholder))) {
      reading.refuse(`${pointer}/request/path`, 'has an argument that the inputSchema does not require');
    }
    if ('literal' in part && /[?#\\\s]|\/\/|(?:^|\/)\.\.?(?:\/|$)|%2[ef]/i.test(part.literal)) {
      reading.refuse(`${pointer}/request/path`, 'must be a plain path without query, fragment, "//" or ".."');
    }
  }
  if (request.body !== undefined && request.bodyFrom !== undefined) {
    reading.refuse(`${pointer}/request`, 'has both body and bodyFrom');
  }
  if (request.method === 'GET' && (request.body !== undefined || request.bodyFrom !== undefined)) {
    reading.refuse(`${pointer}/request`, 'has a body, which a GET cannot carry');
  }
  return {
    name: tool.name,
    title: tool.title ?? null,
    description: tool.description,
    inputSchema: tool.inputSchema,
    outputSchema: tool.outputSchema ?? null,
    annotations: Object.fromEntries(
      Object.entries(tool.annotations).filter((entry): entry is [string, boolean] => entry[1] !== undefined),
    ),
    request: {
      method: request.method,
      path,
      query: Object.fromEntries(
        Object.entries(request.query).map(([name, text]) => [
          name,
          toArguments(text, toPointer(`${pointer}/request/query`, name)),
        ]),
      ),
      headers: reading.toMap(request.headers, `${pointer}/request/headers`, 'header'),
      body:
        request.body === undefined
          ? undefined
          : reading.toBody(request.body, `${pointer}/request/body`, known),
      bodyFrom: request.bodyFrom ?? null,
      contentType: request.contentType,
    },
    response: {
      pick: response.pick ?? null,
      maxBytes: response.maxBytes ?? null,
      format: response.format,
      okPath: response.okPath ?? null,
      errorPath: response.errorPath ?? null,
    },
    scopes: tool.scopes,
    timeoutMs: tool.timeoutMs ?? null,
    cacheTtlMs: tool.cacheTtlMs,
  };
}
