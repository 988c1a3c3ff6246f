import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { Client } from 'pg';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import type { Secret } from '../../backend/src/config/secrets.js';
import { isMigrated, listMigrations, migrate } from '../../backend/src/database/migrate.js';
import { ensureRoles } from '../../backend/src/database/roles.js';
import { withDatabase } from '../../backend/src/database/urlFiles.js';
import { dumpMigratedSchema } from '../../scripts/schema/dumpSchema.js';
import { findDebianPostgres, startTemporaryPostgres } from '../../scripts/schema/temporaryPostgres.js';
import { readTemplateUrl } from '../support/testCluster.js';
import { cloneDatabase, testStateDir } from '../support/testDatabase.js';

const projectRoot = findProjectRoot();
const all = listMigrations(projectRoot);

/** An empty database on the run's server. */
async function withEmptyDatabase(work: (url: Secret) => Promise<void>): Promise<void> {
  const server = withDatabase(readTemplateUrl(testStateDir()), 'postgres');
  const name = `empty_${process.pid}_${Math.trunc(performance.now())}`;
  await withClient(server, (client) => client.query(`create database ${name}`));
  try {
    await work(withDatabase(server, name));
  } finally {
    await withClient(server, (client) => client.query(`drop database ${name} with (force)`));
  }
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

describe('migrations', () => {
  it('run once, in order; run again they do nothing', async () => {
    await withEmptyDatabase((url) =>
      withClient(url, async (client) => {
        expect(await isMigrated(client, projectRoot)).toBe(false);
        await ensureRoles(client);
        expect(await isMigrated(client, projectRoot)).toBe(false);
        expect(await migrate(client, projectRoot)).toEqual(all);
        expect(await isMigrated(client, projectRoot)).toBe(true);
        expect(await migrate(client, projectRoot)).toEqual([]);
        await ensureRoles(client);
        const { rows } = await client.query<{ name: string }>(
          'select name from portolan.migrations order by id',
        );
        expect(rows.map(({ name }) => name)).toEqual(all);
      }),
    );
  });

  it('are harmless from 20 processes at once: one runs them, the others find them done', async () => {
    await withEmptyDatabase(async (url) => {
      const program = `
        import pg from 'pg';
        import { migrate } from './dist/backend/src/database/migrate.js';
        import { ensureRoles } from './dist/backend/src/database/roles.js';
        const client = new pg.Client({ connectionString: process.env.TARGET });
        await client.connect();
        process.stdout.write('ready');
        process.stdin.once('data', async () => {
          await ensureRoles(client);
          process.stdout.write(JSON.stringify(await migrate(client, '.')));
          await client.end();
          process.stdin.destroy();
        });`;
      const children = Array.from({ length: 20 }, () => {
        const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
          cwd: projectRoot,
          env: { ...process.env, TARGET: url.reveal() },
          stdio: ['pipe', 'pipe', 'inherit'],
        });
        let output = '';
        const ready = new Promise<void>((resolve) => {
          child.stdout.setEncoding('utf8').on('data', (text: string) => {
            output += text;
            if (output.startsWith('ready')) resolve();
          });
        });
        const done = once(child, 'close').then(([code]) => ({ code, said: output.slice('ready'.length) }));
        return { child, ready, done };
      });
      await Promise.all(children.map(({ ready, done }) => Promise.race([ready, done])));
      for (const { child } of children) child.stdin.write('go');
      const outcomes = await Promise.all(children.map(({ done }) => done));
      expect(outcomes.filter(({ code }) => code !== 0)).toEqual([]);
      const said = outcomes.map((outcome) => outcome.said).sort();
      expect(said).toEqual([JSON.stringify(all), ...Array.from({ length: 19 }, () => '[]')].sort());
      await withClient(url, async (client) => {
        const { rowCount } = await client.query('select from portolan.migrations');
        expect(rowCount).toBe(all.length);
      });
    });
  }, 60_000);

  it('leave nothing behind when one of them fails, and name it', async () => {
    const copy = mkdtempSync(join(tmpdir(), 'portolan-migrations-'));
    try {
      mkdirSync(join(copy, 'db'));
      cpSync(join(projectRoot, 'db', 'migrations'), join(copy, 'db', 'migrations'), { recursive: true });
      writeFileSync(
        join(copy, 'db', 'migrations', '999999_broken.sql'),
        'create table half ();\nselect from nowhere;\n',
      );
      await withEmptyDatabase((url) =>
        withClient(url, async (client) => {
          await ensureRoles(client);
          await expect(migrate(client, copy)).rejects.toMatchObject({
            code: 'CONFIG_INVALID',
            message: expect.stringContaining('nowhere'),
          });
          const { rows } = await client.query<{ name: string }>(
            `select relname as name from pg_class where relnamespace = 'portolan'::regnamespace and relkind = 'r'`,
          );
          expect(rows.map(({ name }) => name)).toEqual(['migrations']);
          expect(await migrate(client, projectRoot)).toEqual(all);
        }),
      );
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  });

  it('R30 a newer schema serves this version, an older one does not', async () => {
    await using db = await cloneDatabase();
    const service = db.pool('service');
    expect(await isMigrated(service, projectRoot)).toBe(true);
    const superuser = await db.superuser();
    await superuser.query(`insert into migrations (name, run_on) values ('999999_from_the_future', now())`);
    expect(await isMigrated(service, projectRoot)).toBe(true);
    await superuser.query(`delete from migrations where name >= $1`, [all.at(-1)]);
    expect(await isMigrated(service, projectRoot)).toBe(false);
  });
});

const debian = findDebianPostgres();
if (debian === null)
  console.warn('SKIPPED: PostgreSQL 15 of Debian is not installed (apt install postgresql-15)');

(debian === null ? describe.skip : describe)('PostgreSQL 15', () => {
  it('db/schema.sql is what the migrations make (PostgreSQL 15)', async () => {
    await using server = await startTemporaryPostgres(debian!);
    const dumped = await dumpMigratedSchema(server.url, debian!, projectRoot);
    expect(dumped).toBe(readFileSync(join(projectRoot, 'db', 'schema.sql'), 'utf8'));
  });
});
