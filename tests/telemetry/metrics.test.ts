import { describe, expect, it } from '@jest/globals';
import {
  createFrontMetrics,
  createMainApiMetrics,
  createMonitorMetrics,
  createServiceMetrics,
} from '../../backend/src/telemetry/metrics.js';

const pool = () => ({ total: 5, idle: 2, waiting: 1 });

describe('metrics', () => {
  it('X04 a service exports the names of the operations page, with Node’s own beside them', async () => {
    const metrics = createServiceMetrics('github');
    metrics.watchPool(pool);
    const text = await metrics.registry.metrics();
    for (const name of [
      'mcp_server_operation_duration_seconds',
      'mcp_client_operation_duration_seconds',
      'portolan_proxy_overhead_seconds',
      'portolan_open_streams',
      'portolan_child_processes',
      'portolan_orphans',
      'portolan_auth_failures_total',
      'portolan_rate_limited_total',
      'portolan_circuit_state',
      'portolan_db_pool_connections',
      'portolan_audit_write_failures_total',
      'process_resident_memory_bytes',
      'nodejs_eventloop_lag_p99_seconds',
    ]) {
      expect(text).toContain(`# TYPE ${name} `);
    }
  });

  it('X04 the main API, the monitor and the front export what is theirs', async () => {
    const [api, monitor, front] = [createMainApiMetrics(), createMonitorMetrics(), createFrontMetrics()];
    api.instances('github', 'ready').set(3);
    api.secretsByKeyVersion(false).set(2);
    monitor.portUp('github').set(1);
    monitor.processUp('mcp-github').set(1);
    monitor.processMemoryBytes('mcp-github').set(1e6);
    monitor.processCpu('mcp-github').set(0.5);
    monitor.processRestarts('mcp-github').set(4);
    front.openStreams('github').inc();
    expect(await api.registry.metrics()).toContain('portolan_instances{service="github",state="ready"} 3');
    expect(await api.registry.metrics()).toContain('portolan_secrets_by_key_version{current="false"} 2');
    const seen = await monitor.registry.metrics();
    expect(seen).toContain('portolan_port_up{service="github"} 1');
    expect(seen).toContain('portolan_pm2_process_up{program="mcp-github"} 1');
    expect(seen).toContain('portolan_pm2_process_memory_bytes{program="mcp-github"} 1000000');
    expect(seen).toContain('portolan_pm2_process_cpu{program="mcp-github"} 0.5');
    expect(seen).toContain('portolan_pm2_process_restarts_total{program="mcp-github"} 4');
    expect(await front.registry.metrics()).toContain('portolan_open_streams{service="github"} 1');
  });

  it('X04 what is gone leaves the scrape', async () => {
    const monitor = createMonitorMetrics();
    monitor.portUp('github').set(0);
    monitor.processUp('mcp-github').set(0);
    monitor.forgetPort('github');
    monitor.forgetProcess('mcp-github');
    expect(await monitor.registry.metrics()).not.toContain('github');
  });

  it('X04 reads the pool at the scrape', async () => {
    const metrics = createMainApiMetrics();
    const counts = { ...pool() };
    metrics.watchPool(() => counts);
    counts.total = 9;
    const text = await metrics.registry.metrics();
    expect(text).toContain('portolan_db_pool_connections{state="busy"} 7');
    expect(text).toContain('portolan_db_pool_connections{state="idle"} 2');
    expect(text).toContain('portolan_db_pool_connections{state="waiting"} 1');
  });

  it('X04 names a tool only when it was learned; every other becomes _other', async () => {
    const metrics = createServiceMetrics('github');
    metrics.served.learnTools(['create_issue', 'bad tool"\n']);
    for (const tool of ['create_issue', 'whatever', 'bad tool"\n']) {
      metrics.served.observe(0.01, { method: 'tools/call', tool });
    }
    const text = await metrics.registry.metrics();
    const labels = 'service="github",mcp_method_name="tools/call",error_type="",gen_ai_tool_name=';
    const count = `mcp_server_operation_duration_seconds_count{${labels}`;
    expect(text).toContain(`${count}"create_issue"} 1`);
    expect(text).toContain(`${count}"_other"} 2`);
    expect(text).not.toContain('whatever');
    expect(text).not.toContain('bad tool');
  });

  it('X04 shows what must never happen as 0 before it happens, so that its increase is seen', async () => {
    const text = await createServiceMetrics('github').registry.metrics();
    expect(text).toContain('portolan_audit_write_failures_total{service="github"} 0');
    expect(text).toContain('portolan_auth_failures_total{service="github"} 0');
  });

  it('X04 observes seconds by method and kind of failure', async () => {
    const metrics = createServiceMetrics('github');
    metrics.upstream.observe(0.02, { method: 'tools/list' });
    metrics.upstream.observe(61, { method: 'tools/call', errorType: 'upstream_timeout' });
    metrics.upstream.observe(0.1, { method: 'rest', errorType: 'rate_limit_exceeded' });
    metrics.upstream.observe(1, { method: 'made/up', errorType: 'Error: secret text' });
    const text = await metrics.registry.metrics();
    const name = 'mcp_client_operation_duration_seconds';
    expect(text).toContain(
      `${name}_bucket{le="0.025",service="github",mcp_method_name="tools/list",error_type=""} 1`,
    );
    expect(text).toContain(
      `${name}_sum{service="github",mcp_method_name="tools/call",error_type="upstream_timeout"} 61`,
    );
    expect(text).toContain(
      `${name}_count{service="github",mcp_method_name="rest",error_type="rate_limit_exceeded"} 1`,
    );
    expect(text).toContain(`${name}_count{service="github",mcp_method_name="_other",error_type="_other"} 1`);
    expect(text).not.toContain('secret text');
  });

  it('H04 stays under 2,000 series and counts every call, whatever clients and upstreams send', async () => {
    const metrics = createServiceMetrics('github');
    metrics.watchPool(pool);
    const tools = Array.from({ length: 500 }, (_, at) => `tool_${at}`);
    const errors = [
      '',
      'timeout',
      'tool_error',
      'upstream_failed',
      '-32603',
      '-32601',
      '404',
      '500',
      '503',
      'junk',
    ];
    const methods = ['tools/call', 'tools/list', 'initialize', 'prompts/get', 'x/y', '__proto__'];
    metrics.served.learnTools(tools);
    let calls = 0;
    for (const tool of tools) {
      for (const errorType of errors) {
        for (const method of methods) {
          metrics.served.observe(0.01, { method, tool, errorType });
          metrics.upstream.observe(0.01, { method, tool, errorType });
          calls += 1;
        }
      }
    }
    const text = await metrics.registry.metrics();
    const series = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    expect(series.length).toBeLessThan(2_000);
    for (const name of ['mcp_server', 'mcp_client']) {
      const counts = series.filter((line) => line.startsWith(`${name}_operation_duration_seconds_count`));
      expect(counts.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)).toBe(calls);
    }
  });

  it('H04 has no label for a user, an instance, a version or a transport', async () => {
    const all = [
      createMainApiMetrics(),
      createServiceMetrics('github'),
      createFrontMetrics(),
      createMonitorMetrics(),
    ];
    const labels = new Set<string>();
    for (const { registry } of all) {
      for (const metric of await registry.getMetricsAsJSON()) {
        const { name } = metric;
        if (!/^(portolan|mcp)_/.test(name)) continue;
        const { labelNames } = registry.getSingleMetric(name) as unknown as { labelNames: readonly string[] };
        for (const label of labelNames) labels.add(label);
      }
    }
    expect([...labels].sort()).toEqual([
      'current',
      'error_type',
      'form',
      'gen_ai_tool_name',
      'job_name',
      'mcp_method_name',
      'outcome',
      'program',
      'scope',
      'service',
      'state',
    ]);
  });

  it('X04 gives a metric the same help, type and labels in every program that exports it', async () => {
    const all = [
      createMainApiMetrics(),
      createServiceMetrics('github'),
      createFrontMetrics(),
      createMonitorMetrics(),
    ];
    const forms = new Map<string, Set<string>>();
    for (const { registry } of all) {
      for (const { name, help, type } of await registry.getMetricsAsJSON()) {
        const { labelNames } = registry.getSingleMetric(name) as unknown as { labelNames: readonly string[] };
        const form = JSON.stringify([help, type, labelNames]);
        forms.set(name, (forms.get(name) ?? new Set()).add(form));
      }
    }
    expect([...forms].filter(([, variants]) => variants.size > 1)).toEqual([]);
  });
});
