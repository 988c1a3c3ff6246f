/** What every command about the fleet begins with: the configuration, and the PM2 that belongs to its state directory. */
import { loadConfig, type Config } from '../../backend/src/config/config.js';
import { readCallerEnv, readEnv } from '../../backend/src/config/env.js';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import { createPm2, type Pm2 } from '../../backend/src/supervisor/pm2.js';
import { findPm2Home } from '../../backend/src/supervisor/pm2Home.js';

export function readConfig(): Config {
  return loadConfig(readEnv(), findProjectRoot());
}

/** The fleet's PM2; null when this state directory has none, so that nothing can be running. */
export function findPm2(config: Config): Pm2 | null {
  const home = findPm2Home(config.paths);
  return home === null ? null : createPm2({ projectRoot: config.projectRoot, home, env: readCallerEnv() });
}
