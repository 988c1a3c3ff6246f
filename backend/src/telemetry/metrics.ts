/**
 * The metrics of each kind of program, one registry a process. Labels are services, states and other closed sets, never
 * a user, an instance, a version or a transport, so a scrape stays under 2,000 series whatever happens. A metric that
 * several kinds export is defined once, below, and has the same labels in all of them.
 */
import type { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { openRegistry, type Define } from './metricRegistry.js';
import { createOperationTimes, type OperationTimes } from './operationTimes.js';

export type BoundCounter = Pick<Counter.Internal, 'inc'>;
export type BoundGauge = Pick<Gauge.Internal<string>, 'set' | 'inc' | 'dec'>;
export type BoundHistogram = Pick<Histogram.Internal<string>, 'observe'>;

/** Connections of a pool and those who wait for one. */
export interface PoolCounts {
  readonly total: number;
  readonly idle: number;
  readonly waiting: number;
}

export type InstanceState =
  'not_configured' | 'checking' | 'ready' | 'needs_reauth' | 'rejected_by_service' | 'unreachable' | 'paused';

interface SharedMetrics {
  readonly registry: Registry;
  readonly authFailures: BoundCounter;
  readonly rateLimited: (scope: string) => BoundCounter;
  /** Shows the pool's connections by state, read at each scrape; once a process. */
  readonly watchPool: (counts: () => PoolCounts) => void;
}

export interface MainApiMetrics extends SharedMetrics {
  readonly auditWriteFailures: BoundCounter;
  /** What the last verification of the audit found wrong. */
  readonly auditProblems: BoundGauge;
  instances(service: string, state: InstanceState): BoundGauge;
  jobRuns(job: string, outcome: 'success' | 'failure' | 'aborted'): BoundCounter;
  jobSeconds(job: string): BoundCounter;
  /** Wrapped keys and sealed rows under the current KEK, and under an older one. */
  secretsByKeyVersion(current: boolean): BoundGauge;
}

export interface ServiceMetrics extends SharedMetrics {
  /** What clients asked of us. */
  readonly served: OperationTimes;
  /** What we asked of upstreams. */
  readonly upstream: OperationTimes;
  /** Seconds from a call's arrival until its upstream is asked: reading, resolving, opening, audit. */
  readonly overhead: BoundHistogram;
  readonly auditWriteFailures: BoundCounter;
  readonly openStreams: BoundGauge;
  /** Children that an earlier process left behind, ended when this one started. */
  readonly orphans: BoundGauge;
  /** 1 for the form that is in use. */
  childIsolation(form: 'bubblewrap' | 'own uid' | 'none'): BoundGauge;
  childProcesses(state: 'starting' | 'idle' | 'busy' | 'stopping'): BoundGauge;
  /** 0 closed; 2 open for somebody: a child that keeps crashing, a host that does not answer, is left alone for a while. */
  readonly circuitState: BoundGauge;
}

export interface FrontMetrics extends Pick<SharedMetrics, 'registry' | 'authFailures'> {
  /** Requests that are being passed on, streams among them. */
  openStreams(service: string): BoundGauge;
}

export interface MonitorMetrics extends Pick<SharedMetrics, 'registry' | 'watchPool'> {
  portUp(service: string): BoundGauge;
  processUp(program: string): BoundGauge;
  processMemoryBytes(program: string): BoundGauge;
  /** Share of one core, 1 = a whole one. */
  processCpu(program: string): BoundGauge;
  /** Counts as PM2 does, so it is set rather than incremented. */
  processRestarts(program: string): BoundGauge;
  /** Takes a program that is gone out of the scrape. */
  forgetProcess(program: string): void;
  forgetPort(service: string): void;
}

export function createMainApiMetrics(): MainApiMetrics {
  const define = openRegistry();
  const instances = define.gauge('instances', 'Instances by service and state.', ['service', 'state']);
  const secrets = define.gauge('secrets_by_key_version', 'Secrets under the current KEK or not.', [
    'current',
  ]);
  const jobRuns = define.counter('job_runs_total', 'Runs of scheduled jobs.', ['job_name', 'outcome']);
  const jobSeconds = define.counter('job_seconds_total', 'Time spent in scheduled jobs.', ['job_name']);
  return {
    ...defineShared(define, 'main-api'),
    auditWriteFailures: defineAuditWriteFailures(define, 'main-api'),
    auditProblems: define
      .gauge('audit_problems', 'Rows and statements that the last verification of the audit found wrong.', [
        'service',
      ])
      .labels({ service: 'main-api' }),
    instances: (service, state) => instances.labels({ service, state }),
    jobRuns: (job, outcome) => jobRuns.labels({ job_name: job, outcome }),
    jobSeconds: (job) => jobSeconds.labels({ job_name: job }),
    secretsByKeyVersion: (current) => secrets.labels({ current: String(current) }),
  };
}

export function createServiceMetrics(service: string): ServiceMetrics {
  const define = openRegistry();
  const children = define.gauge('child_processes', 'Children by state.', ['service', 'state']);
  const isolation = define.gauge('child_isolation', 'How children are kept apart: 1 for the form in use.', [
    'service',
    'form',
  ]);
  const { registry } = define;
  return {
    ...defineShared(define, service),
    served: createOperationTimes({
      registry,
      name: 'mcp_server_operation_duration_seconds',
      help: 'Duration of the requests that MCP clients made.',
      service,
      withTools: true,
      combinationsMax: 64,
    }),
    upstream: createOperationTimes({
      registry,
      name: 'mcp_client_operation_duration_seconds',
      help: 'Duration of the requests that were made to upstreams.',
      service,
      withTools: false,
      combinationsMax: 32,
    }),
    overhead: define
      .histogram(
        'proxy_overhead_seconds',
        'Time from the arrival of a call until its upstream was asked.',
        ['service'],
        overheadBuckets,
      )
      .labels({ service }),
    auditWriteFailures: defineAuditWriteFailures(define, service),
    openStreams: defineOpenStreams(define).labels({ service }),
    orphans: define
      .gauge('orphans', 'Children of an earlier process that were ended at the start.', ['service'])
      .labels({ service }),
    childIsolation: (form) => isolation.labels({ service, form }),
    childProcesses: (state) => children.labels({ service, state }),
    circuitState: define
      .gauge('circuit_state', 'Circuit of the upstream: 0 closed, 2 open for somebody.', ['service'])
      .labels({ service }),
  };
}

export function createFrontMetrics(): FrontMetrics {
  const define = openRegistry();
  const openStreams = defineOpenStreams(define);
  const bound = new Map<string, BoundGauge>();
  return {
    registry: define.registry,
    authFailures: defineAuthFailures(define, 'front'),
    openStreams(service) {
      const known = bound.get(service) ?? openStreams.labels({ service });
      bound.set(service, known);
      return known;
    },
  };
}

export function createMonitorMetrics(): MonitorMetrics {
  const define = openRegistry();
  const portUp = define.gauge('port_up', 'Whether the last probe of a port succeeded.', ['service']);
  const up = define.gauge('pm2_process_up', 'Whether PM2 has the program online.', ['program']);
  const memory = define.gauge('pm2_process_memory_bytes', 'Resident memory, as PM2 sees it.', ['program']);
  const cpu = define.gauge('pm2_process_cpu', 'Share of one core, as PM2 sees it.', ['program']);
  const restarts = define.gauge('pm2_process_restarts_total', 'Restarts that PM2 counted.', ['program']);
  return {
    registry: define.registry,
    watchPool: watchPoolOf(define),
    portUp: (service) => portUp.labels({ service }),
    processUp: (program) => up.labels({ program }),
    processMemoryBytes: (program) => memory.labels({ program }),
    processCpu: (program) => cpu.labels({ program }),
    processRestarts: (program) => restarts.labels({ program }),
    forgetProcess: (program) => [up, memory, cpu, restarts].forEach((gauge) => gauge.remove({ program })),
    forgetPort: (service) => portUp.remove({ service }),
  };
}

function defineShared(define: Define, service: string): SharedMetrics {
  const limited = define.counter('rate_limited_total', 'Requests refused by a limit.', ['service', 'scope']);
  return {
    registry: define.registry,
    authFailures: defineAuthFailures(define, service),
    rateLimited: (scope) => limited.labels({ service, scope }),
    watchPool: watchPoolOf(define),
  };
}

function watchPoolOf(define: Define): SharedMetrics['watchPool'] {
  return (counts) => {
    define.gauge('db_pool_connections', 'Database connections by state.', ['state'], (gauge) => {
      const { total, idle, waiting } = counts();
      gauge.set({ state: 'idle' }, idle);
      gauge.set({ state: 'busy' }, total - idle);
      gauge.set({ state: 'waiting' }, waiting);
    });
  };
}

function defineAuthFailures(define: Define, service: string): BoundCounter {
  const name = 'auth_failures_total';
  return atZero(define.counter(name, 'Refused sign-ins and instance ids.', ['service']), service);
}

function defineAuditWriteFailures(define: Define, service: string): BoundCounter {
  const name = 'audit_write_failures_total';
  return atZero(define.counter(name, 'Audit records not taken.', ['service']), service);
}

/** A counter that is there before its first event, which `increase` would not see otherwise. */
function atZero(counter: Counter, service: string): BoundCounter {
  const bound = counter.labels({ service });
  bound.inc(0);
  return bound;
}

function defineOpenStreams(define: Define): Gauge {
  return define.gauge('open_streams', 'Streams that are open to clients.', ['service']);
}

/** Seconds; most calls spend well under a millisecond here. */
const overheadBuckets = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1, 5];
