/** A service is one folder: it comes up by itself, and nobody else notices (P07, P03). */
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import { waitUntil } from '../support/eventually.js';
import { startWholeFleet, type Fleet } from '../support/fleet.js';
import { connectClient } from '../support/mcpClients.js';
import { aUser, anAdmin, callApi, connect, type Person } from '../support/people.js';
import { childrenOf } from '../support/processTree.js';

const ports = realpathSync(mkdtempSync(join(tmpdir(), 'portolan-ports-')));
let fleet: Fleet;
let alice: Person;

/** Copies a shipped service under another name. */
function addService(name: string, from: string, changes: Record<string, unknown>): void {
  const folder = join(ports, name);
  cpSync(join(findProjectRoot(), 'mcp-ports', from), folder, { recursive: true });
  const file = join(folder, 'config.json');
  const {
    port: _port,
    instancePrefix: _prefix,
    $schema: _schema,
    ...config
  } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  writeFileSync(file, JSON.stringify({ ...config, name, ...changes }));
}

beforeAll(async () => {
  addService('everything', 'everything', { port: 4_106, instancePrefix: 'evr' });
  addService('memory', 'memory', { port: 4_107, instancePrefix: 'mem' });
  fleet = await startWholeFleet({ mcpPortsDir: ports });
  alice = await aUser(fleet, await anAdmin(fleet), 'alice');
}, 180_000);
afterAll(async () => {
  await fleet?.[Symbol.asyncDispose]();
  rmSync(ports, { recursive: true, force: true });
}, 120_000);

const pidsOf = async () => Object.fromEntries((await fleet.apps()).map(({ name, pid }) => [name, pid]));

describe('a new service', () => {
  it('P01 P02 only the services of this folder run', async () => {
    const names = Object.keys(await pidsOf()).sort();
    expect(names).toEqual([
      'front',
      'health-monitor',
      'main-api',
      'mcp-everything',
      'mcp-memory',
      'postgres',
    ]);
  });

  it('P07 comes up by a folder, the generator and pm2 start --only, and touches nobody', async () => {
    const before = await pidsOf();
    await using old = await connectClient('SDK v1', (await connect(alice, 'everything')).instanceUrl);
    addService('notes', 'memory', { port: 4_109, title: 'Notes' });
    const ecosystem = join(fleet.config.paths.stateDir, 'ecosystem.config.js');
    const generated = await fleet.run('generate-pm2-config');
    expect(generated).toMatchObject({ code: 0 });
    expect(generated.output).toContain('3 services');
    const started = await fleet.run('pm2', 'start', ecosystem, '--only', 'mcp-notes');
    expect(started).toMatchObject({ code: 0 });

    const { 'mcp-notes': notes, ...others } = await pidsOf();
    expect(notes).toBeGreaterThan(0);
    expect(others).toEqual(before);
    expect(await old.callTool('echo', { message: 'undisturbed' })).toContain('undisturbed');

    // Main API, front and monitor learn of it by themselves.
    await waitUntil(
      'the catalog shows it',
      async () => {
        const { body } = await alice.call('GET', '/api/v1/catalog');
        return JSON.stringify(body).includes('"notes"');
      },
      10_000,
    );
    const { instanceUrl } = await connect(alice, 'notes');
    await waitUntil(
      'the front knows the way',
      async () => {
        try {
          await using client = await connectClient('SDK v1', instanceUrl);
          return (await client.toolNames()).includes('read_graph');
        } catch {
          return false;
        }
      },
      10_000,
    );
    await waitUntil(
      'the monitor watches it',
      async () => {
        const { body } = await alice.call('GET', '/api/v1/health/services');
        return JSON.stringify(body).includes('"notes"');
      },
      15_000,
    );
  }, 120_000);

  it('quickstart takes it over without touching anybody, and removes it with its folder', async () => {
    const before = await pidsOf();
    expect(await fleet.run('quickstart')).toMatchObject({ code: 0 });
    const { 'mcp-notes': _notes, ...others } = await pidsOf();
    const { 'mcp-notes': _was, ...same } = before;
    expect(others).toEqual(same);
    rmSync(join(ports, 'notes'), { recursive: true });
    expect(await fleet.run('quickstart')).toMatchObject({ code: 0 });
    expect(await pidsOf()).toEqual(same);
    await waitUntil(
      'the catalog forgets it',
      async () => !JSON.stringify((await alice.call('GET', '/api/v1/catalog')).body).includes('"notes"'),
      10_000,
    );
  }, 120_000);

  it('P03 in dynamic mode every user has a child of their own, at the same kind of URL', async () => {
    await using dynamic = await startWholeFleet({
      mcpPortsDir: ports,
      env: { SERVICE_MODE: 'dynamic' },
    });
    const admin = await anAdmin(dynamic);
    for (const name of ['bob', 'carol']) {
      const { instanceUrl } = await connect(await aUser(dynamic, admin, name), 'everything');
      await using client = await connectClient('SDK v1', instanceUrl);
      expect(await client.callTool('echo', { message: name })).toContain(name);
    }
    const health = await callApi(dynamic.serviceOrigin('everything'), 'GET', '/health');
    expect(health.status).toBe(200);
    const { pid } = await dynamic.app('mcp-everything');
    expect(childrenOf(pid).length).toBeGreaterThanOrEqual(2);
  }, 180_000);
});
