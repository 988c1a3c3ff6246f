/** From a config file that has the right form to the service that it describes, or to the reasons why it does not. */
import type { FoundProblem } from './configProblem.js';
import type { ServiceConfig } from './configSchema/configSchema.js';
import type { CredentialsConfig } from './configSchema/credentialSchemas.js';
import { createConfigReading, type ConfigReading, type ReferenceReader } from './configReading.js';
import type { ServiceAllocation } from './portsLock.js';
import type { HealthCheck, ServiceLimits } from './servicePolicies.js';
import { kindsWithUpstream, type EgressPolicy, type ServiceDefinition } from './serviceDefinition.js';
import { noCredentials, toCredentialPolicy, tokenFieldOf, toOverridePolicy } from './toCredentialPolicy.js';
import { toApiDefinition } from './toApiDefinition.js';
import { toDockerDefinition, toRemoteDefinition, toStdioDefinition } from './toUpstream.js';
import { checkUrl } from './urlChecks.js';

export interface ServiceReading {
  /** Disabled, with its reason, when there are problems. */
  readonly definition: ServiceDefinition;
  readonly problems: readonly FoundProblem[];
  readonly warnings: readonly FoundProblem[];
}

export interface ServiceSource {
  readonly file: string;
  readonly digest: string;
}

/** @param earlier problems that were found before the content was looked at, such as a port that is taken. */
export function toServiceDefinition(
  config: ServiceConfig,
  allocation: ServiceAllocation,
  source: ServiceSource,
  reader: ReferenceReader,
  earlier: readonly FoundProblem[] = [],
): ServiceReading {
  const credentials = config.credentials ?? noCredentials;
  const reading = createConfigReading(reader, {
    hasToken: hasToken(credentials),
    credential: knownNames(config, credentials),
    hasDataDir: hasDataDir(config),
    tokenOptional: credentials.scope === 'per-user-optional',
    needsReferences: config.enabled,
  });
  for (const problem of earlier) reading.refuse(problem.pointer, problem.message);

  const api = config.kind === 'api' ? toApiDefinition(config.api, source.file, reading) : null;
  const stdio = config.kind === 'stdio' ? toStdioDefinition(config.stdio, reading) : null;
  const remote =
    config.kind === 'sse' || config.kind === 'streamable-http'
      ? toRemoteDefinition(config.remote, reading)
      : null;
  const docker = config.kind === 'docker' ? toDockerDefinition(config.docker, reading) : null;
  const egress: EgressPolicy =
    config.kind === 'stdio'
      ? config.stdio.egress
      : (api?.egress ?? remote?.egress ?? docker?.egress ?? { allowHosts: [], allowPrivate: false });
  const inHeaders = namesInHeaders(config, credentials);

  const definition: ServiceDefinition = {
    name: config.name,
    title: config.title,
    description: config.description ?? null,
    version: config.version ?? null,
    category: config.category ?? null,
    tags: config.tags,
    icons: config.icons.map((icon) => ({
      src: icon.src,
      mimeType: icon.mimeType ?? null,
      sizes: icon.sizes,
      theme: icon.theme ?? null,
    })),
    websiteUrl: config.websiteUrl ?? null,
    kind: config.kind,
    port: allocation.port,
    instancePrefix: allocation.instancePrefix,
    enabled: false,
    disabledReason: null,
    visibility: config.visibility,
    access: config.access,
    credentials: toCredentialPolicy(
      credentials,
      {
        kind: config.kind,
        scope: credentials.scope,
        inHeaders,
        baseUrl: api?.baseUrl ?? null,
        remote,
        egress,
      },
      reading,
    ),
    adminConfig: reading.toTexts(config.adminConfig, '/adminConfig'),
    userOverrides: toOverridePolicy(config.userOverrides, { inHeaders, egress }, reading),
    api,
    stdio,
    remote,
    docker,
    toolPolicy: config.toolPolicy,
    limits: toLimits(config),
    health: toHealth(config, egress, reading),
    process: {
      ...config.process,
      env: Object.fromEntries(
        Object.entries(config.process.env).map(([name, value]) => [name, String(value)]),
      ),
    },
    audit: config.audit,
    references: reading.references(),
    source,
  };
  const disabledReason = whyDisabled(config, reading);
  return {
    definition: deepFreeze({ ...definition, enabled: disabledReason === null, disabledReason }),
    problems: reading.problems,
    warnings: reading.warnings,
  };
}

/** The words that a disabled service is shown with; they name files and pointers, never values. */
function whyDisabled(config: ServiceConfig, reading: ConfigReading): string | null {
  const [first] = reading.problems;
  if (reading.missing.length > 0) {
    return `It needs ${reading.missing.join(' and ')}, which this installation does not have.`;
  }
  if (first !== undefined)
    return `Its config.json has a problem at ${first.pointer || 'the top'}: it ${first.message}.`;
  if (!config.enabled) return 'It is switched off in its config.json.';
  return kindsWithUpstream.includes(config.kind)
    ? null
    : `Services of kind ${config.kind} cannot run in this release yet.`;
}

function hasToken(credentials: CredentialsConfig): boolean {
  return (
    credentials.scope !== 'none' &&
    credentials.methods.some(
      (method) => method.type === 'oauth2' || method.type === 'mcp-oauth' || tokenFieldOf(method) !== null,
    )
  );
}

function knownNames(config: ServiceConfig, credentials: CredentialsConfig): Set<string> {
  const fields =
    credentials.scope === 'none'
      ? []
      : credentials.methods.flatMap((method) => (method.fields ?? []).map((field) => field.name));
  return new Set([
    ...fields,
    ...(hasToken(credentials) ? ['token'] : []),
    ...config.userOverrides.keys,
    ...Object.keys(config.adminConfig),
  ]);
}

function hasDataDir(config: ServiceConfig): boolean {
  if (config.kind === 'stdio') return config.stdio.isolation !== 'shared';
  return config.kind === 'docker' && config.docker.isolation !== 'shared';
}

/** Fields, override keys and `{{token}}` whose value ends up in a header unencoded: their values are checked on entry. */
function namesInHeaders(config: ServiceConfig, credentials: CredentialsConfig): Set<string> {
  const maps: Readonly<Record<string, unknown>>[] = credentials.methods.map(
    (method) => method.probe?.request?.headers ?? {},
  );
  if (config.kind === 'api')
    maps.push(config.api.headers, ...config.api.tools.map((tool) => tool.request.headers));
  if (config.kind === 'sse' || config.kind === 'streamable-http') maps.push(config.remote.headers);
  const names = new Set<string>();
  for (const value of maps.flatMap((map) => Object.values(map))) {
    if (typeof value !== 'object' || value === null) continue;
    if ('$userToken' in value) names.add('{{token}}');
    if ('$credential' in value && !('encode' in value && value.encode !== 'none')) {
      for (const [, name = ''] of String(value.$credential).matchAll(/\{\{([^{}]*)\}\}/g)) {
        names.add(name === 'token' ? '{{token}}' : name).add(name);
      }
    }
  }
  return names;
}

function toLimits(config: ServiceConfig): ServiceLimits {
  const { limits } = config;
  return {
    requestsPerMinute: limits.requestsPerMinute,
    burst: limits.burst ?? Math.min(120, limits.requestsPerMinute),
    concurrency: limits.concurrency,
    perUserRequestsPerMinute: limits.perUserRequestsPerMinute ?? null,
    upstreamRequestsPerMinute: limits.upstreamRequestsPerMinute ?? null,
    timeoutMs: limits.timeoutMs ?? (config.kind === 'api' ? 30_000 : 60_000),
    maxRequestBytes: limits.maxRequestBytes,
    maxResponseBytes: limits.maxResponseBytes,
    dailyCalls: limits.dailyCalls ?? null,
  };
}

function toHealth(config: ServiceConfig, egress: EgressPolicy, reading: ConfigReading): HealthCheck {
  const { health } = config;
  const url = health.url === undefined ? null : reading.toText(health.url, '/health/url');
  if (url !== null) {
    const verdict = checkUrl(url, egress);
    if ('message' in verdict) reading.refuse('/health/url', verdict.message);
  }
  return {
    type: health.type,
    url,
    intervalMs: health.intervalSec * 1_000,
    timeoutMs: health.timeoutMs,
    failAfter: health.failAfter,
    okAfter: health.okAfter,
  };
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const member of Object.values(value)) deepFreeze(member);
  }
  return value;
}
