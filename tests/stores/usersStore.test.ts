import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DatabasePool } from '../../backend/src/database/pool.js';
import type { Queryable } from '../../backend/src/database/queryable.js';
import { withUser } from '../../backend/src/database/withUser.js';
import {
  createApiKey,
  findApiKey,
  listApiKeys,
  revokeApiKey,
} from '../../backend/src/stores/apiKeysStore.js';
import {
  acceptInvite,
  createInvite,
  deleteInvite,
  listOpenInvites,
} from '../../backend/src/stores/invitesStore.js';
import { deleteDataKeysOfUser } from '../../backend/src/stores/keysStore.js';
import {
  checkSession,
  listSessions,
  openSession,
  recordReauthentication,
  revokeSessionsOfUser,
  rotateRefreshToken,
} from '../../backend/src/stores/sessionsStore.js';
import {
  countActiveAdminsForUpdate,
  createFirstAdmin,
  createUser,
  deleteUser,
  findLogin,
  findPasswordHash,
  findUser,
  hasAdmin,
  listUsers,
  setPasswordHash,
  updateUser,
  type User,
} from '../../backend/src/stores/usersStore.js';
import { aUser } from '../support/rows.js';
import { cloneDatabase, type TestDatabase } from '../support/testDatabase.js';

let db: TestDatabase;
let api: DatabasePool;
beforeAll(async () => {
  db = await cloneDatabase();
  api = db.pool('api', { connectionsMax: 20 });
});
afterAll(() => db[Symbol.asyncDispose]());

const asAdmin = <T>(work: (client: Queryable) => Promise<T>): Promise<T> =>
  withUser(api, { userId: null, scope: 'admin' }, work);
const as = <T>(user: { id: string }, work: (client: Queryable) => Promise<T>): Promise<T> =>
  withUser(api, { userId: user.id, scope: 'self' }, work);
const inAnHour = () => new Date(Date.now() + 3_600_000);

describe('users', () => {
  it('B09 of 20 parallel first-admin set-ups exactly one succeeds', async () => {
    expect(await hasAdmin(api)).toBe(false);
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        withUser(api, { userId: null, scope: 'self' }, (client) =>
          createFirstAdmin(client, { id: randomUUID(), email: `admin${n}@example.test`, passwordHash: 'h' }),
        ),
      ),
    );
    expect(outcomes.filter(Boolean)).toHaveLength(1);
    expect(await hasAdmin(api)).toBe(true);
    expect(await asAdmin((client) => countActiveAdminsForUpdate(client))).toBe(1);
  });

  it('are found for sign-in by email in any case, without a user being set', async () => {
    const user = await aUser(api, { email: 'Ada@Example.test' });
    expect(await findLogin(api, 'ada@EXAMPLE.test')).toEqual({
      id: user.id,
      role: 'user',
      status: 'active',
      passwordHash: '$argon2id$test',
    });
    expect(await findLogin(api, 'nobody@example.test')).toBeNull();
    await expect(aUser(api, { email: 'ADA@example.test' })).rejects.toMatchObject({ code: 'CONFLICT' });
  });

  it('I04 two admins changing one user: the second is told', async () => {
    const user = await aUser(api);
    const change = (displayName: string) =>
      asAdmin((client) => updateUser(client, user.id, { version: user.version, displayName }));
    const outcomes = await Promise.all([change('One'), change('Two')]);
    expect(outcomes.filter((one) => one !== null)).toHaveLength(1);
  });

  it('are listed a page at a time, each once', async () => {
    for (let n = 0; n < 5; n += 1) await aUser(api);
    const seen: string[] = [];
    let page: User[] = [];
    do {
      const last = page.at(-1);
      page = await asAdmin((client) =>
        listUsers(client, { limit: 2, ...(last === undefined ? {} : { after: last }) }),
      );
      seen.push(...page.map(({ id }) => id));
    } while (page.length === 2);
    const { rows } = await (await db.superuser()).query<{ id: string }>('select id from users');
    expect([...seen].sort()).toEqual(rows.map(({ id }) => id).sort());
  });

  it('G09 deleted leave neither email nor password nor key, and the address is free', async () => {
    const user = await aUser(api, { email: 'gone@example.test' });
    await asAdmin(async (client) => {
      expect(await deleteDataKeysOfUser(client, user.id)).toBe(1);
      expect(await deleteUser(client, user.id)).toBe(true);
      expect(await deleteUser(client, user.id)).toBe(false);
      expect(await findUser(client, user.id)).toBeNull();
    });
    expect(await findLogin(api, 'gone@example.test')).toBeNull();
    await aUser(api, { email: 'gone@example.test' });
  });

  it('change and check their own password', async () => {
    const user = await aUser(api);
    expect(await as(user, (client) => setPasswordHash(client, user.id, 'new hash'))).toBe(true);
    expect(await as(user, (client) => findPasswordHash(client, user.id))).toBe('new hash');
  });
});

const aRefresh = () => ({ id: randomUUID(), digest: randomBytes(32), expiresAt: inAnHour() });

const open = async (user: User, refresh = aRefresh()) => {
  const id = randomUUID();
  await as(user, (client) =>
    openSession(client, {
      id,
      userId: user.id,
      userAgent: 'x'.repeat(500),
      expiresAt: inAnHour(),
      refresh,
    }),
  );
  return { id, refresh };
};

describe('login sessions', () => {
  it('B04 end with log-out or a changed password, refresh credentials and all', async () => {
    const user = await aUser(api);
    const [one, two] = [await open(user), await open(user)];
    expect(await checkSession(api, one.id)).toMatchObject({
      userId: user.id,
      role: 'user',
      isRevoked: false,
    });
    expect(await as(user, (client) => listSessions(client, user.id))).toHaveLength(2);
    expect(await as(user, (client) => revokeSessionsOfUser(client, user.id, two.id))).toBe(1);
    expect(await checkSession(api, one.id)).toMatchObject({ isRevoked: true });
    expect(await rotateRefreshToken(api, one.refresh.digest, aRefresh())).toEqual({
      kind: 'refused',
      reason: 'revoked',
    });
    expect(await checkSession(api, two.id)).toMatchObject({ isRevoked: false });
    expect(await checkSession(api, randomUUID())).toBeNull();
  });

  it('B05 a refresh credential used twice ends the family', async () => {
    const user = await aUser(api);
    const session = await open(user);
    const next = aRefresh();
    expect(await rotateRefreshToken(api, session.refresh.digest, next)).toMatchObject({
      kind: 'rotated',
      userId: user.id,
      sessionId: session.id,
    });
    expect(await rotateRefreshToken(api, session.refresh.digest, aRefresh())).toEqual({
      kind: 'reused',
      userId: user.id,
      sessionId: session.id,
    });
    expect(await rotateRefreshToken(api, next.digest, aRefresh())).toEqual({
      kind: 'refused',
      reason: 'revoked',
    });
    expect(await checkSession(api, session.id)).toMatchObject({ isRevoked: true });
  });

  it('B05 of ten parallel refreshes one wins, and the others end the family', async () => {
    const user = await aUser(api);
    const session = await open(user);
    const outcomes = await Promise.all(
      Array.from({ length: 10 }, () => rotateRefreshToken(api, session.refresh.digest, aRefresh())),
    );
    const kinds = outcomes.map(({ kind }) => kind).sort();
    expect(kinds.filter((kind) => kind === 'rotated')).toHaveLength(1);
    expect(kinds.filter((kind) => kind === 'reused')).toHaveLength(1);
    expect(await checkSession(api, session.id)).toMatchObject({ isRevoked: true });
  });

  it('A08 are not refreshed for an unknown, expired or disabled holder', async () => {
    const user = await aUser(api);
    expect(await rotateRefreshToken(api, randomBytes(32), aRefresh())).toEqual({
      kind: 'refused',
      reason: 'unknown',
    });
    const old = await open(user, { ...aRefresh(), expiresAt: new Date(Date.now() - 1) });
    expect(await rotateRefreshToken(api, old.refresh.digest, aRefresh())).toEqual({
      kind: 'refused',
      reason: 'expired',
    });
    const session = await open(user);
    await asAdmin((client) => updateUser(client, user.id, { version: user.version, status: 'disabled' }));
    expect(await rotateRefreshToken(api, session.refresh.digest, aRefresh())).toEqual({
      kind: 'refused',
      reason: 'disabled',
    });
    expect(await checkSession(api, session.id)).toMatchObject({ status: 'disabled' });
  });

  it('remember when the password was last given', async () => {
    const user = await aUser(api);
    const { id } = await open(user);
    const before = (await checkSession(api, id))!.authenticatedAt;
    expect(await as(user, (client) => recordReauthentication(client, { userId: user.id, id }))).toBe(true);
    expect((await checkSession(api, id))!.authenticatedAt.getTime()).toBeGreaterThan(before.getTime());
  });
});

const create = (user: User, expiresAt: Date | null = null) => {
  const key = {
    id: randomUUID(),
    userId: user.id,
    name: 'laptop',
    hint: 'ptk_ab',
    digest: randomBytes(32),
    expiresAt,
  };
  return as(user, (client) => createApiKey(client, key)).then(() => key);
};

describe('personal API keys', () => {
  it('name their owner until they are revoked or expired', async () => {
    const user = await aUser(api);
    const key = await create(user);
    expect(await findApiKey(api, key.digest)).toMatchObject({ id: key.id, userId: user.id, role: 'user' });
    expect(await findApiKey(api, randomBytes(32))).toBeNull();
    expect(await findApiKey(api, (await create(user, new Date(Date.now() - 1))).digest)).toBeNull();
    expect(await as(user, (client) => listApiKeys(client, user.id))).toHaveLength(2);
    expect(await as(user, (client) => revokeApiKey(client, key))).toBe(true);
    expect(await findApiKey(api, key.digest)).toBeNull();
  });

  it('note their last use, at most once a minute', async () => {
    const user = await aUser(api);
    const key = await create(user);
    await findApiKey(api, key.digest);
    const [first] = await as(user, (client) => listApiKeys(client, user.id));
    await findApiKey(api, key.digest);
    const [second] = await as(user, (client) => listApiKeys(client, user.id));
    expect(first!.lastUsedAt).toBeInstanceOf(Date);
    expect(second!.lastUsedAt).toEqual(first!.lastUsedAt);
  });
});

const invite = async (email: string | null, expiresAt = inAnHour()) => {
  const admin = await aUser(api, { role: 'admin' });
  const digest = randomBytes(32);
  const made = await asAdmin((client) =>
    createInvite(client, {
      id: randomUUID(),
      email,
      role: 'auditor',
      digest,
      createdBy: admin.id,
      expiresAt,
    }),
  );
  return { ...made, digest };
};

const accept = (digest: Buffer, email = `${randomUUID()}@example.test`) =>
  acceptInvite(api, digest, { id: randomUUID(), email, passwordHash: 'h' });

describe('invites', () => {
  it('make one user with the role that the inviter chose, once', async () => {
    const { digest } = await invite(null);
    const outcomes = await Promise.all([accept(digest), accept(digest), accept(digest)]);
    expect(outcomes.filter((one) => one !== null)).toEqual([{ role: 'auditor' }]);
  });

  it('for an address are for that address', async () => {
    const { digest } = await invite('eve@example.test');
    expect(await accept(digest, 'mallory@example.test')).toBeNull();
    expect(await accept(digest, 'EVE@example.test')).toEqual({ role: 'auditor' });
  });

  it('end, and can be withdrawn; a taken address leaves them open', async () => {
    expect(await accept((await invite(null, new Date(Date.now() - 1))).digest)).toBeNull();
    const pending = await invite(null);
    const user = await aUser(api);
    await expect(accept(pending.digest, user.email)).rejects.toMatchObject({ code: 'CONFLICT' });
    expect((await asAdmin((client) => listOpenInvites(client))).map(({ id }) => id)).toContain(pending.id);
    expect(await asAdmin((client) => deleteInvite(client, pending.id))).toBe(true);
    expect(await accept(pending.digest)).toBeNull();
  });
});

it('B10 nobody makes users without the scope of an admin', async () => {
  const user = await aUser(api);
  await expect(
    as(user, (client) =>
      createUser(client, { id: randomUUID(), email: 'x@example.test', role: 'admin', passwordHash: 'h' }),
    ),
  ).rejects.toMatchObject({ code: '42501' });
});
