/** Who may read and write what, held against the catalogue, so that a new table cannot be forgotten. */
import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Client } from 'pg';
import type { DatabasePool } from '../../backend/src/database/pool.js';
import { withUser, type UserScope } from '../../backend/src/database/withUser.js';
import type { User } from '../../backend/src/stores/usersStore.js';
import { anInstance, aUser } from '../support/rows.js';
import { cloneDatabase, type TestDatabase } from '../support/testDatabase.js';

let db: TestDatabase;
let superuser: Client;
let api: DatabasePool;
let alice: User;
let bob: User;

beforeAll(async () => {
  db = await cloneDatabase();
  superuser = await db.superuser();
  api = db.pool('api');
  alice = await aUser(api);
  bob = await aUser(api);
  for (const owner of [alice, bob]) {
    const { instance } = await anInstance(api, { owner });
    const session = randomUUID();
    const day = new Date(Date.now() + 86_400_000);
    const rows: [string, unknown[]][] = [
      ['login_sessions (id, user_id, expires_at) values ($1, $2, $3)', [session, owner.id, day]],
      [
        'refresh_tokens (id, session_id, user_id, digest, expires_at) values ($1, $2, $3, $4, $5)',
        [randomUUID(), session, owner.id, randomBytes(32), day],
      ],
      [
        `api_keys (id, user_id, name, hint, digest) values ($1, $2, 'key', 'ptk', $3)`,
        [randomUUID(), owner.id, randomBytes(32)],
      ],
      [
        `last_known_lists (instance_id, kind, user_id, body) values ($1, 'tools', $2, '{}')`,
        [instance.id, owner.id],
      ],
      [
        `oauth_sign_ins (id, user_id, session_id, service, label, method, state_digest, browser_digest, expires_at)
         values ($1, $2, $3, 'figma', 'default', 'sign-in', $4, $5, $6)`,
        [randomUUID(), owner.id, session, randomBytes(32), randomBytes(32), day],
      ],
      [
        `audit_events (id, actor_kind, actor_id, subject_user_id, action, outcome)
         values ($1, 'user', $2, $2, 'test', 'success')`,
        [randomUUID(), owner.id],
      ],
      [
        `audit_calls (occurred_at, call_id, phase, user_id, service, method, spool_id, spool_position)
         values (now(), $1, 'intent', $2, 'figma', 'tools/call', 's', 1)`,
        [randomUUID(), owner.id],
      ],
    ];
    for (const [insert, values] of rows) await superuser.query(`insert into ${insert}`, values);
  }
});
afterAll(() => db[Symbol.asyncDispose]());

/** Every table of ours, partitions left out, with the column that says whose a row is. */
async function listTables(): Promise<{ name: string; owner: string | null; isForced: boolean }[]> {
  const { rows } = await superuser.query<{ name: string; owner: string | null; isForced: boolean }>(
    `select c.relname as name, c.relrowsecurity and c.relforcerowsecurity as "isForced",
       case when c.relname = 'users' then 'id' when c.relname = 'audit_events' then 'subject_user_id'
         else (select a.attname from pg_attribute a where a.attrelid = c.oid and a.attname = 'user_id') end as owner
     from pg_class c where c.relnamespace = 'portolan'::regnamespace and c.relkind in ('r', 'p')
       and not c.relispartition order by 1`,
  );
  return rows;
}

const self = (user: User): UserScope => ({ userId: user.id, scope: 'self' });

describe('row policies', () => {
  it('A03 are forced on every table that holds something of a user', async () => {
    const owned = (await listTables()).filter(({ owner }) => owner !== null);
    expect(owned.map(({ name }) => name)).toEqual([
      'api_keys',
      'audit_calls',
      'audit_events',
      'data_keys',
      'instances',
      'last_known_lists',
      'login_sessions',
      'oauth_sign_ins',
      'refresh_tokens',
      'users',
    ]);
    expect(owned.filter(({ isForced }) => !isForced)).toEqual([]);
  });

  it('A03 never let two users meet: reading, in every table', async () => {
    for (const { name, owner } of await listTables()) {
      if (owner === null) continue;
      const seen = await withUser(api, self(alice), (client) =>
        client.query<{ owner: string | null }>(`select ${owner} as owner from ${name}`),
      );
      const owners = new Set(seen.rows.map((row) => row.owner));
      expect([name, [...owners]]).toEqual([name, [alice.id]]);
    }
  });

  it('A03 never let two users meet: changing, deleting and planting, in every table', async () => {
    for (const { name, owner } of await listTables()) {
      if (owner === null) continue;
      const before = await superuser.query(`select * from ${name} where ${owner} = $1`, [bob.id]);
      for (const statement of [
        `update ${name} set ${owner} = ${owner} where ${owner} = $1`,
        `delete from ${name} where ${owner} = $1`,
      ]) {
        const touched = await withUser(api, self(alice), (client) => client.query(statement, [bob.id])).then(
          ({ rowCount }) => rowCount,
          (thrown: { code?: string }) => thrown.code,
        );
        // Either the role may not do it at all, or the policy hides the row.
        expect([name, statement, [0, '42501'].includes(touched as never)]).toEqual([name, statement, true]);
      }
      const planted = await withUser(api, self(alice), (client) =>
        client.query(`insert into ${name} select * from jsonb_populate_record(null::${name}, $1)`, [
          JSON.stringify({ ...before.rows[0], id: randomUUID() }),
        ]),
      ).catch((thrown: { code?: string }) => thrown.code);
      expect([name, planted]).toEqual([name, '42501']);
      const after = await superuser.query(`select * from ${name} where ${owner} = $1`, [bob.id]);
      expect(after.rows).toEqual(before.rows);
    }
  });

  it('show nothing at all when no user is set', async () => {
    for (const { name, owner } of await listTables()) {
      if (owner === null) continue;
      const { rowCount } = await api.query(`select from ${name} where ${owner} is not null`);
      expect([name, rowCount]).toEqual([name, 0]);
    }
  });

  it('let an admin see users and instances, and no refresh credential', async () => {
    await withUser(api, { userId: alice.id, scope: 'admin' }, async (client) => {
      expect((await client.query('select from users')).rowCount).toBe(2);
      expect((await client.query('select from instances')).rowCount).toBe(2);
      expect((await client.query('select from refresh_tokens where user_id = $1', [bob.id])).rowCount).toBe(
        0,
      );
    });
  });

  it('let an auditor read everybody in the audits and nothing else', async () => {
    await withUser(api, { userId: alice.id, scope: 'auditor' }, async (client) => {
      expect((await client.query('select from audit_events')).rowCount).toBe(2);
      expect((await client.query('select from audit_calls')).rowCount).toBe(2);
      expect((await client.query('select from instances')).rowCount).toBe(1);
      expect((await client.query('select from users')).rowCount).toBe(1);
    });
  });

  it('B10 B11 let nobody raise their own role, revive themselves or make themselves a user', async () => {
    const refused = { code: '42501' };
    for (const change of [
      `role = 'admin'`,
      `status = 'disabled'`,
      'deleted_at = now()',
      'id = gen_random_uuid()',
    ]) {
      await expect(
        withUser(api, self(alice), (client) =>
          client.query(`update users set ${change} where id = $1`, [alice.id]),
        ),
      ).rejects.toMatchObject(refused);
    }
    const id = randomUUID();
    await expect(
      withUser(api, { userId: id, scope: 'self' }, (client) =>
        client.query(
          `insert into users (id, email, role, password_hash) values ($1, 'eve@example.test', 'admin', 'x')`,
          [id],
        ),
      ),
    ).rejects.toMatchObject(refused);
  });

  it('let nobody name another as the actor of what is audited', async () => {
    await expect(
      withUser(api, self(alice), (client) =>
        client.query(
          `insert into audit_events (id, actor_kind, actor_id, action, outcome)
           values ($1, 'user', $2, 'forged', 'success')`,
          [randomUUID(), bob.id],
        ),
      ),
    ).rejects.toMatchObject({ code: '42501' });
  });
});

describe('roles', () => {
  it('H03 cannot change, delete or empty an audit', async () => {
    for (const role of ['api', 'service', 'jobs'] as const) {
      const pool = db.pool(role);
      for (const table of ['audit_events', 'audit_calls', 'audit_events_default', 'audit_calls_default']) {
        for (const statement of [
          `update ${table} set service = 'x'`,
          `delete from ${table}`,
          `truncate ${table}`,
          `drop table ${table}`,
        ]) {
          await expect(
            withUser(pool, { userId: null, scope: 'admin' }, (client) => client.query(statement)),
          ).rejects.toMatchObject({ code: '42501' });
        }
      }
    }
    expect((await superuser.query('select from audit_calls')).rowCount).toBe(2);
  });

  it('portolan_service can read and write no table, not even by claiming to be an admin', async () => {
    const pool = db.pool('service');
    const tables = [...(await listTables()).map(({ name }) => name), 'audit_calls_default'];
    for (const table of tables) {
      for (const statement of [
        `select * from ${table}`,
        `delete from ${table}`,
        `insert into ${table} default values`,
      ]) {
        await expect(
          withUser(pool, { userId: alice.id, scope: 'admin' }, (client) => client.query(statement)),
        ).rejects.toMatchObject({ code: '42501' });
      }
    }
  });

  it('portolan_service may call these functions and no other', async () => {
    const { rows } = await superuser.query<{ name: string }>(
      `select p.proname as name from pg_proc p where p.pronamespace = 'portolan'::regnamespace
         and has_function_privilege('portolan_service', p.oid, 'execute') order by 1`,
    );
    expect(rows.map(({ name }) => name)).toEqual([
      'app_scope',
      'app_user_id',
      'begin_oauth_renewal',
      'fail_oauth_renewal',
      'finish_oauth_renewal',
      'forget_era_verdict',
      'forget_spool',
      'mark_instances_used',
      'read_era_verdict',
      'read_last_list',
      'read_service_settings',
      'read_system_data_keys',
      'read_system_keys',
      'record_instance_state',
      'resolve_instance',
      'resolve_instance_by_id',
      'ring_heartbeat',
      'schema_version',
      'ship_call_audit',
      'spool_position',
      'store_era_verdict',
      'store_last_list',
    ]);
  });

  it('have no power beyond their grants, and own nothing', async () => {
    const { rows } = await superuser.query(
      `select rolname, rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication or rolinherit as power,
         rolcanlogin, (select count(*)::int from pg_class c where c.relowner = r.oid) as owned
       from pg_roles r where rolname like 'portolan\\_%' and rolname <> 'portolan_owner' order by 1`,
    );
    const plain = { power: false, rolcanlogin: true, owned: 0 };
    expect(rows).toEqual([
      { rolname: 'portolan_api', ...plain },
      { rolname: 'portolan_jobs', ...plain },
      { rolname: 'portolan_service', ...plain },
    ]);
    const owner = await superuser.query(`select rolcanlogin from pg_roles where rolname = 'portolan_owner'`);
    expect(owner.rows).toEqual([{ rolcanlogin: false }]);
  });

  it('find every SECURITY DEFINER function with its search_path pinned, and none open to the public', async () => {
    const { rows } = await superuser.query<{ name: string }>(
      `select p.proname as name from pg_proc p where p.pronamespace = 'portolan'::regnamespace and (
         p.prosecdef and not coalesce('search_path=portolan, pg_temp' = any (p.proconfig), false)
         or exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0))`,
    );
    expect(rows).toEqual([]);
  });
});
