/** The real PM2, with two small programs in a home of its own. */
import { chmodSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { loadConfig } from '../../backend/src/config/config.js';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import type { DesiredFleet } from '../../scripts/fleet/desiredApps.js';
import { createPm2, parseProcessList, type Pm2 } from '../../backend/src/supervisor/pm2.js';
import { isAlive } from '../../backend/src/supervisor/processes.js';
import { startFleet, type StartOutcome } from '../../scripts/fleet/startFleet.js';
import { aFreePort } from '../support/freePorts.js';

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'portolan-pm2-')));
const projectRoot = findProjectRoot();
const config = loadConfig({ PORTOLAN_STATE_DIR: folder }, projectRoot);
let pm2: Pm2;
const ports = { steady: 0, clustered: 0, broken: 0 };

/** Tells its environment at any path, and ends on SIGINT once it has answered what it was asked. */
const program = `
import { createServer } from 'node:http';
if (process.env.BROKEN) { console.error('cannot start: the file is missing'); process.exit(1); }
const server = createServer((_request, response) => response.end(JSON.stringify(process.env)));
server.listen(Number(process.env.PORT), '127.0.0.1', () => process.send?.('ready'));
process.on('SIGINT', () => { server.close(() => process.exit(0)); server.closeIdleConnections(); });
`;

beforeAll(async () => {
  chmodSync(folder, 0o700);
  writeFileSync(join(folder, 'program.mjs'), program);
  ports.steady = await aFreePort();
  ports.clustered = await aFreePort();
  ports.broken = await aFreePort();
  pm2 = createPm2({
    projectRoot,
    home: join(folder, 'pm2'),
    env: { ...process.env, CANARY: 'caught-a-canary' },
  });
});
afterAll(async () => {
  const pid = pm2.daemonPid();
  await pm2.kill();
  rmSync(folder, { recursive: true, force: true });
  if (isAlive(pid)) throw new Error(`the PM2 daemon ${pid} outlived pm2 kill`);
}, 60_000);

interface AppSettings {
  readonly mode?: 'fork' | 'cluster';
  readonly env?: Record<string, string>;
}

function aFleet(apps: Partial<Record<keyof typeof ports, AppSettings>>): DesiredFleet {
  const settings = Object.entries(apps).map(([name, { mode = 'fork', env = {} }]) => ({
    name,
    script: join(folder, 'program.mjs'),
    exec_mode: mode,
    instances: 1,
    filter_env: [''],
    wait_ready: true,
    listen_timeout: 1_500,
    max_restarts: 1,
    min_uptime: 1_000,
    exp_backoff_restart_delay: 100,
    env: { PORT: String(ports[name as keyof typeof ports]), ...env },
  }));
  return {
    file: join(folder, 'fleet-apps.json'),
    text: JSON.stringify({ apps: settings }),
    apps: settings.map((app) => ({
      name: app.name,
      healthUrl: `http://127.0.0.1:${app.env.PORT}/health`,
      digest: JSON.stringify(app),
    })),
  };
}

const lines: string[] = [];
const start = (fleet: DesiredFleet): Promise<StartOutcome> =>
  startFleet({ config, pm2, fleet, deadlineMs: 20_000, log: (line) => void lines.push(line) });
const environmentOf = async (name: keyof typeof ports): Promise<Record<string, string>> =>
  (await (await fetch(`http://127.0.0.1:${ports[name]}/`)).json()) as Record<string, string>;
const pidsOf = async () => Object.fromEntries((await pm2.list()).map(({ name, pid }) => [name, pid]));

/** What PM2 says of an app that waits, by when it was made. */
const statusOf = (created: number | null): string | undefined =>
  parseProcessList(
    JSON.stringify([{ name: 'a', pid: 0, pm2_env: { status: 'waiting restart', created_at: created } }]),
  )[0]?.status;

describe('driving PM2', () => {
  it('lists nothing, and starts no daemon, where none runs', async () => {
    await expect(pm2.list()).resolves.toEqual([]);
    expect(pm2.isRunning()).toBe(false);
  });

  it('reads the list among the notices that PM2 prints', () => {
    const notices = '[PM2] Spawning PM2 daemon\n\u001b[33m[PM2][WARN]\u001b[39m in-memory is out of date\n';
    expect(parseProcessList(`${notices}[]\n`)).toEqual([]);
    const app = { name: 'a', pid: 7, monit: { memory: 5, cpu: 1 }, pm2_env: { status: 'online' } };
    expect(parseProcessList(`${notices}${JSON.stringify([app])}\n`)).toMatchObject([
      { name: 'a', pid: 7, status: 'online', memoryBytes: 5 },
    ]);
    expect(() => parseProcessList(notices)).toThrow('no list');
  });

  it('P05 tells an app that PM2 gave up on from one that waits for its restart', () => {
    expect(statusOf(1_700_000_000_000)).toBe('waiting restart');
    expect(statusOf(null)).toBe('errored');
  });

  it('starts programs of both modes and waits until they answer', async () => {
    const outcome = await start(aFleet({ steady: {}, clustered: { mode: 'cluster' } }));
    expect(outcome).toEqual({
      kind: 'running',
      plan: { start: ['steady', 'clustered'], reload: [], remove: [] },
    });
    expect(lines.filter((line) => line.includes('is healthy after'))).toHaveLength(2);
  }, 60_000);

  it("keeps the caller's environment out of the programs, started or reloaded", async () => {
    for (const name of ['steady', 'clustered'] as const) {
      expect(JSON.stringify(await environmentOf(name))).not.toContain('caught-a-canary');
    }
    await start(
      aFleet({ steady: { env: { MARK: '2' } }, clustered: { mode: 'cluster', env: { MARK: '2' } } }),
    );
    for (const name of ['steady', 'clustered'] as const) {
      const environment = await environmentOf(name);
      expect(environment.MARK).toBe('2');
      expect(JSON.stringify(environment)).not.toContain('caught-a-canary');
    }
  }, 60_000);

  it('leaves alone what runs from the same settings, and touches only what changed', async () => {
    const before = await pidsOf();
    const same = aFleet({
      steady: { env: { MARK: '2' } },
      clustered: { mode: 'cluster', env: { MARK: '2' } },
    });
    await expect(start(same)).resolves.toMatchObject({ plan: { start: [], reload: [], remove: [] } });
    expect(await pidsOf()).toEqual(before);

    const changed = aFleet({
      steady: { env: { MARK: '2' } },
      clustered: { mode: 'cluster', env: { MARK: '3' } },
    });
    await expect(start(changed)).resolves.toMatchObject({ plan: { reload: ['clustered'] } });
    const after = await pidsOf();
    expect(after.steady).toBe(before.steady);
    expect(after.clustered).not.toBe(before.clustered);
  }, 60_000);

  it('removes what is no longer wanted', async () => {
    const { clustered: pid = 0 } = await pidsOf();
    await expect(start(aFleet({ steady: { env: { MARK: '2' } } }))).resolves.toMatchObject({
      plan: { start: [], reload: [], remove: ['clustered'] },
    });
    expect(Object.keys(await pidsOf())).toEqual(['steady']);
    expect(isAlive(pid)).toBe(false);
  }, 60_000);

  it('R18 starts nothing, and names the variable, where somebody else holds the port', async () => {
    const squatter = createServer().listen(ports.clustered, '127.0.0.1');
    await once(squatter, 'listening');
    try {
      const outcome = await start(aFleet({ steady: { env: { MARK: '2' } }, clustered: { mode: 'cluster' } }));
      expect(outcome).toMatchObject({
        kind: 'ports-taken',
        taken: [{ name: 'clustered', variable: 'SERVICE_PORT_OFFSET' }],
      });
      expect(Object.keys(await pidsOf())).toEqual(['steady']);
    } finally {
      squatter.close();
      await once(squatter, 'close');
    }
  }, 60_000);

  it('reports a program that PM2 gave up on, long before the deadline', async () => {
    const startedAt = performance.now();
    const outcome = await start(aFleet({ steady: { env: { MARK: '2' } }, broken: { env: { BROKEN: '1' } } }));
    expect(outcome).toMatchObject({ kind: 'unhealthy', programs: [{ name: 'broken' }] });
    expect(performance.now() - startedAt).toBeLessThan(15_000);
  }, 60_000);
});
