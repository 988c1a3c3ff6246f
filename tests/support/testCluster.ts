/**
 * The PostgreSQL of a test run: an embedded cluster in a temporary directory, or the server that `DATABASE_URL` names.
 * It holds one migrated template, from which every test file clones its own database.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import { readSecretFile, Secret } from '../../backend/src/config/secrets.js';
import { toStatePaths } from '../../backend/src/config/statePaths.js';
import { layEmbeddedPostgres } from '../../backend/src/database/embeddedPostgres.js';
import { prepareDatabase } from '../../backend/src/database/prepare.js';
import { runPostgres, type RunningPostgres } from '../../backend/src/database/runPostgres.js';
import { databaseOf, withDatabase } from '../../backend/src/database/urlFiles.js';

/** Names the state dir of the run's PostgreSQL in the environment of the workers. */
export const clusterVariable = 'PORTOLAN_TEST_CLUSTER';

export interface TestCluster extends AsyncDisposable {
  /** Where the connection strings of the template lie. */
  readonly stateDir: string;
  /** The postmaster's pid; null for a server that is not ours. */
  readonly pid: number | null;
}

/** Nothing in a test has to outlive a power failure. */
const careless = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' };

export async function startTestCluster(externalUrl: string | undefined): Promise<TestCluster> {
  const projectRoot = findProjectRoot();
  const stateDir = mkdtempSync(join(tmpdir(), 'portolan-test-'));
  chmodSync(stateDir, 0o755);
  const paths = toStatePaths(stateDir);
  const options = { randomBytes, log: () => {}, isThrowaway: true };
  let running: RunningPostgres | null = null;
  let templateUrl: string | null = null;
  const remove = async (): Promise<void> => {
    if (templateUrl !== null) await dropTemplate(templateUrl);
    await running?.stop();
    rmSync(stateDir, { recursive: true, force: true });
  };
  try {
    if (externalUrl === undefined) {
      running = await runPostgres(layEmbeddedPostgres({ projectRoot, paths, ...options }), careless);
      await prepareDatabase({ projectRoot, paths, externalDatabaseUrl: null }, options);
    } else {
      templateUrl = await makeTemplate(externalUrl);
      await prepareDatabase({ projectRoot, paths, externalDatabaseUrl: templateUrl }, options);
    }
  } catch (thrown) {
    await remove();
    throw thrown;
  }
  return { stateDir, pid: running?.pid ?? null, [Symbol.asyncDispose]: remove };
}

/** A database of our own on a server that others use too. */
async function makeTemplate(externalUrl: string): Promise<string> {
  const name = `portolan_test_${randomBytes(6).toString('hex')}`;
  const client = new Client({ connectionString: externalUrl });
  await client.connect();
  await client.query(`create database ${name}`);
  await client.end();
  return withDatabase(new Secret(externalUrl), name).reveal();
}

async function dropTemplate(templateUrl: string): Promise<void> {
  const client = new Client({ connectionString: withDatabase(new Secret(templateUrl), 'postgres').reveal() });
  await client.connect();
  const name = client.escapeIdentifier(databaseOf(new Secret(templateUrl)));
  await client.query(`drop database if exists ${name} with (force)`);
  await client.end();
}

/** The template's connection string for its owner. */
export function readTemplateUrl(stateDir: string): Secret {
  return readSecretFile(toStatePaths(stateDir).databaseUrl('owner'), 'the test database');
}
