/**
 * Ends a program that hangs. PM2 sees a process that is there and is content; the heartbeat asks `/livez`, which answers
 * as long as the event loop turns. Silent three times in a row, the process is killed, and PM2 starts it anew (R28).
 */
import type { Logger } from '../telemetry/logger.js';
import type { Pm2App } from '../supervisor/pm2.js';
import { probePort, type ProbeResult } from './portProbe.js';
import type { WatchedPort } from './watchedPorts.js';

export interface HangWatchOptions {
  readonly ports: () => readonly WatchedPort[];
  /** What PM2 runs at this moment. */
  readonly listApps: () => Promise<readonly Pm2App[]>;
  readonly kill: (pid: number) => void;
  readonly log: Logger;
  readonly timeoutMs?: number;
  readonly strikesMax?: number;
  readonly probe?: (url: string, timeoutMs: number) => Promise<ProbeResult>;
}

/** One heartbeat; run it every 3 s. */
export function createHangWatch(options: HangWatchOptions): () => Promise<void> {
  const { ports, listApps, kill, log, timeoutMs = 2_500, strikesMax = 3, probe = probePort } = options;
  const strikes = new Map<string, number>();

  return async () => {
    const hung: string[] = [];
    await Promise.all(
      ports().map(async ({ program, origin }) => {
        const { isSilent } = await probe(`${origin}/livez`, timeoutMs);
        const count = isSilent ? (strikes.get(program) ?? 0) + 1 : 0;
        if (count === 0) strikes.delete(program);
        else strikes.set(program, count);
        if (count >= strikesMax) hung.push(program);
      }),
    );
    if (hung.length === 0) return;
    for (const { name, pid, status } of await listApps()) {
      // A process that starts or stops is PM2's business; a pid of 0 would mean our own group.
      if (!hung.includes(name) || status !== 'online' || pid <= 0) continue;
      log.error('a program hangs and is killed', { service: name, count: strikesMax });
      kill(pid);
    }
    for (const program of hung) strikes.delete(program);
  };
}
