/**
 * A whole fleet, started by the project's own scripts as a person would start it: its state directory, PM2 and ports are
 * its own. At its end nothing of it is left, and what had to be killed for that is an error.
 *
 *   await using fleet = await startWholeFleet();
 */
import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig, type Config } from '../../backend/src/config/config.js';
import { readEnv } from '../../backend/src/config/env.js';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import { createPm2, type Pm2, type Pm2App } from '../../backend/src/supervisor/pm2.js';
import { findPm2Home } from '../../backend/src/supervisor/pm2Home.js';
import { isAlive } from '../../backend/src/supervisor/processes.js';
import { aFreeOffset, aFreePort } from './freePorts.js';
import { findProcessesWith } from './processTree.js';
import { waitUntil } from './eventually.js';

export interface ScriptResult {
  readonly code: number;
  readonly output: string;
}

export interface Fleet extends AsyncDisposable {
  readonly config: Config;
  /** The environment that every script of this fleet runs in. */
  readonly env: NodeJS.ProcessEnv;
  readonly pm2: Pm2;
  /** What people use: the front. */
  readonly origin: string;
  readonly apiOrigin: string;
  /** Straight on a service's port. */
  serviceOrigin(service: string): string;
  /** Runs one of `scripts/` as `npm run` would. */
  run(script: string, ...args: string[]): Promise<ScriptResult>;
  apps(): Promise<Pm2App[]>;
  /** One program of the fleet. @throws when PM2 does not know it */
  app(name: string): Promise<Pm2App>;
  setupCode(): string;
}

export interface FleetOptions {
  readonly mcpPortsDir?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Leaves starting to the test. */
  readonly isStarted?: boolean;
}

const scriptTimeoutMs = 150_000;

export async function startWholeFleet(options: FleetOptions = {}): Promise<Fleet> {
  const { mcpPortsDir, env: further = {}, isStarted = true } = options;
  const projectRoot = findProjectRoot();
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'portolan-e2e-')));
  // The account of PostgreSQL passes through.
  chmodSync(folder, 0o711);
  const env = {
    ...process.env,
    NODE_OPTIONS: '',
    PORTOLAN_STATE_DIR: join(folder, 'state'),
    PORT: String(await aFreePort()),
    FRONT_PORT: String(await aFreePort()),
    MONITOR_PORT: String(await aFreePort()),
    SERVICE_PORT_OFFSET: String(
      await aFreeOffset([4_101, 4_102, 4_103, 4_104, 4_105, 4_106, 4_107, 4_108, 4_109]),
    ),
    MONITOR_INTERVAL_MS: '1000',
    ...(mcpPortsDir === undefined ? {} : { MCP_PORTS_DIR: mcpPortsDir }),
    ...further,
  };
  const config = loadConfig(readEnv(env), projectRoot);
  const run = (script: string, ...args: string[]): Promise<ScriptResult> =>
    new Promise((resolve) => {
      const program = join(projectRoot, 'dist', 'scripts', `${script}.js`);
      const settings = { cwd: projectRoot, env, timeout: scriptTimeoutMs, maxBuffer: 2 ** 26 };
      execFile(process.execPath, [program, ...args], settings, (error, out, err) => {
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), output: `${out}${err}` });
      });
    });
  const pm2 = (): Pm2 =>
    createPm2({ projectRoot, home: findPm2Home(config.paths) ?? config.paths.pm2Home, env });

  const end = async (): Promise<void> => {
    const stopped = await run('stop');
    const left = await endWhatIsLeft(config.paths.stateDir);
    const home = findPm2Home(config.paths);
    if (home !== null) rmSync(home, { recursive: true, force: true });
    rmSync(folder, { recursive: true, force: true });
    if (stopped.code !== 0) throw new Error(`npm run stop failed\n${stopped.output}`);
    if (left.length > 0) throw new Error(`processes outlived npm run stop:\n${left.join('\n')}`);
  };

  if (isStarted) {
    const { code, output } = await run('quickstart');
    if (code !== 0) {
      await end().catch(() => {});
      throw new Error(`npm run quickstart failed\n${output}`);
    }
  }
  return {
    config,
    env,
    get pm2() {
      return pm2();
    },
    origin: config.publicUrl.origin,
    apiOrigin: `http://127.0.0.1:${config.ports.api}`,
    serviceOrigin: (service) => `http://127.0.0.1:${portOf(config, service)}`,
    run,
    apps: () => pm2().list(),
    async app(name) {
      const app = (await pm2().list()).find((one) => one.name === name);
      if (app === undefined) throw new Error(`PM2 knows no ${name}`);
      return app;
    },
    setupCode: () => readFileSync(config.paths.setupCode, 'utf8').trim(),
    [Symbol.asyncDispose]: end,
  };
}

function portOf({ paths }: Config, service: string): string {
  const file = join(paths.stateDir, 'fleet-apps.json');
  if (!existsSync(file)) throw new Error('the fleet was not started');
  const { apps } = JSON.parse(readFileSync(file, 'utf8')) as {
    apps: { name: string; env: Record<string, string> }[];
  };
  const port = apps.find(({ name }) => name === `mcp-${service}`)?.env.PORT;
  if (port === undefined) throw new Error(`the fleet has no service ${service}`);
  return port;
}

/** Kills what still names the state directory, and tells what it was. */
async function endWhatIsLeft(stateDir: string): Promise<string[]> {
  const left = findProcessesWith(stateDir);
  for (const { pid } of left) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended meanwhile.
    }
  }
  await waitUntil('every process of the fleet is gone', () => left.every(({ pid }) => !isAlive(pid)), 10_000);
  return left.map(({ pid, command }) => `${pid} ${command}`);
}
