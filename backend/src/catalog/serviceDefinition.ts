/**
 * What a `mcp-ports/<name>/config.json` means once it is loaded: complete (defaults applied), checked and frozen.
 * The generator, the registry and the universal servers read only this; nobody reads the file again. After loading, every
 * value is a plain string or a parsed template. All times are milliseconds, all sizes bytes.
 */
import type { DockerDefinition, RemoteDefinition, StdioDefinition } from './mcpServerDefinitions.js';
import type { OAuth2Settings } from './oauth2Settings.js';
import type {
  AuditPolicy,
  HealthCheck,
  ProcessLimits,
  ServiceLimits,
  ToolPolicy,
} from './servicePolicies.js';
import type { ArgumentTemplate, Template } from './template.js';

export const serviceKinds = ['api', 'stdio', 'sse', 'streamable-http', 'docker'] as const;
export type ServiceKind = (typeof serviceKinds)[number];

/** The kinds that have an upstream in this release; a service of another kind is shown as disabled, with that reason. */
export const kindsWithUpstream: readonly ServiceKind[] = ['api', 'stdio', 'sse', 'streamable-http'];

/** The types of credential methods that can be used in this release; another one is shown as unavailable. */
export const methodTypesInUse: readonly MethodType[] = ['none', 'fields', 'oauth2', 'mcp-oauth'];

/** A literal, or a template that is rendered for each use. */
export type TemplatedValue = string | Template;
/** By header name, environment name or query parameter, in the order of the file. */
export type TemplatedMap = Readonly<Record<string, TemplatedValue>>;

/** A JSON body: literals, rendered values and the call's arguments in their places. */
export type BodyTemplate =
  | null
  | boolean
  | number
  | string
  | Template
  | { readonly kind: 'argument'; readonly name: string }
  | { readonly kind: 'array'; readonly items: readonly BodyTemplate[] }
  | { readonly kind: 'object'; readonly members: readonly (readonly [string, BodyTemplate])[] };

export interface ServiceDefinition {
  readonly name: string;
  readonly title: string;
  readonly description: string | null;
  readonly version: string | null;
  readonly category: string | null;
  readonly tags: readonly string[];
  readonly icons: readonly ServiceIcon[];
  readonly websiteUrl: string | null;
  readonly kind: ServiceKind;
  /** As allocated, without `SERVICE_PORT_OFFSET`. */
  readonly port: number;
  /** What the instance ids of this service begin with; it never changes. */
  readonly instancePrefix: string;
  readonly enabled: boolean;
  /** Why it is not enabled, in words for an admin; null when it is. */
  readonly disabledReason: string | null;
  /** Who sees it; empty lists mean everybody. */
  readonly visibility: { readonly roles: readonly string[]; readonly groups: readonly string[] };
  readonly access: { readonly minimumMode: 'url' | 'url+token' };
  readonly credentials: CredentialPolicy;
  /** The admin's values for override keys. */
  readonly adminConfig: Readonly<Record<string, string>>;
  readonly userOverrides: OverridePolicy;
  /** Exactly the one of its kind is set; `remote` serves both `sse` and `streamable-http`. */
  readonly api: ApiDefinition | null;
  readonly stdio: StdioDefinition | null;
  readonly remote: RemoteDefinition | null;
  readonly docker: DockerDefinition | null;
  readonly toolPolicy: ToolPolicy;
  readonly limits: ServiceLimits;
  readonly health: HealthCheck;
  readonly process: ProcessLimits;
  readonly audit: AuditPolicy;
  /** What it takes from this installation when it is loaded. */
  readonly references: ServiceReferences;
  readonly source: {
    /** The file that it was read from. */
    readonly file: string;
    /** SHA-256 of the file's bytes, hex: equal digests, equal configuration. */
    readonly digest: string;
  };
}

export interface ServiceReferences {
  /** Variables that `{"$env"}` names; a service without its required ones is disabled. */
  readonly env: readonly { readonly name: string; readonly required: boolean }[];
  /** Paths that `{"$file"}` names. */
  readonly files: readonly string[];
}

export interface ServiceIcon {
  readonly src: string;
  readonly mimeType: string | null;
  readonly sizes: readonly string[];
  readonly theme: 'light' | 'dark' | null;
}

// ── Credentials ─────────────────────────────────────────────────────────────────────────────────────────────────

export type CredentialScope = 'none' | 'shared' | 'per-user' | 'per-user-optional';
export type MethodType = 'none' | 'fields' | 'oauth2' | 'mcp-oauth';

export interface CredentialPolicy {
  readonly scope: CredentialScope;
  /** At least one. */
  readonly methods: readonly CredentialMethod[];
  /** Whether one user may hold several instances, told apart by labels, and how many. */
  readonly multiple: boolean;
  readonly maxPerUser: number;
}

export interface CredentialMethod {
  readonly id: string;
  readonly type: MethodType;
  readonly label: string;
  readonly help: string | null;
  readonly helpUrl: string | null;
  readonly recommended: boolean;
  /** Why it cannot be used here (its type comes later, its client id is not set); null when it can. */
  readonly unavailableReason: string | null;
  /** The form; empty except for type `fields`. */
  readonly fields: readonly InputField[];
  /** The field that `{{token}}` of a `$userToken` stands for. */
  readonly tokenField: string | null;
  readonly oauth2: OAuth2Settings | null;
  readonly probe: CredentialProbe;
}

export type FieldType =
  'string' | 'secret' | 'text' | 'number' | 'boolean' | 'enum' | 'url' | 'email' | 'json';

/** One field of a form that the console draws; for credentials and for overrides alike. */
export interface InputField {
  readonly name: string;
  readonly label: string;
  readonly description: string | null;
  readonly placeholder: string | null;
  readonly helpUrl: string | null;
  readonly type: FieldType;
  readonly secret: boolean;
  readonly required: boolean;
  readonly default: string | null;
  readonly enum: readonly { readonly value: string; readonly label: string }[];
  /** ECMAScript source, matched with the `u` flag. */
  readonly pattern: string | null;
  readonly minLength: number;
  readonly maxLength: number;
  readonly minimum: number | null;
  readonly maximum: number | null;
  readonly group: string | null;
  /** Field name → value that it must have for this field to apply; empty: always. */
  readonly showIf: Readonly<Record<string, string>>;
  /** Its value goes into an HTTP header as it is, so that CR, LF and what is not latin1 are refused on entry. */
  readonly headerSafe: boolean;
  /** For type `url`: it may lead to this machine or its network, since the service's file allows that. */
  readonly allowPrivate: boolean;
}

/** The request that tells whether a credential works, before it is stored. */
export type CredentialProbe =
  | { readonly type: 'none' }
  | { readonly type: 'mcp'; readonly timeoutMs: number; readonly recheckEveryMs: number | null }
  | HttpProbe;

export interface HttpProbe {
  readonly type: 'http';
  readonly request: {
    readonly method: 'GET' | 'POST' | 'HEAD';
    readonly url: TemplatedValue;
    readonly headers: TemplatedMap;
    readonly body: BodyTemplate | undefined;
  };
  readonly expect: {
    /** Statuses that mean accepted. */
    readonly status: readonly number[];
    /** A place in the answer that must equal `equals` (Slack's `ok: true`); null: not looked at. */
    readonly jsonPointer: string | null;
    readonly equals: unknown;
  };
  /** JSON pointers into the answer, for "Connected as …". */
  readonly identity: {
    readonly id: string | null;
    readonly label: string | null;
    readonly avatarUrl: string | null;
    readonly scopesHeader: string | null;
  };
  readonly egress: EgressPolicy;
  /** Status → plain words for the user. */
  readonly reject: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly recheckEveryMs: number | null;
}

export interface OverridePolicy {
  readonly allow: boolean;
  readonly keys: readonly string[];
  /** One for each key. */
  readonly fields: readonly InputField[];
  readonly merge: 'user-wins' | 'admin-wins';
  readonly allowTools: boolean;
}

// ── Upstreams ───────────────────────────────────────────────────────────────────────────────────────────────────

export interface EgressPolicy {
  /** Host names (lower case, `*.` at the front allowed): what the file lists, and the hosts of its own fixed URLs. */
  readonly allowHosts: readonly string[];
  readonly allowPrivate: boolean;
}

export interface ApiDefinition {
  readonly baseUrl: TemplatedValue;
  readonly headers: TemplatedMap;
  readonly query: TemplatedMap;
  readonly egress: EgressPolicy;
  readonly openapi: OpenApiImport | null;
  readonly tools: readonly ApiTool[];
  readonly pagination: {
    readonly style: 'none' | 'cursor' | 'page' | 'link-header';
    readonly cursorParam: string | null;
    readonly cursorPath: string | null;
    readonly maxPages: number;
  };
  readonly retry: {
    /** Tries in all, the first included. Only for GET and for tools marked idempotent or read-only. */
    readonly attempts: number;
    readonly on: readonly number[];
    readonly respectRetryAfter: boolean;
  };
  readonly response: {
    readonly maxBytes: number;
    readonly pick: string | null;
    readonly errorPath: string | null;
  };
  /** Connections of the pool to this service. */
  readonly connections: number;
}

export type OpenApiSource =
  /** A file below the state directory that Portolan itself generates. */
  | { readonly type: 'state'; readonly path: string }
  /** An absolute path inside the service's own folder. */
  | { readonly type: 'file'; readonly path: string }
  | { readonly type: 'url'; readonly url: string };

export interface OpenApiImport {
  readonly source: OpenApiSource;
  readonly sha256: string | null;
  /** Empty: every operation. */
  readonly include: readonly OperationSelector[];
  readonly exclude: readonly OperationSelector[];
  /** operationId → tool name. */
  readonly rename: Readonly<Record<string, string>>;
  readonly maxTools: number;
}

/** Every given member must fit. `path` is a glob in which `*` stands for one segment and `**` for any number. */
export interface OperationSelector {
  readonly operationId: string | null;
  readonly tag: string | null;
  readonly path: string | null;
  readonly methods: readonly string[];
}

export type HttpMethod = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface ApiTool {
  readonly name: string;
  readonly title: string | null;
  readonly description: string;
  readonly inputSchema: Readonly<Record<string, unknown>>;
  readonly outputSchema: Readonly<Record<string, unknown>> | null;
  readonly annotations: Readonly<Record<string, boolean>>;
  readonly request: {
    readonly method: HttpMethod;
    /** Each argument becomes one encoded path segment or a part of one. */
    readonly path: ArgumentTemplate;
    /** A parameter whose arguments are all absent is left out. */
    readonly query: Readonly<Record<string, ArgumentTemplate>>;
    readonly headers: TemplatedMap;
    readonly body: BodyTemplate | undefined;
    /** `args`: all arguments are the body; `rest`: those that path and query did not take. */
    readonly bodyFrom: 'args' | 'rest' | null;
    readonly contentType: 'application/json' | 'application/x-www-form-urlencoded';
  };
  readonly response: {
    readonly pick: string | null;
    readonly maxBytes: number | null;
    readonly format: 'json' | 'text' | 'image';
    /** JSON pointer that must be true (a 200 with `ok: false` is an error). */
    readonly okPath: string | null;
    readonly errorPath: string | null;
  };
  readonly scopes: readonly string[];
  readonly timeoutMs: number | null;
  /** How long an answer may be given again to the same user for the same arguments; 0: never. */
  readonly cacheTtlMs: number;
}
