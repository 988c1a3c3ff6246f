import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Queryable } from '../../backend/src/database/queryable.js';
import { withUser } from '../../backend/src/database/withUser.js';
import { cloneDatabase, type TestDatabase } from '../support/testDatabase.js';

let db: TestDatabase;
beforeAll(async () => {
  db = await cloneDatabase();
});
afterAll(() => db[Symbol.asyncDispose]());

const readSettings = async (client: Queryable) => {
  const { rows } = await client.query<{ user: string | null; scope: string | null }>(
    `select current_setting('app.user_id', true) as user, current_setting('app.scope', true) as scope`,
  );
  return rows[0]!;
};

const write = (client: Queryable) =>
  client.query(`insert into rate_limits (key, points) values ('rolled-back', 1)`);

describe('withUser', () => {
  it('leaves nothing of a user on the connection, after a commit, an error and a broken statement', async () => {
    const pool = db.pool('api', { connectionsMax: 1 });
    const userId = randomUUID();
    const alice = { userId, scope: 'admin' } as const;
    expect(await withUser(pool, alice, readSettings)).toEqual({ user: userId, scope: 'admin' });
    expect(await readSettings(pool)).toEqual({ user: '', scope: '' });

    await expect(
      withUser(pool, alice, async () => {
        throw new Error('changed my mind');
      }),
    ).rejects.toThrow('changed my mind');
    expect(await readSettings(pool)).toEqual({ user: '', scope: '' });

    await expect(withUser(pool, alice, (client) => client.query('select 1/0'))).rejects.toThrow('division');
    expect(await readSettings(pool)).toEqual({ user: '', scope: '' });
    expect(pool.counts()).toEqual({ total: 1, idle: 1, waiting: 0 });
  });

  it('keeps a hundred interleaved users apart on three connections', async () => {
    const pool = db.pool('api', { connectionsMax: 3 });
    const users = Array.from({ length: 100 }, () => randomUUID());
    const seen = await Promise.all(
      users.map((userId) => withUser(pool, { userId, scope: 'self' }, readSettings)),
    );
    expect(seen.map(({ user }) => user)).toEqual(users);
  });

  it('runs for nobody when there is no user', async () => {
    const seen = await withUser(db.pool('api'), { userId: null, scope: 'self' }, readSettings);
    expect(seen).toEqual({ user: '', scope: 'self' });
  });

  it('refuses a user id that could be SQL', async () => {
    const pool = db.pool('api');
    const wrong = { userId: `${randomUUID()}', true); drop table users; --`, scope: 'self' } as const;
    expect(() => withUser(pool, wrong, readSettings)).toThrow('no uuid');
  });

  it('rolls back all of what failed', async () => {
    const pool = db.pool('api');
    await expect(
      withUser(pool, { userId: null, scope: 'self' }, async (client) => {
        await write(client);
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    const { rowCount } = await pool.query(`select from rate_limits where key = 'rolled-back'`);
    expect(rowCount).toBe(0);
  });

  it('lets nothing be written when it is read-only', async () => {
    const pool = db.pool('api');
    await expect(
      withUser(
        pool,
        { userId: null, scope: 'self' },
        (client) => client.query(`insert into rate_limits (key, points) values ('x', 1)`),
        { readOnly: true },
      ),
    ).rejects.toThrow('read-only transaction');
  });
});
