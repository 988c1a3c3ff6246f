/** The upstreams that are MCP servers: as a child process, at a URL, in a container. */
import { posix } from 'node:path';
import type { StdioConfig } from './configSchema/stdioSchema.js';
import type { DockerConfig, RemoteConfig } from './configSchema/upstreamSchemas.js';
import type { Value } from './configSchema/valueSchemas.js';
import type { ConfigReading } from './configReading.js';
import { toPointer } from './configText.js';
import { isOwnSecretName, isSecretName } from './envNames.js';
import type {
  DockerDefinition,
  RemoteDefinition,
  SandboxPolicy,
  StdioDefinition,
} from './mcpServerDefinitions.js';
import type { TemplatedMap, TemplatedValue } from './serviceDefinition.js';
import { toTemplatedUrl, withHosts } from './templatedUrl.js';

export function toStdioDefinition(stdio: StdioConfig, reading: ConfigReading): StdioDefinition {
  stdio.inheritEnv.forEach((name, index) => {
    if (
      isOwnSecretName(name) ||
      isSecretName(name) ||
      /^(?:LD_|DYLD_|NODE_OPTIONS$|PORTOLAN_|PM2_|pm_)/.test(name)
    ) {
      reading.refuse(`/stdio/inheritEnv/${index}`, 'must not be inherited; pass what is needed through env');
    }
  });
  if (/^(?:npx|uvx|bunx|pnpx)$/.test(stdio.command)) {
    reading.warn(
      '/stdio/command',
      'runs the server through a package runner, which costs time and memory for each child; name the command of the package itself',
    );
  }
  const env = reading.toMap(stdio.env, '/stdio/env', 'environment');
  const args = reading.toList(stdio.args, '/stdio/args', 'argument');
  warnOfSecretArguments(stdio.args, '/stdio/args', reading);
  refuseSharedTemplates(stdio.isolation, [args, Object.values(env)], '/stdio/isolation', reading);
  return {
    command: stdio.command,
    args,
    env,
    cwd: stdio.cwd === undefined ? null : reading.toValue(stdio.cwd, '/stdio/cwd', 'argument'),
    inheritEnv: stdio.inheritEnv,
    package: stdio.package === undefined ? null : { ...stdio.package, sha256: stdio.package.sha256 ?? null },
    isolation: stdio.isolation,
    idleTimeoutMs: stdio.idleTimeoutSec * 1_000,
    startupTimeoutMs: stdio.startupTimeoutMs,
    maxProcesses: stdio.maxProcesses,
    maxPerUser: stdio.maxPerUser,
    memoryBytes: toBytes(stdio.memory),
    tasksMax: stdio.tasksMax,
    sandbox: toSandboxPolicy(stdio.sandbox, reading),
    protocol: stdio.protocol,
  };
}

function toSandboxPolicy(sandbox: StdioConfig['sandbox'], reading: ConfigReading): SandboxPolicy {
  for (const name of ['readPaths', 'writePaths'] as const) {
    sandbox[name].forEach((path, index) => {
      if (/^\/(?:(?:proc|sys|dev)(?:\/|$)|$)/.test(posix.normalize(path)))
        reading.refuse(
          `/stdio/sandbox/${name}/${index}`,
          'would show the child the whole machine; name the directories that it needs',
        );
    });
  }
  if (sandbox.mode === 'off') {
    reading.warn(
      '/stdio/sandbox/mode',
      'lets the program read what the gateway itself can read; do that only for a program that you trust like Portolan',
    );
    if (sandbox.network === 'none')
      reading.refuse('/stdio/sandbox/network', 'cannot be kept from a child without a sandbox');
  }
  return sandbox;
}

export function toRemoteDefinition(remote: RemoteConfig, reading: ConfigReading): RemoteDefinition {
  const url = toTemplatedUrl(remote.url, '/remote/url', remote.egress, reading);
  return {
    url: url.value,
    headers: reading.toMap(remote.headers, '/remote/headers', 'header'),
    auth: remote.auth,
    protocol: remote.protocol,
    egress: withHosts(remote.egress, url.hosts),
    caFile: remote.tls.caFile ?? null,
    session: remote.session,
    fallbackSse: remote.fallbackSse,
  };
}

export function toDockerDefinition(docker: DockerConfig, reading: ConfigReading): DockerDefinition {
  const command = reading.toList(docker.command, '/docker/command', 'argument');
  const env: TemplatedMap = reading.toMap(docker.env, '/docker/env', 'environment');
  warnOfSecretArguments(docker.command, '/docker/command', reading);
  refuseSharedTemplates(docker.isolation, [command, Object.values(env)], '/docker/isolation', reading);
  return {
    image: docker.image,
    pull: docker.pull,
    command,
    entrypoint: docker.entrypoint ?? null,
    env,
    transport: docker.transport,
    containerPort: docker.containerPort ?? null,
    path: docker.path,
    user: docker.user,
    network: docker.network,
    egress: docker.egress,
    volumes: docker.volumes.map((volume, index) => ({
      source: reading.toValue(volume.source, `/docker/volumes/${index}/source`, 'argument') ?? '',
      target: volume.target,
      readOnly: volume.readOnly,
    })),
    readOnlyRootfs: docker.readOnlyRootfs,
    capDrop: docker.capDrop,
    securityOpt: docker.securityOpt,
    tmpfs: docker.tmpfs,
    memoryBytes: toBytes(docker.memory),
    cpus: docker.cpus,
    pidsLimit: docker.pidsLimit,
    isolation: docker.isolation,
    idleTimeoutMs: docker.idleTimeoutSec * 1_000,
    startupTimeoutMs: docker.startupTimeoutMs,
    maxContainers: docker.maxContainers,
  };
}

/** Arguments are readable by every user of the machine (`ps`). */
function warnOfSecretArguments(values: readonly Value[], pointer: string, reading: ConfigReading): void {
  values.forEach((value, index) => {
    if (typeof value === 'object' && !('$instance' in value)) {
      reading.warn(
        toPointer(pointer, index),
        'puts a value that may be secret among the arguments, which every user of this machine can read; use env if the program allows it',
      );
    }
  });
}

/** One process for all users cannot hold what belongs to one of them. */
function refuseSharedTemplates(
  isolation: StdioDefinition['isolation'],
  values: readonly (readonly TemplatedValue[])[],
  pointer: string,
  reading: ConfigReading,
): void {
  if (isolation === 'shared' && values.flat().some((value) => typeof value !== 'string')) {
    reading.refuse(pointer, 'cannot be shared: env or args take values that belong to one user');
  }
}

/** `512m`, `2g`: the schema lets nothing else pass. */
function toBytes(size: string): number {
  return Number.parseInt(size, 10) * (size.endsWith('g') ? 1_073_741_824 : 1_048_576);
}
