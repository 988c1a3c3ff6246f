/** What a service may do and how its process is kept: tools, limits, health, PM2, audit. Part of `ServiceDefinition`. */

export interface ToolPolicy {
  /** Globs (`*`, `?`) over the upstream's names. Empty `allow`: every tool. `deny` wins. */
  readonly allow: readonly string[];
  readonly deny: readonly string[];
  /** Only tools with `readOnlyHint: true`, unless `allow` names them without a wildcard. */
  readonly readOnlyDefault: boolean;
  /** Upstream name → name shown. */
  readonly rename: Readonly<Record<string, string>>;
  /** Upstream name → description shown. */
  readonly describe: Readonly<Record<string, string>>;
  /** Only tools whose definition is as it was first seen, or as an admin approved it. */
  readonly pinDescriptions: boolean;
  /** What becomes of a tool that appears after the first list of a pinned service. */
  readonly newTools: 'quarantine' | 'approve';
}

export interface ServiceLimits {
  /** Per instance: a bucket that fills at `requestsPerMinute` and holds `burst`. */
  readonly requestsPerMinute: number;
  readonly burst: number;
  /** Calls of one instance under way at once. */
  readonly concurrency: number;
  readonly perUserRequestsPerMinute: number | null;
  readonly upstreamRequestsPerMinute: number | null;
  /** Total deadline of a call. */
  readonly timeoutMs: number;
  readonly maxRequestBytes: number;
  readonly maxResponseBytes: number;
  /** Per instance. */
  readonly dailyCalls: number | null;
}

export interface HealthCheck {
  readonly type: 'http' | 'tcp' | 'mcp' | 'process' | 'none';
  readonly url: string | null;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly failAfter: number;
  readonly okAfter: number;
}

/** What PM2 is told about the process of this service. */
export interface ProcessLimits {
  readonly instances: number;
  /** In PM2's form: a number and K, M or G. */
  readonly maxMemoryRestart: string;
  readonly minUptimeMs: number;
  readonly maxRestarts: number;
  readonly expBackoffRestartDelayMs: number;
  /** More than the 25 s that a drain may take. */
  readonly killTimeoutMs: number;
  readonly nodeArgs: readonly string[];
  /** Literals only: PM2 keeps an app's environment on disk. */
  readonly env: Readonly<Record<string, string>>;
}

export interface AuditPolicy {
  readonly arguments: 'digest' | 'none' | 'keys' | 'redacted' | 'full';
  readonly results: 'none' | 'size' | 'full';
  readonly durability: 'spool' | 'fsync';
}
