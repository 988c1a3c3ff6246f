/** A migrated PostgreSQL of a test's own, to be stopped, killed and stalled as it likes. */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import { readSecretFile, type Secret } from '../../backend/src/config/secrets.js';
import { toStatePaths, type DatabaseRole, type StatePaths } from '../../backend/src/config/statePaths.js';
import { prepareDatabase } from '../../backend/src/database/prepare.js';
import type { PostgresApp } from '../../backend/src/database/embeddedPostgres.js';
import { runPostgres, type RunningPostgres } from '../../backend/src/database/runPostgres.js';

export interface OwnCluster {
  readonly paths: StatePaths;
  readonly app: PostgresApp;
  url(role: DatabaseRole): Secret;
  /** @param settings of PostgreSQL's */
  start(settings?: Readonly<Record<string, string>>): Promise<RunningPostgres>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** An empty state dir that the account of PostgreSQL can enter. */
export function makeStateDir(below = tmpdir()): StatePaths {
  const stateDir = mkdtempSync(join(below, 'portolan-own-'));
  chmodSync(stateDir, 0o755);
  return toStatePaths(stateDir);
}

/** Laid and migrated, but not running; on the disk of that directory. */
export async function makeOwnCluster(below?: string): Promise<OwnCluster> {
  const paths = makeStateDir(below);
  const running: RunningPostgres[] = [];
  const remove = async (): Promise<void> => {
    await Promise.all(running.map((one) => one.stop()));
    rmSync(paths.stateDir, { recursive: true, force: true });
  };
  try {
    const { app } = await prepareDatabase(
      { projectRoot: findProjectRoot(), paths, externalDatabaseUrl: null },
      { randomBytes, log: () => {}, isThrowaway: true },
    );
    if (app === null) throw new Error('an embedded database was asked for');
    return {
      paths,
      app,
      url: (role) => readSecretFile(paths.databaseUrl(role), role),
      async start(settings = {}) {
        const one = await runPostgres(app, { fsync: 'off', ...settings });
        running.push(one);
        return one;
      },
      [Symbol.asyncDispose]: remove,
    };
  } catch (thrown) {
    await remove();
    throw thrown;
  }
}
