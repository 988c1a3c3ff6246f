/**
 * `npm run install-packages`: fetches the npm packages of stdio services at the versions their config files pin, so that
 * no call ever waits for a download. What the project itself depends on, or what is there already, is left alone.
 *
 * Exit codes: 0 all are there; 1 one could not be installed (the others are, all the same).
 */
import { loadServices } from '../backend/src/catalog/loadServices.js';
import type { PackageReference } from '../backend/src/catalog/mcpServerDefinitions.js';
import { loadConfig, type Config } from '../backend/src/config/config.js';
import { readEnv } from '../backend/src/config/env.js';
import { findProjectRoot } from '../backend/src/config/projectRoot.js';
import { findPackageBin } from '../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/packageBin.js';
import { AppError } from '../backend/src/errors/appError.js';
import { failWith } from './failWith.js';
import { installPackage } from './packages/installPackage.js';

try {
  const config = loadConfig(readEnv(), findProjectRoot());
  process.exitCode = await installAll(config);
} catch (error) {
  failWith(error);
}

async function installAll(config: Config): Promise<number> {
  const places = { packagesDir: config.paths.packagesDir, projectRoot: config.projectRoot };
  let exitCode = 0;
  // A service that is new may not be in the lock yet: the generator runs at the same time.
  for (const { name, enabled, stdio } of loadServices(config, { allocate: true }).services) {
    const reference = stdio?.package ?? null;
    if (!enabled || stdio === null || reference === null || reference.registryType !== 'npm') continue;
    const label = `${name}: ${reference.identifier} ${reference.version}`;
    if (isThere(stdio.command, reference, places)) {
      console.log(`${label} is there`);
      continue;
    }
    try {
      await installPackage(reference, places.packagesDir);
      if (!isThere(stdio.command, reference, places)) throw new Error(`it has no command ${stdio.command}`);
      console.log(`${label} was installed`);
    } catch (error) {
      exitCode = 1;
      console.error(`${label} could not be installed: ${error instanceof Error ? error.message : 'unknown'}`);
    }
  }
  return exitCode;
}

function isThere(
  command: string,
  reference: PackageReference,
  places: Parameters<typeof findPackageBin>[2],
): boolean {
  try {
    findPackageBin(command, reference, places);
    return true;
  } catch (error) {
    if (error instanceof AppError && error.code === 'SERVICE_UNAVAILABLE') return false;
    throw error;
  }
}
