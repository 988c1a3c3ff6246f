/**
 * Revives what PM2 gave up on (`errored`), with a pause that doubles from 5 s to 5 min for each app, and shows PM2's
 * processes as metrics. What an operator stopped stays stopped.
 */
import type { Pm2App } from '../supervisor/pm2.js';
import type { Logger } from '../telemetry/logger.js';
import type { MonitorMetrics } from '../telemetry/metrics.js';

export interface RevivalOptions {
  readonly listApps: () => Promise<readonly Pm2App[]>;
  /** Starts an app of the fleet again. */
  readonly start: (name: string) => Promise<void>;
  readonly metrics: Pick<
    MonitorMetrics,
    'processUp' | 'processMemoryBytes' | 'processCpu' | 'processRestarts' | 'forgetProcess'
  >;
  readonly log: Logger;
  /** Monotonic, in ms. */
  readonly now?: () => number;
  readonly pauseMsMin?: number;
}

const pauseMsMax = 300_000;
/** Online for this long, an app has recovered, and the next failure is a new one. */
const recoveredMs = 60_000;

/** One look at PM2; run it again and again. */
export function createRevival(options: RevivalOptions): () => Promise<void> {
  const { listApps, start, metrics, log, now = () => performance.now(), pauseMsMin = 5_000 } = options;
  const tries = new Map<string, { pauseMs: number; nextAt: number; lastAt: number }>();
  let shown = new Set<string>();

  return async () => {
    const apps = await listApps();
    showAll(apps);
    for (const { name, status } of apps) {
      const earlier = tries.get(name);
      if (status === 'online' && earlier !== undefined && now() - earlier.lastAt > recoveredMs)
        tries.delete(name);
      if (status !== 'errored' || (earlier !== undefined && now() < earlier.nextAt)) continue;
      const pauseMs = Math.min((earlier?.pauseMs ?? pauseMsMin / 2) * 2, pauseMsMax);
      tries.set(name, { pauseMs, nextAt: now() + pauseMs, lastAt: now() });
      log.error('PM2 gave a program up; it is started again', { service: name });
      await start(name).catch((error: unknown) => {
        log.error('a program could not be started again', { service: name, error });
      });
    }
  };

  function showAll(apps: readonly Pm2App[]): void {
    for (const { name, status, memoryBytes, cpuPercent, restarts } of apps) {
      metrics.processUp(name).set(status === 'online' ? 1 : 0);
      metrics.processMemoryBytes(name).set(memoryBytes);
      metrics.processCpu(name).set(cpuPercent / 100);
      metrics.processRestarts(name).set(restarts);
    }
    const names = new Set(apps.map(({ name }) => name));
    for (const name of shown) if (!names.has(name)) metrics.forgetProcess(name);
    shown = names;
  }
}
