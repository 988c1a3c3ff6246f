/**
 * Ends a program that hangs. PM2 sees a process that is there and is content; the heartbeat asks `/livez`, which answers
 * as long as the event loop turns. One that is silent is asked again at once; silent three times in a row, it is killed,
 * and PM2 starts it anew. From the hang to the kill it is at most 10 s: the pause of 3 s and a tenth, and three times 2 s;
 * the rest of the 15 s that an outage may last is for the start (R28).
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
  const { ports, listApps, kill, log, timeoutMs = 2_000, strikesMax = 3, probe = probePort } = options;

  const isHung = async (origin: string): Promise<boolean> => {
    for (let strikes = 0; strikes < strikesMax; strikes += 1) {
      const { isSilent } = await probe(`${origin}/livez`, timeoutMs);
      if (!isSilent) return false;
    }
    return true;
  };

  return async () => {
    const hung: string[] = [];
    await Promise.all(
      ports().map(async ({ program, origin }) => {
        if (await isHung(origin)) hung.push(program);
      }),
    );
    if (hung.length === 0) return;
    for (const { name, pid, status } of await listApps()) {
      // A process that starts or stops is PM2's business; a pid of 0 would mean our own group.
      if (!hung.includes(name) || status !== 'online' || pid <= 0) continue;
      log.error('a program hangs and is killed', { service: name, count: strikesMax });
      kill(pid);
    }
  };
}
