/** How users connect: the credential methods, their forms and their probes, complete. */
import type {
  CredentialsConfig,
  MethodConfig,
  OverridesConfig,
  ProbeConfig,
} from './configSchema/credentialSchemas.js';
import type { ConfigReading } from './configReading.js';
import {
  methodTypesInUse,
  type CredentialMethod,
  type CredentialPolicy,
  type CredentialProbe,
  type EgressPolicy,
  type OverridePolicy,
  type TemplatedValue,
} from './serviceDefinition.js';
import type { RemoteDefinition } from './mcpServerDefinitions.js';
import { isSecretField, refuseRepeated, toFields, toPlainField, type FieldUses } from './toInputFields.js';
import { toTemplatedUrl } from './templatedUrl.js';
import { toOAuth2, whyNoSignIn } from './toOAuth2.js';

/** A service without `credentials` asks for none. */
export const noCredentials: CredentialsConfig = {
  scope: 'none',
  methods: [{ id: 'none', type: 'none', label: 'No account needed', recommended: false }],
  multiple: true,
  maxPerUser: 5,
};

interface Surroundings extends FieldUses {
  readonly kind: string;
  readonly scope: CredentialsConfig['scope'];
  /** The MCP server of kinds `sse` and `streamable-http`. */
  readonly remote: Pick<RemoteDefinition, 'url'> | null;
  /** `api.baseUrl`, that a probe's `path` is appended to. */
  readonly baseUrl: TemplatedValue | null;
  readonly egress: EgressPolicy;
}

export function toCredentialPolicy(
  config: CredentialsConfig,
  around: Surroundings,
  reading: ConfigReading,
): CredentialPolicy {
  refuseRepeated(
    config.methods.map((method) => method.id),
    '/credentials/methods',
    'id',
    reading,
  );
  return {
    scope: config.scope,
    multiple: config.multiple,
    maxPerUser: config.maxPerUser,
    methods: config.methods.map((method, index) =>
      toMethod(method, `/credentials/methods/${index}`, around, reading),
    ),
  };
}

/** The field that `{{token}}` stands for: as declared, else one named `token`, else the only secret one. */
export function tokenFieldOf(method: MethodConfig): string | null {
  const fields = method.fields ?? [];
  if (method.tokenField !== undefined) return method.tokenField;
  if (fields.some((field) => field.name === 'token')) return 'token';
  const secrets = fields.filter(isSecretField);
  return secrets.length === 1 ? (secrets[0]?.name ?? null) : null;
}

export function toOverridePolicy(
  config: OverridesConfig,
  uses: FieldUses,
  reading: ConfigReading,
): OverridePolicy {
  refuseRepeated(config.keys, '/userOverrides/keys', null, reading);
  config.fields.forEach((field, index) => {
    if (!config.keys.includes(field.name)) {
      reading.refuse(`/userOverrides/fields/${index}/name`, 'is not among userOverrides.keys');
    }
  });
  const declared = toFields(config.fields, '/userOverrides/fields', uses, reading);
  return {
    allow: config.allow,
    keys: config.keys,
    fields: config.keys.map(
      (key) => declared.find((field) => field.name === key) ?? toPlainField(key, uses.inHeaders.has(key)),
    ),
    merge: config.merge,
    allowTools: config.allowTools,
  };
}

function toMethod(
  method: MethodConfig,
  pointer: string,
  around: Surroundings,
  reading: ConfigReading,
): CredentialMethod {
  const fields = method.fields ?? [];
  if (method.type === 'fields' && fields.length === 0)
    reading.refuse(pointer, 'needs fields for type fields');
  if (method.type !== 'fields' && fields.length > 0)
    reading.refuse(`${pointer}/fields`, 'belong to type fields');
  if ((method.type === 'oauth2') !== (method.oauth2 !== undefined)) {
    reading.refuse(pointer, 'has type oauth2 if, and only if, it has oauth2');
  }
  if (method.tokenField !== undefined && !fields.some((field) => field.name === method.tokenField)) {
    reading.refuse(`${pointer}/tokenField`, 'names no field of this method');
  }
  if (method.type === 'mcp-oauth' && around.remote === null) {
    reading.refuse(pointer, 'has type mcp-oauth, which belongs to kinds sse and streamable-http');
  }
  const oauth2 =
    method.oauth2 === undefined ? null : toOAuth2(method.oauth2, `${pointer}/oauth2`, around.egress, reading);
  const tokenField = method.type === 'fields' ? tokenFieldOf(method) : null;
  const inHeaders = new Set(around.inHeaders);
  if (tokenField !== null && inHeaders.has('{{token}}')) inHeaders.add(tokenField);
  return {
    id: method.id,
    type: method.type,
    label: method.label,
    help: method.help ?? null,
    helpUrl: method.helpUrl ?? null,
    recommended: method.recommended,
    unavailableReason: methodTypesInUse.includes(method.type)
      ? whyNoSignIn(method.type, oauth2, around)
      : 'This way to connect comes with a later release.',
    fields: toFields(fields, `${pointer}/fields`, { inHeaders, egress: around.egress }, reading),
    tokenField,
    oauth2,
    probe: toProbe(method.probe, `${pointer}/probe`, around, reading),
  };
}

function toProbe(
  probe: ProbeConfig | undefined,
  pointer: string,
  around: Surroundings,
  reading: ConfigReading,
): CredentialProbe {
  const type = probe?.type ?? (probe?.request === undefined ? undefined : 'http');
  const timeoutMs = probe?.timeoutMs ?? 8_000;
  const recheckEveryMs = probe?.recheckEverySec === undefined ? null : probe.recheckEverySec * 1_000;
  if (type === 'none') return { type: 'none' };
  if (type === undefined || type === 'mcp') {
    if (around.kind !== 'api') return { type: 'mcp', timeoutMs, recheckEveryMs };
    if (type === 'mcp') reading.refuse(`${pointer}/type`, 'cannot be mcp for kind api');
    return { type: 'none' };
  }
  const request = probe?.request;
  if (probe === undefined || request === undefined) {
    reading.refuse(pointer, 'needs a request for type http');
    return { type: 'none' };
  }
  const at = `${pointer}/request`;
  const url =
    request.path === undefined
      ? toTemplatedUrl(request.url ?? '', `${at}/url`, around.egress, reading)
      : appendPath(around.baseUrl, request.path, `${at}/path`, reading);
  return {
    type: 'http',
    request: {
      method: request.method,
      url: url.value,
      headers: reading.toMap(request.headers, `${at}/headers`, 'header'),
      body: request.body === undefined ? undefined : reading.toBody(request.body, `${at}/body`, new Set()),
    },
    expect: {
      status: probe.expect.status,
      jsonPointer: probe.expect.jsonPointer ?? null,
      equals: probe.expect.equals ?? true,
    },
    identity: {
      id: probe.identity.id ?? null,
      label: probe.identity.label ?? null,
      avatarUrl: probe.identity.avatarUrl ?? null,
      scopesHeader: probe.identity.scopesHeader ?? null,
    },
    egress: {
      allowHosts: [...new Set([...around.egress.allowHosts, ...url.hosts])],
      allowPrivate: around.egress.allowPrivate,
    },
    reject: probe.reject,
    timeoutMs,
    recheckEveryMs,
  };
}

function appendPath(
  baseUrl: TemplatedValue | null,
  path: string,
  pointer: string,
  reading: ConfigReading,
): { readonly value: TemplatedValue; readonly hosts: readonly string[] } {
  if (baseUrl === null) {
    reading.refuse(pointer, 'needs api.baseUrl; give a url instead');
    return { value: '', hosts: [] };
  }
  const value =
    typeof baseUrl === 'string'
      ? baseUrl + path
      : { ...baseUrl, parts: [...baseUrl.parts, { literal: path }] };
  return { value, hosts: [] };
}
