/**
 * The form of `mcp-ports/<name>/config.json`, whole: the one source of the loader, of the published JSON Schema and of
 * what the editors of admins complete. Unknown keys are refused everywhere.
 */
import { z } from 'zod';
import { credentialsSchema, fieldNameSchema, userOverridesSchema } from './credentialSchemas.js';
import { stdioSchema } from './stdioSchema.js';
import { toolPolicySchema } from './toolPolicySchema.js';
import { apiSchema, dockerSchema, remoteSchema } from './upstreamSchemas.js';
import { envNameSchema, staticValueSchema, webUrlSchema } from './valueSchemas.js';

export const serviceNamePattern = /^[a-z][a-z0-9-]{1,30}[a-z0-9]$/;
export const instancePrefixPattern = /^[a-z][a-z0-9]{1,7}$/;

const perMinute = z.int().min(1).max(10_000_000);

const limits = z
  .strictObject({
    requestsPerMinute: perMinute.default(3_600),
    burst: z.int().min(1).max(1_000_000).optional(),
    concurrency: z.int().min(1).max(10_000).default(20),
    perUserRequestsPerMinute: perMinute.optional(),
    upstreamRequestsPerMinute: perMinute.optional(),
    timeoutMs: z.int().min(100).max(600_000).optional(),
    maxRequestBytes: z.int().min(1_024).max(4_194_304).default(4_194_304),
    maxResponseBytes: z.int().min(1_024).max(10_485_760).default(10_485_760),
    dailyCalls: z.int().min(1).optional(),
  })
  .meta({ id: 'limits' });

const health = z
  .strictObject({
    type: z.enum(['http', 'tcp', 'mcp', 'process', 'none']).default('process'),
    url: staticValueSchema.optional(),
    intervalSec: z.int().min(5).max(86_400).default(30),
    timeoutMs: z.int().min(100).max(60_000).default(5_000),
    failAfter: z.int().min(1).max(100).default(3),
    okAfter: z.int().min(1).max(100).default(1),
  })
  .refine((one) => one.type !== 'http' || one.url !== undefined, 'needs a url for type http')
  .meta({ id: 'health' });

const processSchema = z
  .strictObject({
    instances: z.int().min(1).max(64).default(1),
    maxMemoryRestart: z
      .string()
      .regex(/^[1-9]\d*[KMG]$/, 'must be a number and K, M or G, as 500M')
      .default('500M'),
    minUptimeMs: z.int().min(0).max(3_600_000).default(10_000),
    maxRestarts: z.int().min(0).max(1_000).default(5),
    expBackoffRestartDelayMs: z.int().min(100).max(15_000).default(200),
    killTimeoutMs: z
      .int()
      .min(26_000, 'must be at least 26000: calls under way have 25 s to finish')
      .max(600_000)
      .default(30_000),
    nodeArgs: z
      .array(
        z
          .string()
          .regex(
            /^--(?:max-|stack-|heap|trace-|expose-gc)[a-z0-9=-]*$/,
            'is not among the Node options allowed here',
          ),
      )
      .max(20)
      .default([]),
    env: z
      .record(envNameSchema, z.union([z.string(), z.number(), z.boolean()]))
      .describe('Literals only: PM2 keeps the environment of an app on disk and prints it.')
      .default({}),
  })
  .meta({ id: 'process' });

const base = {
  $schema: z.string().optional(),
  schemaVersion: z.literal(1),
  name: z
    .string()
    .regex(serviceNamePattern, 'must be 3 to 32 small letters, digits and -, beginning with a letter')
    .describe("The service's name; its folder has the same."),
  title: z.string().min(1).max(100),
  description: z.string().max(500).optional(),
  version: z
    .string()
    .regex(/^\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.-]+)?$/, 'must be a semantic version, as 1.2.3')
    .optional(),
  category: z.string().max(100).optional(),
  tags: z.array(z.string().max(50)).max(50).default([]),
  icons: z
    .array(
      z.strictObject({
        src: z
          .string()
          .regex(/^(?:https:\/\/|data:image\/)/, 'must be an https URL or an image in a data: URL'),
        mimeType: z.string().optional(),
        sizes: z.array(z.string()).default([]),
        theme: z.enum(['light', 'dark']).optional(),
      }),
    )
    .max(10)
    .default([]),
  websiteUrl: webUrlSchema.optional(),
  repository: z
    .strictObject({
      url: webUrlSchema,
      source: z.string().optional(),
      subfolder: z.string().optional(),
      commit: z.string().optional(),
    })
    .optional(),
  enabled: z.boolean().default(true),
  visibility: z
    .strictObject({ roles: z.array(z.string()).default([]), groups: z.array(z.string()).default([]) })
    .describe('Who sees the service; empty means everybody.')
    .prefault({}),
  access: z
    .strictObject({
      minimumMode: z
        .enum(['url', 'url+token'])
        .default('url')
        .describe('What every instance needs: its URL, or an access key as well.'),
    })
    .describe('What a caller of an instance has to bring at least.')
    .prefault({}),
  port: z
    .int()
    .min(1_024)
    .max(65_535)
    .describe('Allocated and kept in ports.lock.json when absent.')
    .optional(),
  instancePrefix: z
    .string()
    .regex(instancePrefixPattern, 'must be 2 to 8 small letters and digits, beginning with a letter')
    .describe('What instance ids begin with; derived when absent, and never changed after.')
    .optional(),
  credentials: credentialsSchema.optional(),
  adminConfig: z
    .record(fieldNameSchema, staticValueSchema)
    .describe("The admin's values for the placeholders of $credential.")
    .default({}),
  userOverrides: userOverridesSchema.prefault({}),
  toolPolicy: toolPolicySchema.prefault({}),
  limits: limits.prefault({}),
  health: health.prefault({}),
  process: processSchema.prefault({}),
  audit: z
    .strictObject({
      arguments: z.enum(['digest', 'none', 'keys', 'redacted', 'full']).default('digest'),
      results: z.enum(['none', 'size', 'full']).default('size'),
      durability: z.enum(['spool', 'fsync']).default('spool'),
    })
    .prefault({}),
  source: z
    .strictObject({
      format: z.enum([
        'mcp-registry',
        'docker-catalog',
        'mcpb',
        'mcp-servers-json',
        'vscode-mcp-json',
        'openapi',
        'smithery',
        'native',
      ]),
      ref: z.string().optional(),
      digest: z.string().optional(),
      importedAt: z.iso.datetime().optional(),
    })
    .describe('Where an imported configuration came from.')
    .optional(),
  _meta: z.record(z.string(), z.json()).optional(),
};

export const configSchema = z
  .discriminatedUnion(
    'kind',
    [
      z.strictObject({ ...base, kind: z.literal('api'), api: apiSchema }).meta({ id: 'apiService' }),
      z.strictObject({ ...base, kind: z.literal('stdio'), stdio: stdioSchema }).meta({ id: 'stdioService' }),
      z.strictObject({ ...base, kind: z.literal('sse'), remote: remoteSchema }).meta({ id: 'sseService' }),
      z
        .strictObject({ ...base, kind: z.literal('streamable-http'), remote: remoteSchema })
        .meta({ id: 'streamableHttpService' }),
      z
        .strictObject({ ...base, kind: z.literal('docker'), docker: dockerSchema })
        .meta({ id: 'dockerService' }),
    ],
    { error: 'must be api, stdio, sse, streamable-http or docker' },
  )
  .meta({ title: 'mcp-ports/<name>/config.json' });

export type ServiceConfig = z.output<typeof configSchema>;
export type LimitsConfig = z.output<typeof limits>;
export type HealthConfig = z.output<typeof health>;
