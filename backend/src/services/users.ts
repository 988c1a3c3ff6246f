/**
 * Accounts: made by an admin, changed by their owner or an admin, never left without an active admin. Deleting one
 * shreds: with the data keys everything that was sealed under them is gone for good.
 */
import type { DatabasePool } from '../database/pool.js';
import type { Queryable } from '../database/queryable.js';
import { withUser } from '../database/withUser.js';
import { AppError } from '../errors/appError.js';
import { revokeApiKeysOfUser } from '../stores/apiKeysStore.js';
import { deleteInstancesOfUser } from '../stores/instancesStore.js';
import { deleteDataKeysOfUser } from '../stores/keysStore.js';
import { revokeSessionsOfUser } from '../stores/sessionsStore.js';
import {
  countActiveAdminsForUpdate,
  createUser,
  deleteUser,
  findUser,
  listUsers,
  setPasswordHash,
  updateUser,
  type User,
  type UserRole,
  type UserStatus,
} from '../stores/usersStore.js';
import { recordActorChange, type Actor } from './changeAudit.js';
import type { Passwords } from './passwords.js';
import type { RateLimits } from './rateLimits.js';
import { refuseWrongPassword } from './sessions.js';

export interface NewAccount {
  readonly email: string;
  readonly password: string;
  readonly role: UserRole;
  readonly displayName?: string | undefined;
}

export interface AccountChange {
  readonly role?: UserRole | undefined;
  readonly status?: UserStatus | undefined;
  readonly displayName?: string | undefined;
  /** Refused when the account was changed since this version. */
  readonly version?: number | undefined;
}

export interface UsersPage {
  readonly users: readonly User[];
  /** Where the next page begins; null at the end. */
  readonly next: { readonly createdAt: Date; readonly id: string } | null;
}

export interface Users {
  /** @throws AppError CONFLICT */
  create(actor: Actor, account: NewAccount): Promise<User>;
  list(actor: Actor, page: { limit: number; after: UsersPage['next'] }): Promise<UsersPage>;
  /** @throws AppError NOT_FOUND */
  get(actor: Actor, id: string): Promise<User>;
  /** @throws AppError NOT_FOUND, VERSION_CONFLICT, CONFLICT for the last admin */
  change(actor: Actor, id: string, change: AccountChange): Promise<User>;
  /** @throws AppError NOT_FOUND, CONFLICT for the last admin */
  delete(actor: Actor, id: string): Promise<void>;
  getOwn(actor: Actor): Promise<User>;
  changeOwn(actor: Actor, change: { readonly displayName: string }): Promise<User>;
  /** Ends every session of the caller, this one too. @throws AppError ACCESS_DENIED, RATE_LIMIT_EXCEEDED */
  changePassword(actor: Actor, given: { currentPassword: string; newPassword: string }): Promise<void>;
}

export interface UsersOptions {
  readonly pool: DatabasePool;
  readonly passwords: Passwords;
  readonly rateLimits: RateLimits;
  readonly newId: () => string;
  /** This process need not wait for the NOTIFY of a change that it made. */
  readonly forgetUser: (userId: string) => void;
}

export function createUsers({ pool, passwords, rateLimits, newId, forgetUser }: UsersOptions): Users {
  const asAdmin = <T>(actor: Actor, work: (db: Queryable) => Promise<T>): Promise<T> =>
    withUser(pool, { userId: actor.userId, scope: 'admin' }, work);
  const asSelf = <T>(actor: Actor, work: (db: Queryable) => Promise<T>): Promise<T> =>
    withUser(pool, { userId: actor.userId, scope: 'self' }, work);

  return {
    async create(actor, { email, password, role, displayName }) {
      const passwordHash = await passwords.hash(password);
      return asAdmin(actor, async (db) => {
        const id = newId();
        const user = await createUser(db, {
          id,
          email,
          role,
          passwordHash,
          ...(displayName === undefined ? {} : { displayName }),
        });
        await recordActorChange(db, actor, {
          action: 'user.created',
          target: { kind: 'user', id },
          subjectUserId: id,
          details: { role },
        });
        return user;
      });
    },

    list: (actor, { limit, after }) =>
      asAdmin(actor, async (db) => {
        const found = await listUsers(db, { limit: limit + 1, ...(after === null ? {} : { after }) });
        const users = found.slice(0, limit);
        const last = users.at(-1);
        return { users, next: found.length > limit && last !== undefined ? last : null };
      }),

    get: (actor, id) => asAdmin(actor, (db) => getUser(db, id)),

    async change(actor, id, { version, role, status, displayName }) {
      const changed = await asAdmin(actor, async (db) => {
        const admins = await countActiveAdminsForUpdate(db);
        const before = await getUser(db, id);
        const staysAdmin = (role ?? before.role) === 'admin' && (status ?? before.status) === 'active';
        if (isActiveAdmin(before) && !staysAdmin) refuseLastAdmin(admins);
        const after = await updateUser(db, id, {
          version: version ?? before.version,
          ...(role === undefined ? {} : { role }),
          ...(status === undefined ? {} : { status }),
          ...(displayName === undefined ? {} : { displayName }),
        });
        if (after === null) {
          throw new AppError(
            'VERSION_CONFLICT',
            `the user is no longer at version ${version ?? before.version}`,
            {
              publicDetail: 'Read the user again, then repeat the change with its version.',
            },
          );
        }
        // A disabled user's sessions end for good, so that enabling the account later brings none of them back.
        if (after.status === 'disabled') await revokeSessionsOfUser(db, id);
        await recordActorChange(db, actor, {
          action: 'user.updated',
          target: { kind: 'user', id },
          subjectUserId: id,
          details: {
            before: { role: before.role, status: before.status },
            after: { role: after.role, status: after.status },
            displayNameChanged: before.displayName !== after.displayName,
          },
        });
        return after;
      });
      forgetUser(id);
      return changed;
    },

    async delete(actor, id) {
      await asAdmin(actor, async (db) => {
        const admins = await countActiveAdminsForUpdate(db);
        if (isActiveAdmin(await getUser(db, id))) refuseLastAdmin(admins);
        const sessions = await revokeSessionsOfUser(db, id);
        const apiKeys = await revokeApiKeysOfUser(db, id);
        const instances = await deleteInstancesOfUser(db, id);
        const dataKeys = await deleteDataKeysOfUser(db, id);
        await deleteUser(db, id);
        await recordActorChange(db, actor, {
          action: 'user.deleted',
          target: { kind: 'user', id },
          subjectUserId: id,
          details: { sessions, apiKeys, instances, dataKeys },
        });
      });
      forgetUser(id);
    },

    getOwn: (actor) => asSelf(actor, (db) => getUser(db, actor.userId)),

    changeOwn: (actor, { displayName }) =>
      asSelf(actor, async (db) => {
        const { version } = await getUser(db, actor.userId);
        const after = await updateUser(db, actor.userId, { version, displayName });
        if (after === null) throw new AppError('VERSION_CONFLICT', 'the user changed meanwhile');
        await recordActorChange(db, actor, {
          action: 'user.profile_updated',
          target: { kind: 'user', id: actor.userId },
        });
        return after;
      }),

    async changePassword(actor, { currentPassword, newPassword }) {
      await rateLimits.consume('password', actor.userId);
      await refuseWrongPassword(pool, passwords, actor, currentPassword);
      const passwordHash = await passwords.hash(newPassword);
      await asSelf(actor, async (db) => {
        await setPasswordHash(db, actor.userId, passwordHash);
        const sessions = await revokeSessionsOfUser(db, actor.userId);
        await recordActorChange(db, actor, {
          action: 'user.password_changed',
          target: { kind: 'user', id: actor.userId },
          details: { sessions },
        });
      });
      forgetUser(actor.userId);
      await rateLimits.restore('password', actor.userId);
    },
  };
}

async function getUser(db: Queryable, id: string): Promise<User> {
  const user = await findUser(db, id);
  if (user === null) throw new AppError('NOT_FOUND', 'no such user');
  return user;
}

function isActiveAdmin({ role, status }: User): boolean {
  return role === 'admin' && status === 'active';
}

/** The count was made under a lock on the admins' rows, so that two admins cannot demote each other. */
function refuseLastAdmin(admins: number): void {
  if (admins > 1) return;
  throw new AppError('CONFLICT', 'the last active admin has to stay', {
    publicDetail: 'This is the last active admin; make another user an admin first.',
  });
}
