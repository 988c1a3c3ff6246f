/**
 * What should run: `ecosystem.config.js` as it loads on this machine, written down as one JSON file for PM2, with a
 * digest for each app that tells whether what runs is still that.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Config } from '../../backend/src/config/config.js';
import { replaceFile } from '../setup/secretFiles.js';

export interface DesiredApp {
  readonly name: string;
  /** Where its `/health` answers; null for PostgreSQL. */
  readonly healthUrl: string | null;
  /** Changes with its settings, its service's configuration and the build. */
  readonly digest: string;
}

export interface DesiredFleet {
  readonly apps: readonly DesiredApp[];
  /** Where `writeFleetFile` puts the configuration for PM2. */
  readonly file: string;
  readonly text: string;
}

export const postgresAppName = 'postgres';

/** The committed configuration, or, for another `MCP_PORTS_DIR`, the one in the state directory. */
export function ecosystemFileOf(config: Config): string {
  const isDefault = config.mcpPortsDir === join(config.projectRoot, 'mcp-ports');
  return join(isDefault ? config.projectRoot : config.paths.stateDir, 'ecosystem.config.js');
}

/** Loads the configuration in this process's environment. */
export function readDesiredFleet(config: Config): DesiredFleet {
  const load = createRequire(import.meta.url);
  const { apps } = load(ecosystemFileOf(config)) as { apps: (PlainApp & Record<string, unknown>)[] };
  return {
    file: join(config.paths.stateDir, 'fleet-apps.json'),
    text: `${JSON.stringify({ apps }, null, 2)}\n`,
    apps: apps.map((app) => ({
      name: app.name,
      healthUrl: toHealthUrl(app, config),
      digest: toDigest(app, config),
    })),
  };
}

/** Paths and ports; no secret is in it. */
export function writeFleetFile({ file, text }: DesiredFleet): void {
  replaceFile(file, 0o600, text);
}

interface PlainApp {
  readonly name: string;
  readonly env?: Readonly<Record<string, string>>;
}

function toHealthUrl({ name, env = {} }: PlainApp, { ports, hosts }: Config): string | null {
  switch (name) {
    case postgresAppName:
      return null;
    case 'main-api':
      return healthUrlOf(hosts.api, ports.api);
    case 'front':
      return healthUrlOf(hosts.front, ports.front);
    case 'health-monitor':
      return healthUrlOf(hosts.service, ports.monitor);
    default:
      return healthUrlOf(hosts.service, Number(env.PORT));
  }
}

/** A program that listens on every address answers on the loopback too. */
function healthUrlOf(host: string, port: number): string {
  return `http://${host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host}:${port}/health`;
}

function toDigest(app: PlainApp, { projectRoot, mcpPortsDir, paths }: Config): string {
  const digest = createHash('sha256').update(JSON.stringify(app));
  if (app.name !== postgresAppName) digest.update(readIfThere(join(projectRoot, 'dist', '.built-from')));
  const service = app.env?.MCP_TYPE;
  if (service !== undefined) {
    digest.update(readIfThere(join(mcpPortsDir, service, 'config.json')));
    digest.update(readIfThere(paths.serviceEnv));
  }
  return digest.digest('hex');
}

function readIfThere(path: string): string {
  return existsSync(path) ? `\0${readFileSync(path, 'utf8')}` : '\0';
}
