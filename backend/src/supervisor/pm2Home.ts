/**
 * Where the project's own PM2 lives: `<state>/pm2`, unless its sockets would not fit there. A Unix socket's path has
 * room for 107 bytes; with a longer state directory `<state>/pm2` is a link to a short directory of ours under the
 * system's temporary one, so that every program finds it again.
 */
import { lstatSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StatePaths } from '../config/statePaths.js';

const pathBytesMax = 100;
const longestSocketName = 'interactor.sock';

/** The directory behind `<state>/pm2`, or null when there is none (yet, or since the machine cleared its temporary files). */
export function findPm2Home(paths: Pick<StatePaths, 'pm2Home'>): string | null {
  try {
    return realpathSync(paths.pm2Home);
  } catch {
    return null;
  }
}

/**
 * Finds or makes the PM2 home, 0700.
 * @throws Error when what lies there is not a directory of this user's alone.
 */
export function ensurePm2Home(paths: Pick<StatePaths, 'pm2Home'>, temporary = tmpdir()): string {
  const found = findPm2Home(paths);
  if (found !== null) return requireOwn(found);
  if (lstatSync(paths.pm2Home, { throwIfNoEntry: false }) !== undefined) rmSync(paths.pm2Home);
  if (Buffer.byteLength(join(paths.pm2Home, longestSocketName)) <= pathBytesMax) {
    mkdirSync(paths.pm2Home, { mode: 0o700 });
  } else {
    symlinkSync(mkdtempSync(join(temporary, 'portolan-pm2-')), paths.pm2Home);
  }
  return realpathSync(paths.pm2Home);
}

function requireOwn(home: string): string {
  const { uid, mode } = statSync(home);
  if (uid !== process.getuid?.() || (mode & 0o022) !== 0) {
    throw new Error(
      `${home} holds PM2's sockets and must belong to this user alone; stop the fleet and remove it`,
    );
  }
  return home;
}
