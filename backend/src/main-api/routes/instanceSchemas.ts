/** The shapes in which instances, credentials and services go over the wire; the OpenAPI document shows them too. */
import { z } from 'zod';
import { serviceKinds } from '../../catalog/serviceDefinition.js';

export const serviceParams = z.object({
  serviceType: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,63}$/, 'must be the name of a service')
    .describe('Name of the service, as in the catalog.'),
});

/** Control characters have no place in a name, and NUL none in the database. */
export const label = z
  .string()
  .trim()
  .min(1)
  .max(64)
  .regex(/^\P{Cc}*$/u, 'must not contain control characters')
  .describe('Tells several instances of one service apart; `default` when it is left out.');

export const labelQuery = z.object({ label: label.optional() });
/** For actions that take nothing else; an empty body will do. */
export const labelBody = z.strictObject({ label: label.optional() }).optional();

const time = z.iso.datetime().nullable();
const secretText = z.string().max(16_384);

export const credentialBody = z.strictObject({
  apiKey: secretText.optional().describe("Fills the token field of the service's recommended method."),
  additionalCredentials: z
    .record(z.string().max(64), z.union([secretText, z.number(), z.boolean()]))
    .optional()
    .describe('The other fields by name, as the catalog lists them.'),
  method: z.string().max(64).optional().describe('Id of a credential method, when it is not the usual one.'),
  label: label.optional(),
});

export const instanceStates = z.enum([
  'not_configured',
  'checking',
  'ready',
  'needs_reauth',
  'rejected_by_service',
  'unreachable',
  'paused',
]);

export const instanceView = z.object({
  id: z.uuid().describe('Names the instance everywhere but in its URL.'),
  serviceType: z.string(),
  label: z.string(),
  isActive: z.boolean(),
  state: z.enum([...instanceStates.options, 'expired']),
  stateCause: z.string().nullable(),
  nextAction: z.string().nullable(),
  identity: z.string().nullable().describe('Who the service says the credential belongs to.'),
  credentialMethod: z.string().nullable(),
  accessMode: z
    .enum(['url', 'url+token', 'oauth'])
    .describe("What a caller needs: the URL, or an access key as well; with the admin's minimum."),
  allowedCidrs: z
    .array(z.string())
    .readonly()
    .describe('Addresses and blocks that it may be used from; empty: from anywhere.'),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
  lastUsedAt: time,
  lastCheckedAt: time,
  lastSuccessAt: time,
  expiresAt: time,
  previousUrlExpiresAt: time,
});

export const revealedUrl = z.object({
  instanceId: z.string().describe('The secret part of the URL: whoever has it has the instance.'),
  instanceUrl: z.url(),
});

const urlPart = z.object({
  instanceId: z.string().nullable(),
  instanceUrl: z.string().nullable().describe('Null unless the sign-in is at most 15 minutes old.'),
  reveal: z.string().optional().describe('How to see the URL, when it is not shown.'),
});
export const shownInstance = instanceView.extend(urlPart.shape);

export const authenticated = instanceView.extend(urlPart.shape).extend({ message: z.string() });

const inputField = z.object({
  name: z.string(),
  label: z.string(),
  description: z.string().nullable(),
  placeholder: z.string().nullable(),
  helpUrl: z.string().nullable(),
  type: z.enum(['string', 'secret', 'text', 'number', 'boolean', 'enum', 'url', 'email', 'json']),
  secret: z.boolean(),
  required: z.boolean(),
  default: z.string().nullable(),
  enum: z.array(z.object({ value: z.string(), label: z.string() })).readonly(),
  pattern: z.string().nullable(),
  minLength: z.number(),
  maxLength: z.number(),
  minimum: z.number().nullable(),
  maximum: z.number().nullable(),
  group: z.string().nullable(),
  showIf: z.record(z.string(), z.string()),
});
export const inputFields = z.array(inputField).readonly();

export const serviceStatus = z.object({
  isHealthy: z.boolean(),
  lastCheck: time,
  responseTimeMs: z.number().nullable(),
  error: z.string().nullable(),
  failures: z.int(),
  state: z.enum(['PENDING', 'CREATING', 'STARTING', 'RUNNING', 'STOPPING', 'STOPPED', 'FAILED']).nullable(),
  since: time,
  isAvailable: z.boolean().describe('Known, enabled and healthy.'),
});

export const publicService = z.object({
  id: z.string(),
  name: z.string(),
  title: z.string(),
  description: z.string().nullable(),
  version: z.string().nullable(),
  category: z.string().nullable(),
  tags: z.array(z.string()).readonly(),
  icons: z
    .array(
      z.object({
        src: z.string(),
        mimeType: z.string().nullable(),
        sizes: z.array(z.string()).readonly(),
        theme: z.enum(['light', 'dark']).nullable(),
      }),
    )
    .readonly(),
  websiteUrl: z.string().nullable(),
  kind: z.enum(serviceKinds),
  enabled: z.boolean(),
  disabledReason: z.string().nullable(),
  credentials: z.object({
    scope: z.enum(['none', 'shared', 'per-user', 'per-user-optional']),
    multiple: z.boolean(),
    maxPerUser: z.int(),
    methods: z
      .array(
        z.object({
          id: z.string(),
          type: z.enum(['none', 'fields', 'oauth2', 'mcp-oauth']),
          label: z.string(),
          help: z.string().nullable(),
          helpUrl: z.string().nullable(),
          recommended: z.boolean(),
          unavailableReason: z.string().nullable(),
          fields: inputFields,
        }),
      )
      .readonly(),
  }),
  userOverrides: z.object({ allow: z.boolean(), fields: inputFields }),
  toolCount: z.int().nullable().describe('As far as it is known.'),
  health: serviceStatus,
});

/** Numbers and booleans of JSON as the form's text. */
export function toTexts(
  values: Readonly<Record<string, string | number | boolean>> | undefined,
): Record<string, string> {
  return Object.fromEntries(Object.entries(values ?? {}).map(([name, value]) => [name, String(value)]));
}

/** An answer that holds an instance URL is kept by nobody on its way. */
export const noStore = { 'cache-control': 'no-store' } as const;
