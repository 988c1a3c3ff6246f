/** What stands behind a service: one schema per kind. */
import { z } from 'zod';
import { processLimits } from './stdioSchema.js';
import {
  bodySchema,
  egressSchema,
  envMapSchema,
  headerMapSchema,
  jsonPointerSchema,
  memorySize,
  protocolSchema,
  queryMapSchema,
  valueSchema,
} from './valueSchemas.js';

const sha256 = z.string().regex(/^[a-f0-9]{64}$/, 'must be 64 hex digits');
const text = (max: number) => z.string().min(1).max(max);
/** Instance URLs end in these words; a tool of that name could not be called by REST. */
export const toolName = z
  .string()
  .regex(/^[A-Za-z0-9_.-]{1,64}$/, 'must be 1 to 64 letters, digits, _ . -')
  .refine((name) => !['mcp', 'sse', 'message'].includes(name), 'is a word of the instance URL');

const operation = z
  .strictObject({
    operationId: text(200).optional(),
    tag: text(200).optional(),
    path: text(500).optional(),
    methods: z.array(z.enum(['get', 'post', 'put', 'patch', 'delete', 'head', 'options'])).default([]),
  })
  .refine(
    (one) =>
      one.operationId !== undefined ||
      one.tag !== undefined ||
      one.path !== undefined ||
      one.methods.length > 0,
    {
      error: 'must say operationId, tag, path or methods',
    },
  )
  .meta({ id: 'operation', description: 'Operations of an OpenAPI document; every given member must fit.' });

const openapi = z
  .strictObject({
    source: text(2_000).describe(
      'Where the document is: "state:<path>" below the state directory, "./<path>" beside this file, or an https URL.',
    ),
    sha256: sha256.optional(),
    include: z.array(operation).max(1_000).default([]),
    exclude: z.array(operation).max(1_000).default([]),
    rename: z.record(text(200), toolName).default({}),
    maxTools: z.int().min(1).max(1_000).default(60),
  })
  .meta({ id: 'openapi' });

const tool = z
  .strictObject({
    name: toolName,
    title: text(200).optional(),
    description: text(2_000),
    inputSchema: z
      .looseObject({ type: z.literal('object') })
      .describe('JSON Schema 2020-12 of the arguments.'),
    outputSchema: z.looseObject({ type: z.literal('object') }).optional(),
    annotations: z
      .strictObject({
        readOnlyHint: z.boolean().optional(),
        destructiveHint: z.boolean().optional(),
        idempotentHint: z.boolean().optional(),
        openWorldHint: z.boolean().optional(),
      })
      .default({}),
    request: z.strictObject({
      method: z.enum(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']),
      path: z
        .string()
        .max(2_000)
        .regex(/^\//, 'must begin with /')
        .describe('{name} stands for an argument.'),
      query: z.record(text(100), z.string().max(1_000)).default({}),
      headers: headerMapSchema.default({}),
      body: bodySchema.optional(),
      bodyFrom: z.enum(['args', 'rest']).optional(),
      contentType: z
        .enum(['application/json', 'application/x-www-form-urlencoded'])
        .default('application/json'),
    }),
    response: z
      .strictObject({
        pick: jsonPointerSchema.optional(),
        maxBytes: z.int().min(1_024).max(10_485_760).optional(),
        format: z.enum(['json', 'text', 'image']).default('json'),
        okPath: jsonPointerSchema.optional(),
        errorPath: jsonPointerSchema.optional(),
      })
      .prefault({}),
    scopes: z.array(text(200)).default([]),
    timeoutMs: z.int().min(100).max(600_000).optional(),
    cacheTtlMs: z.int().min(0).max(86_400_000).default(0),
  })
  .meta({ id: 'apiTool' });

export type ApiToolConfig = z.output<typeof tool>;

export const apiSchema = z
  .strictObject({
    baseUrl: valueSchema,
    headers: headerMapSchema.default({}),
    query: queryMapSchema.default({}),
    egress: egressSchema.prefault({}),
    openapi: openapi.optional(),
    tools: z.array(tool).max(500).default([]),
    pagination: z
      .strictObject({
        style: z.enum(['none', 'cursor', 'page', 'link-header']).default('none'),
        cursorParam: text(100).optional(),
        cursorPath: jsonPointerSchema.optional(),
        maxPages: z.int().min(1).max(100).default(1),
      })
      .prefault({}),
    retry: z
      .strictObject({
        attempts: z.int().min(1).max(5).default(2),
        on: z.array(z.int().min(400).max(599)).default([429, 502, 503, 504]),
        respectRetryAfter: z.boolean().default(true),
      })
      .prefault({}),
    response: z
      .strictObject({
        maxBytes: z.int().min(1_024).max(10_485_760).default(262_144),
        pick: jsonPointerSchema.optional(),
        errorPath: jsonPointerSchema.optional(),
      })
      .prefault({}),
    connections: z.int().min(1).max(500).default(50),
  })
  .refine((api) => api.openapi !== undefined || api.tools.length > 0, 'needs openapi or tools')
  .meta({ id: 'apiUpstream' });

export type ApiConfig = z.output<typeof apiSchema>;

export const remoteSchema = z
  .strictObject({
    url: valueSchema,
    headers: headerMapSchema.default({}),
    auth: z.enum(['none', 'headers', 'mcp-oauth']).default('headers'),
    protocol: protocolSchema,
    egress: egressSchema.prefault({}),
    tls: z
      .strictObject({
        caFile: z.string().regex(/^\//, 'must be an absolute path').optional(),
        rejectUnauthorized: z.literal(true).optional(),
      })
      .prefault({}),
    session: z.enum(['per-client', 'per-instance', 'stateless']).default('per-client'),
    fallbackSse: z.boolean().default(false),
  })
  .meta({ id: 'remoteUpstream' });

export type RemoteConfig = z.output<typeof remoteSchema>;

const mountSource = z
  .union([
    z.string().regex(/^\//, 'must be an absolute path'),
    z.strictObject({ $instance: z.string().min(1) }),
  ])
  .refine(
    (source) => typeof source !== 'string' || !isDangerousMount(source),
    'would give the container power over this host',
  );

function isDangerousMount(path: string): boolean {
  const clean = path.replaceAll(/\/+/g, '/').replace(/\/$/, '');
  return (
    clean === '' ||
    clean.split('/').some((part) => part === '..' || part === '.') ||
    /(?:docker|podman|containerd|crio)[^/]*\.sock$/.test(clean) ||
    /^\/(?:proc|sys|dev|etc|boot|root|run|var\/run|var\/lib\/(?:docker|containers))(?:\/|$)/.test(clean)
  );
}

/** F08: what could loosen the container has no key here, so that it is refused as unknown. */
export const dockerSchema = z
  .strictObject({
    image: z
      .string()
      .max(500)
      .regex(/^(?!-)[^\s@]+(?:@sha256:[a-f0-9]{64})?$/, 'is no image reference'),
    pull: z.enum(['never', 'missing', 'always']).default('missing'),
    command: z.array(valueSchema).max(200).default([]),
    entrypoint: z.array(z.string()).min(1).max(50).optional(),
    env: envMapSchema.default({}),
    transport: z.enum(['stdio', 'streamable-http', 'sse']).default('stdio'),
    containerPort: z.int().min(1).max(65_535).optional(),
    path: z.string().regex(/^\//, 'must begin with /').default('/mcp'),
    user: z
      .string()
      .regex(/^[1-9]\d*(?::[1-9]\d*)?$/, 'must be a numeric user, not root')
      .default('65534:65534'),
    network: z.enum(['none', 'egress', 'bridge']).default('egress'),
    egress: egressSchema.prefault({}),
    volumes: z
      .array(
        z.strictObject({
          source: mountSource,
          target: z.string().regex(/^\/[^:]*$/, 'must be an absolute path'),
          readOnly: z.boolean().default(true),
        }),
      )
      .max(20)
      .default([]),
    readOnlyRootfs: z.boolean().default(true),
    capDrop: z
      .array(z.string())
      .default(['ALL'])
      .refine((caps) => caps.includes('ALL'), 'must include ALL'),
    securityOpt: z
      .array(z.string())
      .default(['no-new-privileges:true'])
      .refine(
        (options) =>
          options.includes('no-new-privileges:true') &&
          !options.some((one) => /unconfined|disable/.test(one)),
        'must include no-new-privileges:true and switch nothing off',
      ),
    tmpfs: z.array(z.string().regex(/^\//, 'must be an absolute path')).max(20).default(['/tmp']),
    memory: memorySize('256m'),
    cpus: z.number().positive().max(64).default(0.5),
    pidsLimit: z.int().min(1).max(10_000).default(128),
    ...processLimits,
    startupTimeoutMs: z.int().min(100).max(300_000).default(20_000),
    maxContainers: z.int().min(1).max(10_000).default(20),
  })
  .refine(
    (docker) => docker.transport === 'stdio' || docker.containerPort !== undefined,
    'needs containerPort for an HTTP transport',
  )
  .meta({ id: 'dockerUpstream' });

export type DockerConfig = z.output<typeof dockerSchema>;
