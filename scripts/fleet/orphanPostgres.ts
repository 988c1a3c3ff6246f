/**
 * A PostgreSQL that outlived its PM2: no program hears of a supervisor's SIGKILL that does not talk to it. It holds the
 * data directory, so it is ended (fast shutdown) before the next PM2 starts its own.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StatePaths } from '../../backend/src/config/statePaths.js';
import { readPostgresApp } from '../../backend/src/database/embeddedPostgres.js';
import { isAlive, readPid, untilGone } from '../../backend/src/supervisor/processes.js';

/** Answers the pid that it ended, or 0 when there was none. */
export async function endOrphanPostgres(paths: StatePaths): Promise<number> {
  const app = readPostgresApp(paths.postgresApp);
  if (app === null) return 0;
  const pid = readPid(join(app.dataDir, 'postmaster.pid'));
  if (!isAlive(pid) || !isPostgresOf(pid, app.dataDir)) return 0;
  process.kill(pid, 'SIGINT');
  await untilGone(pid, 20_000);
  return pid;
}

/** The pid may have gone to another program since; where there is no /proc to ask, the file is believed. */
function isPostgresOf(pid: number, dataDir: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(dataDir);
  } catch {
    return process.platform !== 'linux';
  }
}
