/** A real PM2 in a home of its own, with a program that crashes until it is told not to, and one that hangs. */
import { chmodSync, existsSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import { createHangWatch } from '../../backend/src/health-monitor/hangWatch.js';
import { createRevival } from '../../backend/src/health-monitor/revival.js';
import { createPm2, type Pm2, type Pm2App } from '../../backend/src/supervisor/pm2.js';
import { isAlive } from '../../backend/src/supervisor/processes.js';
import { createLogger } from '../../backend/src/telemetry/logger.js';
import { createMonitorMetrics } from '../../backend/src/telemetry/metrics.js';
import { waitUntil } from '../support/eventually.js';
import { aFreePort } from '../support/freePorts.js';

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'portolan-revive-')));
const file = join(folder, 'apps.json');
const mended = join(folder, 'mended');
const log = createLogger({ level: 'silent', program: 'health-monitor' });
let pm2: Pm2;
let port = 0;

const program = `
import { createServer } from 'node:http';
import { existsSync } from 'node:fs';
if (process.env.CRASHES && !existsSync(process.env.CRASHES)) { console.error('the file is missing'); process.exit(1); }
createServer((_request, response) => response.end('ok')).listen(Number(process.env.PORT), '127.0.0.1');
`;

beforeAll(async () => {
  chmodSync(folder, 0o700);
  port = await aFreePort();
  writeFileSync(join(folder, 'program.mjs'), program);
  const app = { script: join(folder, 'program.mjs'), exec_mode: 'fork', max_restarts: 1, min_uptime: 5_000 };
  const apps = [
    { ...app, name: 'crashing', env: { CRASHES: mended, PORT: '0' } },
    { ...app, name: 'hanging', restart_delay: 100, max_restarts: 10, env: { PORT: String(port) } },
    { ...app, name: 'resting', env: { PORT: '0' } },
  ];
  writeFileSync(file, JSON.stringify({ apps }));
  pm2 = createPm2({ projectRoot: findProjectRoot(), home: join(folder, 'pm2'), env: process.env });
}, 60_000);
afterAll(async () => {
  const pid = pm2.daemonPid();
  await pm2.kill();
  rmSync(folder, { recursive: true, force: true });
  if (isAlive(pid)) throw new Error(`the PM2 daemon ${pid} outlived pm2 kill`);
}, 60_000);

async function appNamed(name: string): Promise<Pm2App | undefined> {
  return (await pm2.list()).find((app) => app.name === name);
}

describe('what PM2 gave up on', () => {
  it('P05 R18 is started again with a growing pause, is shown, and what an operator stopped stays stopped', async () => {
    await pm2.start(file, ['crashing', 'resting']);
    await waitUntil(
      'PM2 gives the crashing app up',
      async () => (await appNamed('crashing'))?.status === 'errored',
      20_000,
    );
    const apps = (await pm2.list()).map((app) =>
      app.name === 'resting' ? { ...app, status: 'stopped' } : app,
    );
    let clock = 0;
    const started: string[] = [];
    const metrics = createMonitorMetrics();
    const revive = createRevival({
      listApps: () => Promise.resolve(apps),
      start: async (name) => void started.push(name),
      metrics,
      log,
      now: () => clock,
      pauseMsMin: 5_000,
    });
    for (const [at, count] of [
      [0, 1],
      [4_999, 1],
      [5_001, 2],
      [14_000, 2],
      [15_002, 3],
      [30_000, 3],
    ] as const) {
      clock = at;
      await revive();
      expect(started).toHaveLength(count);
    }
    expect(new Set(started)).toEqual(new Set(['crashing']));
    expect(await metrics.registry.metrics()).toContain('portolan_pm2_process_up{program="crashing"} 0');

    writeFileSync(mended, '');
    expect(existsSync(mended)).toBe(true);
    const real = createRevival({
      listApps: () => pm2.list(),
      start: (name) => pm2.start(file, [name]),
      metrics,
      log,
    });
    await real();
    await waitUntil('it runs', async () => (await appNamed('crashing'))?.status === 'online', 20_000);
  }, 90_000);
});

describe('what hangs', () => {
  it('R28 is killed after three silent heartbeats and started by PM2, and nobody else is touched', async () => {
    await pm2.start(file, ['hanging']);
    const origin = `http://127.0.0.1:${port}`;
    await waitUntil(
      'it answers',
      () =>
        fetch(origin).then(
          (answer) => answer.ok,
          () => false,
        ),
      20_000,
    );
    const hung = (await appNamed('hanging'))?.pid ?? 0;
    const others = (await pm2.list()).filter(({ name }) => name !== 'hanging').map(({ pid }) => pid);
    const killed: number[] = [];
    const beat = createHangWatch({
      ports: () => [{ name: 'hanging', program: 'hanging', origin, timeoutMs: 1, failAfter: 1, okAfter: 1 }],
      listApps: () => pm2.list(),
      kill: (pid) => {
        killed.push(pid);
        process.kill(pid, 'SIGKILL');
      },
      log,
      timeoutMs: 200,
    });
    await beat();
    expect(killed).toEqual([]);
    process.kill(hung, 'SIGSTOP');
    // Silent once and then alive again, it is left in peace.
    setTimeout(() => process.kill(hung, 'SIGCONT'), 300);
    await beat();
    expect(killed).toEqual([]);
    process.kill(hung, 'SIGSTOP');
    await beat();
    expect(killed).toEqual([hung]);
    await waitUntil(
      'it answers again',
      () =>
        fetch(origin).then(
          (answer) => answer.ok,
          () => false,
        ),
      20_000,
    );
    expect((await appNamed('hanging'))?.pid).not.toBe(hung);
    expect((await pm2.list()).filter(({ name }) => name !== 'hanging').map(({ pid }) => pid)).toEqual(others);
  }, 90_000);
});
