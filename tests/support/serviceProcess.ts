/** A universal server as the process that PM2 would run, on a database of the test's own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newJwtKeysFiles } from '../../backend/src/services/jwtKeys.js';
import type { Installation } from './installation.js';
import { projectRoot } from './universalServer.js';

export interface ServiceRun {
  readonly child: ChildProcess;
  readonly pid: number;
  /** From the start of the process to its `ready`. */
  readonly readyMs: number;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  output(): string;
}

export interface ServiceSite extends AsyncDisposable {
  readonly stateDir: string;
  readonly port: number;
  readonly origin: string;
  /** Starts the process and waits until it is ready or has ended. */
  start(
    env?: Readonly<Record<string, string>>,
    nodeArgs?: readonly string[],
    /** A command that becomes the process in the end, such as `setpriv --reuid=…`. */
    through?: readonly string[],
  ): Promise<ServiceRun>;
}

/** @param config the service's `config.json`, whose name is that of its folder. */
export async function openServiceSite(
  site: Installation,
  config: { readonly name: string },
): Promise<ServiceSite> {
  const main = join(projectRoot, 'dist/backend/src/mcp-servers/universal-mcp-server/main.js');
  if (!existsSync(main)) throw new Error('the project is not built: run npm run build');
  const stateDir = mkdtempSync(join(tmpdir(), 'service-'));
  const mcpPortsDir = join(stateDir, 'mcp-ports');
  mkdirSync(join(mcpPortsDir, config.name), { recursive: true });
  writeFileSync(join(mcpPortsDir, config.name, 'config.json'), JSON.stringify(config));
  mkdirSync(join(stateDir, 'database-urls'), { mode: 0o700 });
  writeFileSync(join(stateDir, 'database-urls', 'service'), site.db.urls.service.reveal(), { mode: 0o400 });
  writeFileSync(join(stateDir, 'keyring.json'), site.ring, { mode: 0o400 });
  writeFileSync(join(stateDir, 'jwt-public.json'), newJwtKeysFiles(randomUUID).publicText);
  const port = await freePort();
  const runs: ServiceRun[] = [];

  return {
    stateDir,
    port,
    origin: `http://127.0.0.1:${port}`,
    async start(env = {}, nodeArgs = [], through = []) {
      const startedAt = performance.now();
      const command = [...through, process.execPath, ...nodeArgs, main];
      const child = spawn(command[0] ?? '', command.slice(1), {
        env: {
          PATH: process.env['PATH'],
          PORTOLAN_STATE_DIR: stateDir,
          MCP_PORTS_DIR: mcpPortsDir,
          MCP_TYPE: config.name,
          PORT: String(port),
          METRICS_OPEN: 'true',
          ...env,
        },
        stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      });
      let output = '';
      for (const stream of [child.stdout, child.stderr])
        stream?.on('data', (chunk) => (output += String(chunk)));
      const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
        child.once('exit', (code, signal) => resolve({ code, signal }));
      });
      await Promise.race([new Promise((resolve) => child.once('message', resolve)), exited]);
      const run = {
        child,
        pid: child.pid ?? 0,
        readyMs: performance.now() - startedAt,
        exited,
        output: () => output,
      };
      runs.push(run);
      return run;
    },
    async [Symbol.asyncDispose]() {
      for (const { child, exited } of runs) {
        if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
        await exited;
      }
      rmSync(stateDir, { recursive: true, force: true });
    },
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(address !== null && typeof address === 'object' ? address.port : 0));
    });
  });
}
