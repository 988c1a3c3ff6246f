/**
 * The apps that follow from the registry, in PM2's words: what `ecosystem.config.js` holds. What depends on the machine
 * (state dir, ports offset, accounts, the embedded PostgreSQL) is added by `scripts/ecosystem.cjs` when it is loaded.
 */
import { isSecretName } from './envNames.js';
import type { ProcessLimits } from './servicePolicies.js';
import type { ServiceDefinition } from './serviceDefinition.js';

/** What `scripts/ecosystem.cjs` has to know of an app; it is not handed on to PM2. */
export interface AppNeeds {
  readonly role: 'api' | 'front' | 'service' | 'monitor';
  /** Variables of services that are handed on from the environment PM2 is called in; never secret ones. */
  readonly env: readonly string[];
  /** Without one of these, in the environment or in `<state>/service-env`, the app is left out. */
  readonly required: readonly string[];
  /** Without one of these files the app is left out. */
  readonly files: readonly string[];
}

export interface Pm2App {
  readonly name: string;
  /** From the project root. */
  readonly script: string;
  readonly exec_mode: 'cluster' | 'fork';
  readonly instances?: number;
  readonly wait_ready: true;
  readonly listen_timeout: number;
  readonly kill_timeout: number;
  readonly exp_backoff_restart_delay: number;
  readonly max_memory_restart: string;
  readonly min_uptime: string | number;
  readonly max_restarts: number;
  readonly node_args: readonly string[];
  /** PM2's own instrumentation, which nothing here uses: 11 MiB and 90 ms of each process. */
  readonly pmx: false;
  /** Maps are read for every module at its load; a stack of the compiled file names the same functions. */
  readonly disable_source_map_support: true;
  readonly env: Readonly<Record<string, string>>;
  readonly portolan: AppNeeds;
}

/** Of the programs that are not services. */
const ownLimits: ProcessLimits = {
  instances: 1,
  maxMemoryRestart: '500M',
  minUptimeMs: 10_000,
  maxRestarts: 5,
  expBackoffRestartDelayMs: 200,
  killTimeoutMs: 30_000,
  nodeArgs: [],
  env: {},
};

/** Until an app says that it is ready; PM2 counts it as started after that all the same. */
const listenTimeoutMs = 15_000;

/** @param services those that run; in any order. */
export function toPm2Apps(services: readonly ServiceDefinition[]): Pm2App[] {
  const sorted = services.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const own = (name: string, role: AppNeeds['role'], mode: Pm2App['exec_mode']): Pm2App =>
    toApp(name, `dist/backend/src/${name}/main.js`, mode, ownLimits, {}, toNeeds(role, sorted, false));

  return [
    own('main-api', 'api', 'cluster'),
    own('front', 'front', 'cluster'),
    ...sorted.map((service) =>
      toApp(
        `mcp-${service.name}`,
        'dist/backend/src/mcp-servers/universal-mcp-server/main.js',
        'cluster',
        service.process,
        { MCP_TYPE: service.name, PORT: String(service.port), SERVICE_MODE: 'shared' },
        toNeeds('service', [service], true),
      ),
    ),
    own('health-monitor', 'monitor', 'fork'),
  ];
}

/** @param gates whether the app cannot run without what the services need. */
function toNeeds(role: AppNeeds['role'], services: readonly ServiceDefinition[], gates: boolean): AppNeeds {
  const env = services.flatMap((service) => service.references.env);
  return {
    role,
    env: toNames(env.filter(({ name }) => !isSecretName(name))),
    required: gates ? toNames(env.filter(({ required }) => required)) : [],
    files: gates ? [...new Set(services.flatMap((service) => service.references.files))].toSorted() : [],
  };
}

function toNames(references: readonly { readonly name: string }[]): string[] {
  return [...new Set(references.map(({ name }) => name))].toSorted();
}

function toApp(
  name: string,
  script: string,
  mode: Pm2App['exec_mode'],
  limits: ProcessLimits,
  env: Readonly<Record<string, string>>,
  portolan: AppNeeds,
): Pm2App {
  return {
    name,
    script,
    exec_mode: mode,
    // Cluster mode lets PM2 start the new process before it stops the old one, so that a reload loses no call.
    ...(mode === 'cluster' ? { instances: limits.instances } : {}),
    wait_ready: true,
    listen_timeout: listenTimeoutMs,
    kill_timeout: limits.killTimeoutMs,
    exp_backoff_restart_delay: limits.expBackoffRestartDelayMs,
    max_memory_restart: limits.maxMemoryRestart,
    min_uptime: limits.minUptimeMs % 1_000 === 0 ? `${limits.minUptimeMs / 1_000}s` : limits.minUptimeMs,
    max_restarts: limits.maxRestarts,
    node_args: limits.nodeArgs,
    pmx: false,
    disable_source_map_support: true,
    env: { ...env, ...limits.env },
    portolan,
  };
}
