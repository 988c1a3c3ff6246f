/**
 * Removes the private directories of instances that were deleted: what a service kept there is gone with the instance
 * (03, `$instance`). A directory goes only when the database says that its instance was deleted; one that the database
 * has never heard of stays, since it may be another database's.
 */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DatabasePool } from '../database/pool.js';
import { withUser } from '../database/withUser.js';
import { findDeletedInstances } from '../stores/retentionStore.js';
import type { Job } from './scheduler.js';

/** The children of a revoked instance are gone in 2 s; this is long after. */
const settleMs = 15_000;
const batchSize = 1_000;
const uuidForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function removeInstanceData(options: {
  /** Role `portolan_api`. */
  readonly pool: DatabasePool;
  readonly instanceDataDir: string;
  readonly everyMs?: number;
  readonly olderThanMs?: number;
}): Job {
  const { pool, instanceDataDir, everyMs = 60_000, olderThanMs = settleMs } = options;
  return {
    name: 'remove-instance-data',
    everyMs,
    async run(signal) {
      const names = (await listNames(instanceDataDir)).filter((name) => uuidForm.test(name));
      for (let from = 0; from < names.length && !signal.aborted; from += batchSize) {
        const batch = names.slice(from, from + batchSize);
        const deleted = await withUser(
          pool,
          { userId: null, scope: 'admin' },
          (db) => findDeletedInstances(db, batch, olderThanMs),
          { readOnly: true },
        );
        for (const id of deleted) await rm(join(instanceDataDir, id), { recursive: true, force: true });
      }
    },
  };
}

async function listNames(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    // No service has kept anything yet.
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}
