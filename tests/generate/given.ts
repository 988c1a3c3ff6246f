/** The generator run as an admin runs it, and its result loaded as PM2 loads it. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { PortsFolder } from '../catalog/given.js';

export const root = join(import.meta.dirname, '..', '..');

export interface LoadedApp {
  readonly name: string;
  readonly script: string;
  readonly exec_mode: string;
  readonly env: Record<string, string>;
  readonly [setting: string]: unknown;
}

export interface Run {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs the generator as an admin does, on a folder of its own. */
export function generate(
  ports: PortsFolder,
  args: readonly string[] = [],
  env: Record<string, string> = {},
): Run {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(root, 'dist', 'scripts', 'generate-pm2-config.js'), ...args],
    {
      encoding: 'utf8',
      cwd: ports.dir,
      env: {
        PATH: process.env.PATH,
        MCP_PORTS_DIR: ports.dir,
        PORTOLAN_STATE_DIR: join(ports.dir, '.state'),
        ...env,
      },
    },
  );
  return { code: status, out: stdout, err: stderr };
}

export const ecosystemOf = (ports: PortsFolder): string => join(ports.dir, '.state', 'ecosystem.config.js');

/** What is on disk, to see that nothing changed. */
export function snapshot(ports: PortsFolder): Record<string, unknown> {
  const files = readdirSync(ports.dir, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  return Object.fromEntries(
    files.map(({ parentPath, name }) => {
      const path = join(parentPath, name);
      return [
        path,
        { text: readFileSync(path, 'utf8'), at: statSync(path).mtimeMs, inode: statSync(path).ino },
      ];
    }),
  );
}

/** Loads the file in a Node of its own, as PM2 does. */
export function loadEcosystem(file: string, env: Record<string, string> = {}): LoadedApp[] {
  const { stdout, status, stderr } = spawnSync(
    process.execPath,
    ['-e', `process.stdout.write(JSON.stringify(require(${JSON.stringify(file)}).apps))`],
    { encoding: 'utf8', env: { PATH: process.env.PATH, ...env } },
  );
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as LoadedApp[];
}

export function loadApps(ports: PortsFolder, env: Record<string, string> = {}): LoadedApp[] {
  return loadEcosystem(ecosystemOf(ports), { PORTOLAN_STATE_DIR: join(ports.dir, '.state'), ...env });
}
