/**
 * A database for one test file, or for one test: cloned from the migrated template, dropped at the end.
 *
 *   await using db = await cloneDatabase();
 *   const pool = db.pool('api');
 */
import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { readSecretFile, type Secret } from '../../backend/src/config/secrets.js';
import { toStatePaths, type DatabaseRole } from '../../backend/src/config/statePaths.js';
import { createPool, type DatabasePool, type PoolOptions } from '../../backend/src/database/pool.js';
import { databaseOf, withDatabase } from '../../backend/src/database/urlFiles.js';
import { eventMac } from '../../backend/src/vault/auditMacs.js';
import { testAuditKey } from './callAudit.js';
import { clusterVariable, readTemplateUrl } from './testCluster.js';
import { eventually } from './eventually.js';

export interface TestDatabase {
  readonly name: string;
  /** Connection strings, by role; the owner's is that of a superuser. */
  readonly urls: Readonly<Record<DatabaseRole, Secret>>;
  /** A pool of that role, closed with the database. */
  pool(role: DatabaseRole, options?: Partial<PoolOptions>): DatabasePool;
  /** A connection of the superuser's with the schema in its path, closed with the database. */
  superuser(): Promise<Client>;
  [Symbol.asyncDispose](): Promise<void>;
}

export function testStateDir(): string {
  const stateDir = process.env[clusterVariable];
  if (stateDir === undefined) throw new Error('globalSetup has not run');
  return stateDir;
}

/** @throws when the test leaves a connection open that the test database did not make: close what you opened. */
export async function cloneDatabase(): Promise<TestDatabase> {
  const stateDir = testStateDir();
  const template = readTemplateUrl(stateDir);
  const name = `test_${randomBytes(8).toString('hex')}`;
  await administer(template, (client) =>
    client.query(`create database ${name} template ${client.escapeIdentifier(databaseOf(template))}`),
  );
  const urlOf = (role: DatabaseRole): Secret =>
    withDatabase(readSecretFile(toStatePaths(stateDir).databaseUrl(role), role), name);
  const urls = { owner: urlOf('owner'), api: urlOf('api'), service: urlOf('service'), jobs: urlOf('jobs') };
  const closers: (() => Promise<void>)[] = [];

  return {
    name,
    urls,
    pool(role, options = {}) {
      const pool = createPool({
        connectionString: urls[role],
        applicationName: `test-${role}`,
        connectionsMax: 4,
        auditMac: (text) => eventMac(testAuditKey, text),
        ...options,
      });
      closers.push(() => pool.close());
      return pool;
    },
    async superuser() {
      const client = new Client({ connectionString: urls.owner.reveal() });
      // A test may terminate it.
      client.on('error', () => {});
      await client.connect();
      await client.query('set search_path = portolan, pg_temp');
      closers.push(() => client.end());
      return client;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(closers.map((close) => close()));
      await administer(template, async (client) => {
        const leftOpen = await eventually(async () => {
          const { rows } = await client.query<{ application_name: string }>(
            'select application_name from pg_stat_activity where datname = $1',
            [name],
          );
          return { isDone: rows.length === 0, value: rows.map((row) => row.application_name) };
        });
        await client.query(`drop database ${name} with (force)`);
        if (leftOpen.length > 0)
          throw new Error(`connections left open to the test database: ${leftOpen.join(', ')}`);
      });
    },
  };
}

async function administer(template: Secret, work: (client: Client) => Promise<unknown>): Promise<void> {
  const client = new Client({ connectionString: withDatabase(template, 'postgres').reveal() });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
