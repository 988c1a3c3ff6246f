/** What the roles of the database can do, tried as those roles and read from the catalogue (spec 05 "Postgres"; 12.11). */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Client } from 'pg';
import type { DatabasePool } from '../../backend/src/database/pool.js';
import { withUser } from '../../backend/src/database/withUser.js';
import { cloneDatabase, type TestDatabase } from '../support/testDatabase.js';
import { readOnlyForApi, tablesOfJobs } from './reviewedAccess.js';

let db: TestDatabase;
let superuser: Client;

beforeAll(async () => {
  db = await cloneDatabase();
  superuser = await db.superuser();
});
afterAll(() => db[Symbol.asyncDispose]());

/** Every table, partitions too. */
async function listTables(): Promise<string[]> {
  const { rows } = await superuser.query<{ name: string }>(
    `select relname as name from pg_class where relnamespace = 'portolan'::regnamespace and relkind in ('r', 'p', 'v', 'm')
     order by 1`,
  );
  return rows.map(({ name }) => name);
}

/** What the role was granted on tables, columns included, as `TABLE` → privileges. */
async function grantsOf(role: string): Promise<Record<string, string[]>> {
  const { rows } = await superuser.query<{ name: string; privileges: string[] }>(
    `select c.relname as name, array_agg(distinct a.privilege_type order by a.privilege_type) as privileges
     from pg_class c left join pg_attribute t on t.attrelid = c.oid,
       aclexplode(coalesce(t.attacl, c.relacl)) a
     where c.relnamespace = 'portolan'::regnamespace and a.grantee = $1::regrole and c.relkind <> 'S'
     group by 1 order by 1`,
    [role],
  );
  return Object.fromEntries(rows.map(({ name, privileges }) => [name, privileges]));
}

const trying = (pool: DatabasePool, statement: string): Promise<string> =>
  withUser(pool, { userId: null, scope: 'admin' }, (client) => client.query(statement)).then(
    () => 'done',
    (thrown: { code?: string }) => thrown.code ?? 'no code',
  );

describe('roles', () => {
  it('A03 portolan_service can read and write no table, not even by claiming to be an admin', async () => {
    const pool = db.pool('service');
    const tables = await listTables();
    expect(tables.length).toBeGreaterThan(20);
    for (const table of tables) {
      for (const statement of [
        `select from ${table}`,
        `delete from ${table}`,
        `insert into ${table} default values`,
        `truncate ${table}`,
        `lock table ${table} in access exclusive mode`,
        `copy ${table} to stdout`,
      ]) {
        const code = await trying(pool, statement);
        // What nobody can do with a view is refused for that (55000, 42809) before anybody's rights are looked at.
        const isRefused =
          code === '42501' || (!statement.startsWith('select') && /^(?:55000|42809)$/.test(code));
        expect([statement, code, isRefused]).toEqual([statement, code, true]);
      }
    }
    expect(await grantsOf('portolan_service')).toEqual({});
  });

  it('portolan_jobs has what its jobs need and no more', async () => {
    expect(await grantsOf('portolan_jobs')).toEqual(tablesOfJobs);
    const pool = db.pool('jobs');
    for (const table of await listTables()) {
      if (table in tablesOfJobs) continue;
      expect([table, await trying(pool, `select from ${table}`)]).toEqual([table, '42501']);
    }
  });

  it('H03 portolan_api empties nothing, hooks onto nothing, and only reads what others write', async () => {
    const grants = await grantsOf('portolan_api');
    const tooMuch = Object.entries(grants).filter(([, privileges]) =>
      privileges.some((one) => !['DELETE', 'INSERT', 'SELECT', 'UPDATE'].includes(one)),
    );
    expect(tooMuch).toEqual([]);
    for (const table of readOnlyForApi) expect([table, grants[table]]).toEqual([table, ['SELECT']]);
    expect(grants['audit_events']).toEqual(['INSERT', 'SELECT']);
    // Partitions are reached through their parent, whose policies hold.
    expect(Object.keys(grants).filter((name) => /_(?:default|\d{8})$/.test(name))).toEqual([]);
  });

  it('have no power beyond their grants, are members of nothing, and own nothing', async () => {
    const { rows } = await superuser.query(
      `select rolname, rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication or rolinherit as power,
         rolcanlogin,
         (select count(*)::int from pg_class c where c.relowner = r.oid)
           + (select count(*)::int from pg_proc p where p.proowner = r.oid)
           + (select count(*)::int from pg_namespace n where n.nspowner = r.oid) as owned,
         (select count(*)::int from pg_auth_members m where m.member = r.oid) as "memberOf"
       from pg_roles r where rolname like 'portolan\\_%' and rolname <> 'portolan_owner' order by 1`,
    );
    const plain = { power: false, rolcanlogin: true, owned: 0, memberOf: 0 };
    expect(rows).toEqual([
      { rolname: 'portolan_api', ...plain },
      { rolname: 'portolan_jobs', ...plain },
      { rolname: 'portolan_service', ...plain },
    ]);
    const owner = await superuser.query(
      `select rolcanlogin, rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication as power
       from pg_roles where rolname = 'portolan_owner'`,
    );
    expect(owner.rows).toEqual([{ rolcanlogin: false, power: false }]);
  });

  it('cannot become another, switch row security off, or make objects anywhere', async () => {
    for (const role of ['api', 'service', 'jobs'] as const) {
      const pool = db.pool(role);
      for (const statement of [
        'set role portolan_owner',
        'set session authorization portolan_owner',
        'alter table users disable row level security',
        'drop policy api_own on users',
        'create table portolan.mine ()',
        'create table public.mine ()',
        'create schema mine',
        'create function portolan.mine() returns int language sql return 1',
        `alter role portolan_${role} bypassrls`,
        'create role mine',
        `select pg_read_file('/etc/passwd')`,
        `copy (select 1) to program 'true'`,
      ]) {
        expect([role, statement, await trying(pool, statement)]).toEqual([role, statement, '42501']);
      }
    }
  });

  it('are refused rather than shown everything when they ask for no row security', async () => {
    await expect(
      withUser(db.pool('api'), { userId: null, scope: 'self' }, async (client) => {
        await client.query('set local row_security = off');
        return client.query('select from users');
      }),
    ).rejects.toMatchObject({ code: '42501' });
  });
});
