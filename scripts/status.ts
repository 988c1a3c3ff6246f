/**
 * `npm run status [-- --json]`: every program of the fleet, what PM2 knows of it and what its port answers.
 * Exit codes: 0 all healthy; 1 something is not, or nothing runs.
 */
import { Command } from 'commander';
import { failWith } from './failWith.js';
import { readDesiredFleet } from './fleet/desiredApps.js';
import { askHealth } from './fleet/health.js';
import { findPm2, readConfig } from './fleet/openFleet.js';
import type { Pm2App } from '../backend/src/supervisor/pm2.js';

interface Row {
  readonly app: string;
  readonly pid: number | null;
  readonly status: string;
  readonly restarts: number;
  readonly memoryMb: number;
  readonly uptimeSeconds: number;
  readonly port: number | null;
  readonly health: 'healthy' | 'unhealthy' | null;
  /** How a stdio service keeps its children apart. */
  readonly isolation: string | null;
}

const command = new Command('status')
  .description('Shows the fleet of this state directory.')
  .option('--json', 'print a JSON list')
  .parse();

try {
  const rows = await readRows();
  if (command.opts<{ json?: true }>().json === true) console.log(JSON.stringify(rows, null, 2));
  else console.log(toTable(rows));
  const isUp = ({ status, health }: Row): boolean => status === 'online' && health !== 'unhealthy';
  process.exitCode = rows.every(isUp) ? 0 : 1;
} catch (error) {
  failWith(error);
}

/** What should run and what does; a program that is gone from the configuration but runs is listed too. */
async function readRows(): Promise<Row[]> {
  const config = readConfig();
  const running = new Map(((await findPm2(config)?.list()) ?? []).map((app) => [app.name, app]));
  const urls = new Map(readDesiredFleet(config).apps.map(({ name, healthUrl }) => [name, healthUrl]));
  const names = [...new Set([...urls.keys(), ...running.keys()])];
  return await Promise.all(names.map((name) => toRow(name, running.get(name), urls.get(name) ?? null)));
}

async function toRow(name: string, app: Pm2App | undefined, url: string | null): Promise<Row> {
  const isUp = app?.status === 'online';
  const answer = url === null || !isUp ? null : await askHealth(url);
  return {
    app: name,
    pid: app === undefined || app.pid === 0 ? null : app.pid,
    status: app?.status ?? 'not started',
    restarts: app?.restarts ?? 0,
    memoryMb: Math.round((app?.memoryBytes ?? 0) / 2 ** 20),
    uptimeSeconds: app !== undefined && isUp ? Math.round((Date.now() - app.startedAtMs) / 1000) : 0,
    port: url === null ? null : Number(new URL(url).port),
    health: answer === null ? null : answer.isHealthy ? 'healthy' : 'unhealthy',
    isolation: answer?.isolation ?? null,
  };
}

function toTable(rows: readonly Row[]): string {
  const head = ['app', 'pid', 'status', 'restarts', 'memory', 'port', 'health', 'isolation'];
  const cells = rows.map((row) => [
    row.app,
    String(row.pid ?? '-'),
    row.status,
    String(row.restarts),
    `${row.memoryMb} MB`,
    String(row.port ?? '-'),
    row.health ?? '-',
    row.isolation?.split(':')[0] ?? '-',
  ]);
  const widths = head.map((title, at) =>
    Math.max(title.length, ...cells.map((line) => line[at]?.length ?? 0)),
  );
  const toLine = (line: readonly string[]): string =>
    line
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd();
  return [head, ...cells].map(toLine).join('\n');
}
