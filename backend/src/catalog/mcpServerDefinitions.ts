/** The upstreams that are MCP servers: as a child process, at a URL, in a container. Part of `ServiceDefinition`. */
import type { EgressPolicy, TemplatedMap, TemplatedValue } from './serviceDefinition.js';

export type Isolation = 'per-instance' | 'per-session' | 'shared';
export type ProtocolChoice = 'auto' | 'legacy' | 'modern';

export interface StdioDefinition {
  readonly command: string;
  readonly args: readonly TemplatedValue[];
  readonly env: TemplatedMap;
  /** Null: the instance's own directory. */
  readonly cwd: TemplatedValue | null;
  /** Names that the child gets from the service process's environment; nothing else passes. */
  readonly inheritEnv: readonly string[];
  /** What `command` belongs to; npm packages are installed ahead at exactly this version. */
  readonly package: PackageReference | null;
  readonly isolation: Isolation;
  readonly idleTimeoutMs: number;
  readonly startupTimeoutMs: number;
  readonly maxProcesses: number;
  readonly maxPerUser: number;
  /** Data that one process may hold. */
  readonly memoryBytes: number;
  /** Processes and threads that a child may have. */
  readonly tasksMax: number;
  readonly sandbox: SandboxPolicy;
  readonly protocol: ProtocolChoice;
}

/** How far a child is kept off the gateway, its siblings and the machine. */
export interface SandboxPolicy {
  /** `auto`: as far as this machine allows. `required`: no child without. `off`: the admin trusts the program. */
  readonly mode: 'auto' | 'required' | 'off';
  /** Absolute paths that it may read besides programs and packages. */
  readonly readPaths: readonly string[];
  readonly writePaths: readonly string[];
  readonly network: 'host' | 'none';
}

export interface PackageReference {
  readonly registryType: 'npm' | 'pypi' | 'oci' | 'nuget' | 'mcpb';
  readonly identifier: string;
  readonly version: string;
  readonly sha256: string | null;
}

export interface RemoteDefinition {
  readonly url: TemplatedValue;
  readonly headers: TemplatedMap;
  readonly auth: 'none' | 'headers' | 'mcp-oauth';
  readonly protocol: ProtocolChoice;
  readonly egress: EgressPolicy;
  readonly caFile: string | null;
  readonly session: 'per-client' | 'per-instance' | 'stateless';
  readonly fallbackSse: boolean;
}

export interface DockerDefinition {
  readonly image: string;
  readonly pull: 'never' | 'missing' | 'always';
  readonly command: readonly TemplatedValue[];
  readonly entrypoint: readonly string[] | null;
  readonly env: TemplatedMap;
  readonly transport: 'stdio' | 'streamable-http' | 'sse';
  readonly containerPort: number | null;
  readonly path: string;
  readonly user: string;
  readonly network: 'none' | 'egress' | 'bridge';
  readonly egress: EgressPolicy;
  readonly volumes: readonly {
    readonly source: TemplatedValue;
    readonly target: string;
    readonly readOnly: boolean;
  }[];
  readonly readOnlyRootfs: boolean;
  readonly capDrop: readonly string[];
  readonly securityOpt: readonly string[];
  readonly tmpfs: readonly string[];
  readonly memoryBytes: number;
  readonly cpus: number;
  readonly pidsLimit: number;
  readonly isolation: Isolation;
  readonly idleTimeoutMs: number;
  readonly startupTimeoutMs: number;
  readonly maxContainers: number;
}
