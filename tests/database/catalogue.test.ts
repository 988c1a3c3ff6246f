/**
 * The schema held against its own catalogue, table by table and function by function, so that nothing that is added can be
 * forgotten (spec 05 "Postgres"; A03). What was looked at and found needed is in `reviewedAccess.ts`.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Client } from 'pg';
import { cloneDatabase, type TestDatabase } from '../support/testDatabase.js';
import { listOwnedTables } from '../support/rowsOfAUser.js';
import { callableBy, openToApi, uniqueOverAll, viewsThatMayRunAsOwner } from './reviewedAccess.js';

let db: TestDatabase;
let superuser: Client;

beforeAll(async () => {
  db = await cloneDatabase();
  superuser = await db.superuser();
});
afterAll(() => db[Symbol.asyncDispose]());

/** The first column of the answer. */
const list = async (sql: string, values: unknown[] = []): Promise<string[]> =>
  (await superuser.query<{ name: string }>(sql, values)).rows.map(({ name }) => name);

const ours = `relnamespace = 'portolan'::regnamespace`;
const logins = `'portolan_api', 'portolan_service', 'portolan_jobs'`;

describe('every table', () => {
  it('A03 has row security, forced on its owner too, partitions like their parents', async () => {
    const open = await list(
      `select relname as name from pg_class where ${ours} and relkind in ('r', 'p')
         and not (relrowsecurity and relforcerowsecurity) order by 1`,
    );
    expect(open).toEqual([]);
    const secured = await list(`select relname as name from pg_class where ${ours} and relforcerowsecurity`);
    expect(secured.length).toBeGreaterThan(20);
  });

  it('A03 is owned by portolan_owner, who has a policy to reach it', async () => {
    expect(
      await list(
        `select relname as name from pg_class where ${ours} and relkind in ('r', 'p', 'v', 'm', 'S')
           and relowner <> 'portolan_owner'::regrole order by 1`,
      ),
    ).toEqual([]);
    expect(
      await list(
        `select relname as name from pg_class c where ${ours} and relkind in ('r', 'p') and not exists (
           select from pg_policy p where p.polrelid = c.oid and 'portolan_owner'::regrole = any (p.polroles)
         ) order by 1`,
      ),
    ).toEqual([]);
  });

  it('A03 has policies for named roles only, none for everybody, and none that is permissive by lack of a condition', async () => {
    expect(
      await list(
        `select c.relname || '.' || p.polname as name from pg_policy p join pg_class c on c.oid = p.polrelid
         where c.${ours} and (0 = any (p.polroles) or exists (
           select from unnest(p.polroles) r where r::regrole::text not in ('portolan_owner', ${logins})))`,
      ),
    ).toEqual([]);
    const open = await list(
      `select distinct c.relname as name from pg_policy p join pg_class c on c.oid = p.polrelid
       where c.${ours} and 'portolan_api'::regrole = any (p.polroles)
         and (pg_get_expr(p.polqual, p.polrelid) = 'true' or pg_get_expr(p.polwithcheck, p.polrelid) = 'true')
       order by 1`,
    );
    expect(open).toEqual(openToApi);
    const owned = new Set((await listOwnedTables(superuser)).map(({ name }) => name));
    // What an admin set for a service names that admin.
    expect(open.filter((name) => owned.has(name))).toEqual(['service_settings']);
    // A policy of a service process would say that it reads tables.
    expect(
      await list(
        `select c.relname as name from pg_policy p join pg_class c on c.oid = p.polrelid
         where 'portolan_service'::regrole = any (p.polroles)`,
      ),
    ).toEqual([]);
  });

  it('A03 says nothing of others by a unique index over all users', async () => {
    const owned = (await listOwnedTables(superuser)).map(({ name }) => name);
    // Unguessable: a uuid, or a digest of 32 bytes; narrowed to the user: it has a column that names one.
    const telling = await list(
      `select i.relname as name from pg_index x
         join pg_class i on i.oid = x.indexrelid join pg_class c on c.oid = x.indrelid
       where c.${ours} and c.relname = any ($1) and x.indisunique and not exists (
         select from unnest(x.indkey) k join pg_attribute a on a.attrelid = c.oid and a.attnum = k
         where a.atttypid in ('uuid'::regtype, 'bytea'::regtype) or a.attname ~ '(^|_)user_id$'
       ) order by 1`,
      [owned],
    );
    expect(telling.toSorted()).toEqual(Object.keys(uniqueOverAll).toSorted());
  });
});

describe('every view', () => {
  it('A03 reads as whoever asks it, so that the row policies bind it', async () => {
    const leaking = await list(
      `select relname as name from pg_class where ${ours} and (
         relkind = 'm' or (relkind = 'v' and not coalesce('security_invoker=true' = any (reloptions), false))
       ) order by 1`,
    );
    expect(leaking).toEqual(Object.keys(viewsThatMayRunAsOwner));
  });
});

describe('every function', () => {
  it('is callable by the roles that were reviewed for it, and by nobody else', async () => {
    const { rows } = await superuser.query<{ name: string; roles: string[] }>(
      `select p.proname as name, array(
         select replace(r.rolname, 'portolan_', '') from pg_roles r
         where r.rolname in (${logins}) and has_function_privilege(r.oid, p.oid, 'execute')
         order by array_position(array[${logins}], r.rolname::text)
       ) as roles
       from pg_proc p where p.pronamespace = 'portolan'::regnamespace and p.prorettype <> 'trigger'::regtype order by 1`,
    );
    const found: Record<string, string[]> = {};
    for (const { name, roles } of rows) {
      if (roles.length === 0) continue;
      // Functions of one name are looked at as one.
      found[name] = [...new Set([...(found[name] ?? []), ...roles])];
    }
    expect(found).toEqual(callableBy);
  });

  it('is closed to the public; a trigger function is called by its trigger only', async () => {
    expect(
      await list(
        `select p.proname as name from pg_proc p where p.pronamespace = 'portolan'::regnamespace and exists (
           select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0)`,
      ),
    ).toEqual([]);
    expect(
      await list(
        `select p.proname as name from pg_proc p, (values (${logins.split(', ').join('), (')})) r (role)
         where p.pronamespace = 'portolan'::regnamespace and p.prorettype = 'trigger'::regtype
           and has_function_privilege(r.role::name, p.oid, 'execute')`,
      ),
    ).toEqual([]);
  });

  it('that runs as its owner has its search_path pinned, and belongs to portolan_owner', async () => {
    expect(
      await list(
        `select p.proname as name from pg_proc p where p.pronamespace = 'portolan'::regnamespace and (
           p.proowner <> 'portolan_owner'::regrole
           or p.prosecdef and not coalesce('search_path=portolan, pg_temp' = any (p.proconfig), false))`,
      ),
    ).toEqual([]);
    expect(
      (
        await list(
          `select proname as name from pg_proc where prosecdef and pronamespace = 'portolan'::regnamespace`,
        )
      ).length,
    ).toBeGreaterThan(20);
  });
});

describe('the schema', () => {
  it('gives the public nothing: no table, column, sequence, type default or schema', async () => {
    expect(
      await list(
        `select c.relname as name from pg_class c, aclexplode(c.relacl) a where c.${ours} and a.grantee = 0
         union all
         select c.relname || '.' || t.attname from pg_attribute t join pg_class c on c.oid = t.attrelid,
           aclexplode(t.attacl) a where c.${ours} and a.grantee = 0
         union all
         select n.nspname from pg_namespace n, aclexplode(n.nspacl) a
         where n.nspname = 'portolan' and a.grantee = 0`,
      ),
    ).toEqual([]);
  });

  it('lets no role but its owner create anything in it, or give on what it was given', async () => {
    expect(
      await list(
        `select r.rolname as name from pg_roles r where r.rolname in (${logins})
           and has_schema_privilege(r.oid, 'portolan', 'create')`,
      ),
    ).toEqual([]);
    expect(
      await list(
        `select c.relname as name from pg_class c, aclexplode(c.relacl) a
         where c.${ours} and a.is_grantable and a.grantee <> c.relowner`,
      ),
    ).toEqual([]);
  });
});
