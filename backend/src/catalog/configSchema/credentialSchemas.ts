/**
 * How a user's credential is asked for (`methods`), checked against the real service (`probe`) and what the user may set
 * besides (`userOverrides`).
 */
import { z } from 'zod';
import { isReservedName } from '../template.js';
import {
  bodySchema,
  headerMapSchema,
  jsonPointerSchema,
  staticValueSchema,
  valueSchema,
  webUrlSchema,
} from './valueSchemas.js';

const words = (max: number) => z.string().min(1).max(max);
const literal = z.union([z.string(), z.number(), z.boolean()]);

export const fieldNameSchema = z
  .string()
  .regex(/^[a-z][a-zA-Z0-9_]{0,63}$/, 'must begin with a small letter and hold letters, digits and _ only')
  .refine((name) => !isReservedName(name), 'is a name that JavaScript keeps for itself');

const field = z
  .strictObject({
    name: fieldNameSchema,
    label: words(100),
    description: words(500).optional(),
    placeholder: words(200).optional(),
    helpUrl: webUrlSchema.optional(),
    type: z
      .enum(['string', 'secret', 'text', 'number', 'boolean', 'enum', 'url', 'email', 'json'])
      .default('string'),
    secret: z.boolean().describe('Never shown again; true by itself for type "secret".').optional(),
    required: z.boolean().default(true),
    default: literal.optional(),
    enum: z
      .array(z.strictObject({ value: words(500), label: words(200).optional() }))
      .min(1)
      .max(500)
      .optional(),
    pattern: z
      .string()
      .max(200)
      .describe('A regular expression (ECMAScript, u flag); anchor it with ^ and $.')
      .optional(),
    minLength: z.int().min(0).max(16_384).optional(),
    maxLength: z.int().min(1).max(16_384).optional(),
    minimum: z.number().optional(),
    maximum: z.number().optional(),
    group: words(100).optional(),
    showIf: z.record(fieldNameSchema, literal).optional(),
  })
  .meta({ id: 'field', description: 'One field of the form that the console draws.' });

export type FieldConfig = z.output<typeof field>;

const probe = z
  .strictObject({
    type: z.enum(['http', 'mcp', 'none']).optional(),
    request: z
      .strictObject({
        method: z.enum(['GET', 'POST', 'HEAD']).default('GET'),
        url: valueSchema.optional(),
        path: z
          .string()
          .regex(/^\//, 'must begin with /')
          .describe('Instead of url, for kind api: appended to api.baseUrl.')
          .optional(),
        headers: headerMapSchema.default({}),
        body: bodySchema.optional(),
      })
      .refine(
        (request) => (request.url === undefined) !== (request.path === undefined),
        'needs either url or path',
      )
      .optional(),
    expect: z
      .strictObject({
        status: z.array(z.int().min(100).max(599)).min(1).default([200]),
        jsonPointer: jsonPointerSchema.optional(),
        equals: z.json().optional(),
      })
      .prefault({}),
    identity: z
      .strictObject({
        id: jsonPointerSchema.optional(),
        label: jsonPointerSchema.optional(),
        avatarUrl: jsonPointerSchema.optional(),
        scopesHeader: z.string().max(100).optional(),
      })
      .describe('JSON pointers into the answer, shown as "Connected as …".')
      .prefault({}),
    reject: z
      .record(z.string().regex(/^[1-5]\d\d$/, 'must be an HTTP status'), words(500))
      .describe('HTTP status → what the user is told.')
      .default({}),
    timeoutMs: z.int().min(100).max(30_000).default(8_000),
    recheckEverySec: z.int().min(60).optional(),
  })
  .meta({ id: 'probe', description: 'The request that checks a credential before it is stored.' });

export type ProbeConfig = z.output<typeof probe>;

const oauth2 = z
  .strictObject({
    authorizationUrl: webUrlSchema,
    tokenUrl: webUrlSchema,
    revocationUrl: webUrlSchema.optional(),
    issuer: webUrlSchema
      .describe('What the parameter iss of the answer has to be (RFC 9207), where the service sends it.')
      .optional(),
    clientId: staticValueSchema,
    clientSecret: staticValueSchema.optional(),
    clientAuth: z
      .enum(['client_secret_basic', 'client_secret_post', 'none', 'private_key_jwt'])
      .default('client_secret_basic'),
    scopes: z.array(words(200)).default([]),
    optionalScopes: z.array(words(200)).default([]),
    scopeSeparator: z.string().min(1).max(3).default(' '),
    pkce: z.boolean().default(true),
    extraAuthParams: z.record(words(100), z.string()).default({}),
    tokenPath: jsonPointerSchema.default('/access_token'),
    refresh: z.boolean().default(true),
  })
  .meta({ id: 'oauth2' });

export type OAuth2Config = z.output<typeof oauth2>;

const method = z
  .strictObject({
    id: z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, 'must be small letters, digits and -'),
    type: z.enum(['none', 'fields', 'oauth2', 'mcp-oauth']),
    label: words(100),
    help: words(1_000).optional(),
    helpUrl: webUrlSchema.optional(),
    recommended: z.boolean().default(false),
    fields: z.array(field).max(50).optional(),
    tokenField: fieldNameSchema.describe('The field that {{token}} of a $userToken stands for.').optional(),
    oauth2: oauth2.optional(),
    probe: probe.optional(),
  })
  .meta({ id: 'method', description: 'One way for a user to connect.' });

export type MethodConfig = z.output<typeof method>;

export const credentialsSchema = z
  .strictObject({
    scope: z.enum(['none', 'shared', 'per-user', 'per-user-optional']).default('per-user'),
    methods: z.array(method).min(1).max(10),
    multiple: z
      .boolean()
      .default(true)
      .describe('May one user hold several instances, told apart by labels (a second account)?'),
    maxPerUser: z.int().min(1).max(100).default(5),
  })
  .meta({ id: 'credentials' });

export type CredentialsConfig = z.output<typeof credentialsSchema>;

export const userOverridesSchema = z
  .strictObject({
    allow: z.boolean().default(false),
    keys: z.array(fieldNameSchema).max(50).default([]),
    fields: z.array(field).max(50).default([]),
    merge: z.enum(['user-wins', 'admin-wins']).default('user-wins'),
    allowTools: z.boolean().default(true),
  })
  .meta({ id: 'userOverrides', description: 'Settings that each user may make for their own instance.' });

export type OverridesConfig = z.output<typeof userOverridesSchema>;
