/**
 * The schema that the migrations make, as PostgreSQL 15's pg_dump tells it: `db/schema.sql`. It is for reading and for
 * seeing what a migration changes; nothing is ever restored from it.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { Client } from 'pg';
import type { Secret } from '../../backend/src/config/secrets.js';
import { migrate } from '../../backend/src/database/migrate.js';
import { ensureRoles, schemaName } from '../../backend/src/database/roles.js';
import { passwordOf, withDatabase } from '../../backend/src/database/urlFiles.js';

const header = '-- Made by `npm run dump-schema`; do not edit. A test holds it to the migrations.\n';

/** Migrates a new database on that server and dumps its schema, without what differs from run to run. */
export async function dumpMigratedSchema(
  server: Secret,
  binDir: string,
  projectRoot: string,
): Promise<string> {
  const name = 'portolan_schema';
  await withClient(server, (client) => client.query(`create database ${name}`));
  const database = withDatabase(server, name);
  await withClient(database, async (client) => {
    await ensureRoles(client);
    await migrate(client, projectRoot);
  });
  return header + dump(database, binDir);
}

function dump(database: Secret, binDir: string): string {
  const password = passwordOf(database);
  const { status, stdout, stderr } = spawnSync(
    join(binDir, 'pg_dump'),
    // The password travels in the environment: arguments can be read by everybody on the machine.
    ['--schema-only', `--schema=${schemaName}`, `--dbname=${database.reveal().replace(/:[^:@/]*@/, '@')}`],
    { encoding: 'utf8', env: { PGPASSWORD: password.reveal(), PATH: '/usr/bin:/bin' } },
  );
  if (status !== 0) throw new Error(`pg_dump failed: ${stderr.trim()}`);
  return `${stdout
    .split('\n')
    .filter((line) => !/^(--.*|SET .*|SELECT pg_catalog\.set_config.*|\\(un)?restrict .*)$/.test(line))
    .join('\n')
    .replaceAll(/\n{3,}/g, '\n\n')
    .trim()}\n`;
}

async function withClient<T>(url: Secret, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url.reveal() });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
