/**
 * Forward-only migrations: the SQL files of `db/migrations` in the order of their numbers, each once, all that are due in
 * one transaction, under a lock. Running it twice, or from twenty processes at once, is harmless.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from 'pg';
import { AppError } from '../errors/appError.js';
import { codeOf } from './databaseErrors.js';
import type { Queryable } from './queryable.js';
import { becomeOwner, schemaName } from './roles.js';

const undefinedFunction = '42883';

export const migrationsTable = 'migrations';

/**
 * Brings the schema up to date; answers the names of the migrations that it ran.
 * @throws AppError CONFIG_INVALID naming the migration that failed; nothing of it stays.
 */
export async function migrate(
  client: Client,
  projectRoot: string,
  log: (line: string) => void = () => {},
): Promise<string[]> {
  await becomeOwner(client);
  const complaints: string[] = [];
  const complain = (line: string): void => void complaints.push(line);
  try {
    // Loaded here only: every process asks whether the schema is new enough, one in a release migrates.
    const { runner } = await import('node-pg-migrate');
    const applied = await runner({
      dbClient: client,
      dir: join(projectRoot, 'db', 'migrations'),
      direction: 'up',
      schema: schemaName,
      migrationsTable,
      singleTransaction: true,
      advisoryLockMode: 'wait',
      logger: { debug: () => {}, info: () => {}, warn: complain, error: complain },
    });
    for (const { name } of applied) log(`migrated ${name}`);
    return applied.map(({ name }) => name);
  } catch (cause) {
    throw new AppError('CONFIG_INVALID', `migrating failed: ${complaints.join('\n')}`, { cause });
  }
}

/** The names of all migrations of this version, in order. */
export function listMigrations(projectRoot: string): string[] {
  return readdirSync(join(projectRoot, 'db', 'migrations'))
    .filter((name) => name.endsWith('.sql'))
    .map((name) => name.slice(0, -'.sql'.length))
    .sort();
}

/**
 * Whether the schema is at least that of this version; a newer one is fine, since migrations only ever add (06 R30).
 * Every role may ask, also before there is a schema.
 */
export async function isMigrated(db: Queryable, projectRoot: string): Promise<boolean> {
  const newest = listMigrations(projectRoot).at(-1);
  try {
    const { rows } = await db.query<{ version: string | null }>('select schema_version() as version');
    return newest !== undefined && (rows[0]?.version ?? '') >= newest;
  } catch (thrown) {
    if (codeOf(thrown) === undefinedFunction) return false;
    throw thrown;
  }
}
