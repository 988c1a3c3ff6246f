/**
 * A universal server as PM2 runs it: a process of its own from `dist/`, told what it needs by its environment.
 *
 *   await using notes = await startServiceProcess({ stateDir, mcpPortsDir, service: 'notes', port });
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import { waitUntil } from './eventually.js';

export interface ServiceProcess extends AsyncDisposable {
  readonly pid: number;
  readonly port: number;
  /** What it wrote to its standard streams. */
  output(): string;
}

export async function startServiceProcess(wish: {
  readonly stateDir: string;
  readonly mcpPortsDir: string;
  readonly service: string;
  readonly port: number;
}): Promise<ServiceProcess> {
  const projectRoot = findProjectRoot();
  const program = join(projectRoot, 'dist/backend/src/mcp-servers/universal-mcp-server/main.js');
  const child = spawn(process.execPath, [program], {
    cwd: projectRoot,
    env: {
      PATH: process.env['PATH'],
      PORTOLAN_STATE_DIR: wish.stateDir,
      MCP_PORTS_DIR: wish.mcpPortsDir,
      MCP_TYPE: wish.service,
      PORT: String(wish.port),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: string[] = [];
  child.stdout.on('data', (chunk: Buffer) => lines.push(chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => lines.push(chunk.toString()));
  const exited = once(child, 'exit');
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    await exited;
  };
  try {
    await waitUntil(
      `mcp-${wish.service} is ready`,
      async () => {
        if (child.exitCode !== null) throw new Error(`it ended: ${lines.join('')}`);
        const answer = await fetch(`http://127.0.0.1:${wish.port}/readyz`).catch(() => null);
        await answer?.body?.cancel();
        return answer?.status === 200;
      },
      20_000,
    );
  } catch (error) {
    await stop();
    throw new Error(`mcp-${wish.service} did not start: ${lines.join('')}`, { cause: error });
  }
  return {
    pid: child.pid ?? 0,
    port: wish.port,
    output: () => lines.join(''),
    [Symbol.asyncDispose]: stop,
  };
}
