import { setTimeout as delay } from 'node:timers/promises';
import { readSecretFile } from '../../backend/src/config/secrets.js';
import type { StatePaths } from '../../backend/src/config/statePaths.js';
import { createPool, type DatabasePool } from '../../backend/src/database/pool.js';
import { AppError } from '../../backend/src/errors/appError.js';
import { readInstallKeys } from '../../backend/src/services/installKeys.js';
import { announceRegistryChange } from '../../backend/src/stores/registryNotice.js';

const openPool = (paths: StatePaths): DatabasePool =>
  createPool({
    connectionString: readSecretFile(paths.databaseUrl('api'), 'the connection string of the main API'),
    applicationName: 'portolan-setup',
    connectionsMax: 1,
  });

/** Tells the programs that services are gone; a new one tells them itself. */
export async function announceRemoval(paths: StatePaths): Promise<void> {
  await using pool = openPool(paths);
  await announceRegistryChange(pool, null);
}

/**
 * Resolves when the database answers the main API's role; it may be recovering from a crash.
 * @throws AppError DATABASE_UNAVAILABLE after the deadline
 */
export async function untilDatabaseAnswers(paths: StatePaths, deadlineMs: number): Promise<void> {
  const end = performance.now() + deadlineMs;
  await using pool = openPool(paths);
  for (;;) {
    try {
      await readInstallKeys(pool);
      return;
    } catch (error) {
      const isAway = error instanceof AppError && error.code === 'DATABASE_UNAVAILABLE';
      if (!isAway || performance.now() > end) throw error;
      await delay(50);
    }
  }
}
