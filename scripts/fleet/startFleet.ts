/**
 * Brings what runs to what should run: starts what is missing, reloads what changed, removes what is gone, and leaves
 * alone what is as it should be. PostgreSQL comes first, because every program asks it something at its start.
 */
import type { Config } from '../../backend/src/config/config.js';
import { postgresAppName, writeFleetFile, type DesiredApp, type DesiredFleet } from './desiredApps.js';
import { announceRemoval, untilDatabaseAnswers } from './databaseReady.js';
import { waitForHealth, type HealthTarget } from './health.js';
import { endOrphanPostgres } from './orphanPostgres.js';
import { findTakenPorts, portVariableOf } from './ports.js';
import type { Pm2, Pm2App } from '../../backend/src/supervisor/pm2.js';
import { readRunningDigests, writeRunningDigests, type Digests } from './runningDigests.js';

export interface Plan {
  readonly start: readonly string[];
  readonly reload: readonly string[];
  readonly remove: readonly string[];
}

export interface StartFleetOptions {
  readonly config: Config;
  readonly pm2: Pm2;
  readonly fleet: DesiredFleet;
  readonly deadlineMs: number;
  readonly log: (line: string) => void;
}

export type StartOutcome =
  | { readonly kind: 'running'; readonly plan: Plan }
  | {
      readonly kind: 'ports-taken';
      readonly taken: readonly { name: string; url: string; variable: string }[];
    }
  | { readonly kind: 'unhealthy'; readonly programs: readonly { name: string; detail: string }[] };

/** What has to be done; nothing when all of it runs from the same settings. */
export function planChanges(
  desired: readonly DesiredApp[],
  running: readonly Pm2App[],
  startedFrom: Digests,
): Plan {
  const up = new Set(running.filter(isUp).map(({ name }) => name));
  const wanted = new Set(desired.map(({ name }) => name));
  const missing = desired.filter(({ name }) => !up.has(name));
  const changed = desired.filter(({ name, digest }) => up.has(name) && startedFrom[name] !== digest);
  return {
    start: missing.map(({ name }) => name),
    reload: changed.map(({ name }) => name),
    remove: [...new Set(running.map(({ name }) => name))].filter((name) => !wanted.has(name)),
  };
}

export async function startFleet(options: StartFleetOptions): Promise<StartOutcome> {
  const { config, pm2, fleet, deadlineMs, log } = options;
  writeFleetFile(fleet);
  const plan = planChanges(fleet.apps, await pm2.list(), readRunningDigests(config.paths));
  const targets = fleet.apps.flatMap(({ name, healthUrl }): HealthTarget[] =>
    healthUrl === null ? [] : [{ name, url: healthUrl }],
  );
  const taken = await findTakenPorts(targets.filter(({ name }) => plan.start.includes(name)));
  if (taken.length > 0) {
    return {
      kind: 'ports-taken',
      taken: taken.map((one) => ({ ...one, variable: portVariableOf(one.name) })),
    };
  }

  await pm2.remove(plan.remove);
  if (plan.start.includes(postgresAppName)) {
    const orphan = await endOrphanPostgres(config.paths);
    if (orphan !== 0) log(`ended PostgreSQL ${orphan}, which had outlived its PM2`);
    await pm2.start(fleet.file, [postgresAppName]);
  }
  const acting = act(options, plan);
  let hasFailed = false;
  acting.catch(() => (hasFailed = true));

  const touched = new Set([...plan.start, ...plan.reload]);
  const unhealthy = await waitForHealth(targets, {
    deadlineMs,
    onHealthy: (name, afterMs) => {
      if (touched.has(name)) log(`${name} is healthy after ${(afterMs / 1000).toFixed(1)} s`);
    },
    findLost: async () => {
      if (hasFailed) return targets.map(({ name }) => name);
      return (await pm2.list()).filter(isGivenUp).map(({ name }) => name);
    },
  });
  if (!hasFailed && unhealthy.length > 0) return { kind: 'unhealthy', programs: unhealthy };
  await acting;
  const digests = fleet.apps.map(({ name, digest }) => [name, digest] as const);
  writeRunningDigests(config.paths, Object.fromEntries(digests));
  return { kind: 'running', plan };
}

async function act({ config, pm2, fleet }: StartFleetOptions, plan: Plan): Promise<void> {
  if (!plan.reload.every(isProgram)) await pm2.reload(fleet.file, [postgresAppName]);
  if (fleet.apps.some(({ name }) => !isProgram(name))) {
    await untilDatabaseAnswers(config.paths, databaseDeadlineMs);
  }
  await pm2.start(fleet.file, plan.start.filter(isProgram));
  await pm2.reload(fleet.file, plan.reload.filter(isProgram));
  if (plan.remove.some((name) => name.startsWith('mcp-'))) await announceRemoval(config.paths);
}

const isProgram = (name: string): boolean => name !== postgresAppName;
const databaseDeadlineMs = 60_000;
const isUp = ({ status }: Pm2App): boolean => status === 'online' || status === 'launching';
const isGivenUp = ({ status }: Pm2App): boolean => status === 'errored' || status === 'stopped';
