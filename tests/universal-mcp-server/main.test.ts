import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { findMarkedIn } from '../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/ownershipMark.js';
import { hostileServer } from '../support/aStdioService.js';
import { callAuditOf } from '../support/callAudit.js';
import { waitUntil } from '../support/eventually.js';
import { openInstallation, type Installation } from '../support/installation.js';
import { initialize, modern, send, startRequest, textOf } from '../support/mcpHttp.js';
import { openServiceSite, type ServiceSite } from '../support/serviceProcess.js';

const config = {
  schemaVersion: 1,
  name: 'hostile',
  title: 'Hostile',
  kind: 'stdio',
  port: 4990,
  instancePrefix: 'hst',
  stdio: { command: process.execPath, args: [hostileServer], isolation: 'per-instance' },
  credentials: { scope: 'none', methods: [{ id: 'none', type: 'none', label: 'None' }] },
};

describe('a service process', () => {
  let site: Installation;
  let service: ServiceSite;
  const aUrl = async (): Promise<{ url: string; id: string }> => {
    const made = await site.anInstance({ owner: await site.aUser(), service: 'hostile', prefix: 'hst' });
    return { url: `${service.origin}/${made.instanceId}/hostile`, id: made.id };
  };

  beforeAll(async () => {
    site = await openInstallation();
    service = await openServiceSite(site, config);
  });
  afterAll(async () => {
    await service[Symbol.asyncDispose]();
    await site[Symbol.asyncDispose]();
  });

  it('P03 serves its service, is healthy when it says so, and finishes calls before it goes (P06, R13)', async () => {
    const run = await service.start();
    const health = await send(`${service.origin}/health`, { method: 'GET' });
    expect([health.status, health.json.status, health.json.service]).toEqual([200, 'healthy', 'hostile']);
    expect((await send(`${service.origin}/readyz?verbose`, { method: 'GET' })).json.checks.keys.status).toBe(
      'ok',
    );
    const { url } = await aUrl();
    const session = await initialize(url);
    const children = await findMarkedIn('');
    expect(children.filter(({ mark }) => mark.includes(`/${run.pid}-`))).not.toEqual([]);
    const stream = await session.stream();
    const metrics = await send(`${service.origin}/metrics`, { method: 'GET' });
    expect(metrics.text).toMatch(/portolan_child_processes\{[^}]*state="idle"[^}]*\} 1/);
    expect(metrics.text).toMatch(/mcp_server_operation_duration_seconds_count\{[^}]*"initialize"[^}]*\} 1/);

    const slow = await session.open('tools/call', { name: 'slow', _meta: { progressToken: 1 } });
    expect((await slow.next()).method).toBe('notifications/progress');
    run.child.kill('SIGINT');
    expect((await slow.next()).result.content[0].text).toBe('done slowly');
    await stream.ended;
    expect(await run.exited).toEqual({ code: 0, signal: null });
    expect((await findMarkedIn('')).filter(({ mark }) => mark.includes(`/${run.pid}-`))).toEqual([]);
  });

  it('R11 killed in the middle of calls: no child outlives it, the intent is closed as unknown at the next start', async () => {
    const first = await service.start();
    const { url, id } = await aUrl();
    const session = await initialize(url);
    const pidFile = join(service.stateDir, 'instances', id, 'grandchild');
    await session.call('doubleFork', { pidFile });
    await waitUntil('the grandchild runs', () => existsSync(pidFile) && readFileSync(pidFile, 'utf8') !== '');
    const mine = async () =>
      (await findMarkedIn('')).filter(({ mark }) => mark.includes(`/${first.pid}-`)).length;
    // The child and what it started, and the watchers of its sandbox where there is one.
    expect(await mine()).toBeGreaterThanOrEqual(2);
    const hanging = startRequest(url, {
      headers: session.headers,
      body: { jsonrpc: '2.0', id: 'h', method: 'tools/call', params: { name: 'hang' } },
    });
    const cut = hanging.response.then(
      () => 'answered',
      () => 'reset',
    );
    await waitUntil(
      'the call is under way',
      async () => textOf(await session.call('echo', { text: 'x' })) === 'x',
    );
    first.child.kill('SIGKILL');
    expect(await cut).toBe('reset');
    const second = await service.start();
    await waitUntil(
      'the child died with its parent, the grandchild was swept',
      async () => (await mine()) === 0,
    );
    await waitUntil(
      'no intent is left open',
      async () => {
        const rows = await callAuditOf({ site }, id);
        const outcomes = new Map(
          rows.filter(({ phase }) => phase === 'outcome').map((row) => [row.call_id, row.outcome]),
        );
        const intents = rows.filter(({ phase }) => phase === 'intent');
        const hung = intents.find(({ name }) => name === 'hang');
        return (
          hung !== undefined &&
          outcomes.get(hung.call_id) === 'unknown' &&
          intents.every(({ call_id }) => outcomes.has(call_id))
        );
      },
      15_000,
    );
    expect(textOf(await session.call('echo', { text: 'the session lives' }))).toBe('the session lives');
    second.child.kill('SIGTERM');
    await second.exited;
  });

  it('R18 a taken port ends the start with exit code 1 and one line that says so', async () => {
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(service.port, '127.0.0.1', resolve));
    const run = await service.start();
    expect((await run.exited).code).toBe(1);
    expect(
      run
        .output()
        .split('\n')
        .filter((line) => line.includes('the port is taken')),
    ).toHaveLength(1);
    await new Promise((resolve) => squatter.close(resolve));
  });

  it('R21 G06 without its key ring it lives, is not ready, answers calls with 503, and recovers by itself', async () => {
    const { url } = await aUrl();
    const ring = join(service.stateDir, 'keyring.json');
    renameSync(ring, `${ring}.away`);
    const run = await service.start();
    expect((await send(`${service.origin}/livez`, { method: 'GET' })).status).toBe(200);
    const readiness = await send(`${service.origin}/readyz?verbose`, { method: 'GET' });
    expect([readiness.status, readiness.json.checks.keys.status]).toEqual([503, 'failed']);
    const refused = await send(url, modern('tools/list'));
    expect([
      refused.status,
      refused.json.error.data.code,
      Number(refused.headers['retry-after']) > 0,
    ]).toEqual([503, 'SEALED', true]);
    expect(existsSync(ring)).toBe(false);
    renameSync(`${ring}.away`, ring);
    await waitUntil(
      'it is ready',
      async () => (await send(`${service.origin}/readyz`, { method: 'GET' })).status === 200,
    );
    expect((await send(url, modern('tools/list'))).status).toBe(200);
    run.child.kill('SIGTERM');
    await run.exited;
  });

  it('an unknown or disabled service ends the start with a clear line', async () => {
    const run = await service.start({ MCP_TYPE: 'nothing' });
    expect((await run.exited).code).toBe(1);
    expect(run.output()).toContain('the service nothing cannot run');
  });
});
