/** The real PM2 watching memory: what outgrows its limit is started anew, and nobody else is touched. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import { createPm2, type Pm2, type Pm2App } from '../../backend/src/supervisor/pm2.js';
import { isAlive } from '../../backend/src/supervisor/processes.js';
import { aFreePort } from '../support/freePorts.js';
import { waitUntil } from '../support/eventually.js';

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'portolan-memory-')));
let pm2: Pm2;

/** Grows past its limit at `/grow`. */
const program = `
import { createServer } from 'node:http';
const held = [];
const server = createServer((request, response) => {
  if (request.url === '/grow') for (let at = 0; at < 160; at += 1) held.push(Buffer.alloc(1024 * 1024, 1));
  response.end(String(held.length));
});
server.listen(Number(process.env.PORT), '127.0.0.1', () => process.send?.('ready'));
process.on('SIGINT', () => { server.close(() => process.exit(0)); server.closeAllConnections(); });
`;

beforeAll(() => {
  chmodSync(folder, 0o700);
  writeFileSync(join(folder, 'program.mjs'), program);
  const projectRoot = findProjectRoot();
  const home = join(folder, 'pm2');
  mkdirSync(home);
  // The daemon looks at memory every 30 s unless it was started with another wish.
  execFileSync(process.execPath, [join(projectRoot, 'node_modules/pm2/bin/pm2'), 'ping'], {
    env: {
      PATH: process.env['PATH'],
      HOME: folder,
      PM2_HOME: home,
      PM2_DISCRETE_MODE: 'true',
      PM2_DISABLE_VERSION_CHECK: 'true',
      PM2_WORKER_INTERVAL: '1000',
    },
  });
  pm2 = createPm2({ projectRoot, home, env: process.env });
}, 30_000);
afterAll(async () => {
  const pid = pm2.daemonPid();
  await pm2.kill();
  rmSync(folder, { recursive: true, force: true });
  if (isAlive(pid)) throw new Error(`the PM2 daemon ${pid} outlived pm2 kill`);
}, 60_000);

const ask = async (port: number, path: string): Promise<string> =>
  (await fetch(`http://127.0.0.1:${port}${path}`)).text();

it('P06 starts a program anew that outgrew max_memory_restart, and leaves the others alone', async () => {
  const ports = { growing: await aFreePort(), steady: await aFreePort() };
  const apps = Object.entries(ports).map(([name, port]) => ({
    name,
    script: join(folder, 'program.mjs'),
    filter_env: [''],
    wait_ready: true,
    max_memory_restart: '120M',
    env: { PORT: String(port) },
  }));
  const file = join(folder, 'apps.json');
  writeFileSync(file, JSON.stringify({ apps }));
  await pm2.start(file, Object.keys(ports));
  const appOf = async (name: string): Promise<Pm2App | undefined> =>
    (await pm2.list()).find((app) => app.name === name);
  const before = { growing: await appOf('growing'), steady: await appOf('steady') };
  expect([before.growing?.status, before.steady?.status]).toEqual(['online', 'online']);

  expect(await ask(ports.growing, '/grow')).toBe('160');
  await waitUntil(
    'PM2 has started it anew',
    async () => {
      const now = await appOf('growing');
      return now?.status === 'online' && now.pid !== before.growing?.pid;
    },
    45_000,
  );
  await waitUntil('it answers', async () => (await ask(ports.growing, '/').catch(() => '')) === '0');
  expect((await appOf('growing'))?.restarts).toBe(1);
  expect(await appOf('steady')).toMatchObject({ pid: before.steady?.pid, restarts: 0 });
}, 90_000);
