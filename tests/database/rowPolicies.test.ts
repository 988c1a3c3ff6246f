/** Who may read and write what, held against the catalogue, so that a new table cannot be forgotten. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Client } from 'pg';
import type { DatabasePool } from '../../backend/src/database/pool.js';
import { withUser, type UserScope } from '../../backend/src/database/withUser.js';
import type { User } from '../../backend/src/stores/usersStore.js';
import { anInstance, aUser } from '../support/rows.js';
import { insertRowsOf, listOwnedTables, type OwnedTable } from '../support/rowsOfAUser.js';
import { cloneDatabase, type TestDatabase } from '../support/testDatabase.js';

let db: TestDatabase;
let superuser: Client;
let api: DatabasePool;
let alice: User;
let bob: User;
let tables: OwnedTable[];

beforeAll(async () => {
  db = await cloneDatabase();
  superuser = await db.superuser();
  api = db.pool('api');
  alice = await aUser(api);
  bob = await aUser(api);
  for (const owner of [alice, bob]) {
    const { instance } = await anInstance(api, { owner });
    await insertRowsOf(superuser, { userId: owner.id, instanceId: instance.id, sessionId: randomUUID() });
  }
  tables = await listOwnedTables(superuser);
});
afterAll(() => db[Symbol.asyncDispose]());

/** What the transaction of any user may read, though a user is named in it. */
const readByAll: Readonly<Record<string, string>> = {
  service_settings: 'what an admin set for a service, with who set it; the secrets in it are sealed',
};

const self = (user: User): UserScope => ({ userId: user.id, scope: 'self' });

/** The number of rows, or the code of the error. */
const rowsOrCode = (work: Promise<{ rowCount: number | null }>): Promise<number | string | null> =>
  work.then(
    ({ rowCount }) => rowCount,
    (thrown: { code?: string }) => thrown.code ?? 'no code',
  );

const tried = (statement: string, scope: UserScope): Promise<number | string | null> =>
  rowsOrCode(withUser(api, scope, (client) => client.query(statement)));

/** Of all rows of Bob's, unread: what nobody may change. */
async function digestOfBobs(): Promise<Record<string, string>> {
  const digests: Record<string, string> = {};
  for (const { name, isTheirs } of tables) {
    const { rows } = await superuser.query<{ digest: string }>(
      `select md5(coalesce(string_agg(${name}::text, '|' order by ${name}::text), '')) as digest
       from ${name} where ${isTheirs}`,
      [bob.id],
    );
    digests[name] = rows[0]!.digest;
  }
  return digests;
}

describe('row policies', () => {
  it('A03 are tried on every table with something of a user: each has a row of his', async () => {
    for (const { name, isTheirs } of tables) {
      const { rowCount } = await superuser.query(`select from ${name} where ${isTheirs}`, [bob.id]);
      // A new table wants a row in tests/support/rowsOfAUser.ts.
      expect([name, (rowCount ?? 0) > 0]).toEqual([name, true]);
    }
    expect(tables.length).toBeGreaterThanOrEqual(14);
  });

  it('A03 never let two users meet: reading, in every table', async () => {
    for (const { name, isTheirs } of tables) {
      if (name in readByAll) continue;
      const seen = await rowsOrCode(
        withUser(api, self(alice), (client) =>
          client.query(`select from ${name} where ${isTheirs}`, [bob.id]),
        ),
      );
      expect([name, [0, '42501'].includes(seen as never)]).toEqual([name, true]);
    }
  });

  it('A03 never let two users meet: changing, deleting and planting, in every table', async () => {
    const before = await digestOfBobs();
    for (const { name, isTheirs, userColumns } of tables) {
      const [column = 'instance_id'] = userColumns;
      for (const statement of [
        `update ${name} set ${column} = ${column} where ${isTheirs}`,
        `delete from ${name} where ${isTheirs}`,
      ]) {
        const touched = await rowsOrCode(
          withUser(api, self(alice), (client) => client.query(statement, [bob.id])),
        );
        // Either the role may not do it at all, or the policy hides the row.
        expect([name, statement, [0, '42501'].includes(touched as never)]).toEqual([name, statement, true]);
      }
      const { rows } = await superuser.query<object>(`select * from ${name} where ${isTheirs}`, [bob.id]);
      const planted = await rowsOrCode(
        withUser(api, self(alice), (client) =>
          client.query(`insert into ${name} select * from jsonb_populate_record(null::${name}, $1)`, [
            JSON.stringify({ ...rows[0], id: randomUUID() }),
          ]),
        ),
      );
      expect([name, planted]).toEqual([name, '42501']);
    }
    expect(await digestOfBobs()).toEqual(before);
  });

  it('A03 let nobody give away what is theirs', async () => {
    for (const { name, userColumns } of tables) {
      for (const column of userColumns) {
        const given = await rowsOrCode(
          withUser(api, self(alice), (client) =>
            client.query(`update ${name} set ${column} = $2 where ${column} = $1`, [alice.id, bob.id]),
          ),
        );
        expect([name, column, given === '42501' || given === 0]).toEqual([name, column, true]);
      }
    }
  });

  it('show nothing at all when no user is set', async () => {
    for (const { name, isTheirs } of tables) {
      if (name in readByAll) continue;
      const seen = await rowsOrCode(api.query(`select from ${name} where ${isTheirs}`, [bob.id]));
      expect([name, [0, '42501'].includes(seen as never)]).toEqual([name, true]);
    }
  });

  it('let no transaction of a user add, change or delete the data key of the system', async () => {
    await superuser.query(
      `insert into data_keys (id, kek_id, wrapped) values ($1, 'k1', '\\x00') on conflict do nothing`,
      [randomUUID()],
    );
    expect(await tried('select from data_keys where user_id is null', self(alice))).toBe(1);
    expect(await tried('delete from data_keys where user_id is null', self(alice))).toBe(0);
    expect(
      await tried('update data_keys set revision = revision + 1 where user_id is null', self(alice)),
    ).toBe(0);
    expect(
      await tried(
        `insert into data_keys (id, kek_id, wrapped) values (gen_random_uuid(), 'k1', '\\x00')`,
        self(alice),
      ),
    ).toBe('42501');
    expect(
      await tried('update data_keys set revision = revision + 1 where user_id is null', {
        userId: alice.id,
        scope: 'admin',
      }),
    ).toBe(1);
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
});
