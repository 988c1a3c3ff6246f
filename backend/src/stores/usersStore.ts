/**
 * Users. Signing in and the first admin go through SECURITY DEFINER functions, since no row policy can apply to
 * somebody who is not known yet; the rest runs inside `withUser`.
 */
import { AppError } from '../errors/appError.js';
import { isUniqueViolation } from '../database/databaseErrors.js';
import type { Queryable } from '../database/queryable.js';

export type UserRole = 'user' | 'admin' | 'auditor';
export type UserStatus = 'active' | 'disabled';

export interface User {
  readonly id: string;
  readonly email: string;
  readonly displayName: string | null;
  readonly role: UserRole;
  readonly status: UserStatus;
  readonly lastLoginAt: Date | null;
  readonly passwordChangedAt: Date;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface NewUser {
  readonly id: string;
  /** Compared without regard to case; stored as given. */
  readonly email: string;
  readonly displayName?: string;
  /** A PHC string of argon2id. */
  readonly passwordHash: string;
}

export interface Login {
  readonly id: string;
  readonly role: UserRole;
  readonly status: UserStatus;
  readonly passwordHash: string;
}

const columns = `id, email, display_name as "displayName", role, status, last_login_at as "lastLoginAt",
  password_changed_at as "passwordChangedAt", version, created_at as "createdAt", updated_at as "updatedAt"`;

/** What sign-in needs, for an email in any case; works without a user. */
export async function findLogin(db: Queryable, email: string): Promise<Login | null> {
  const { rows } = await db.query<Login>(
    'select id, role, status, password_hash as "passwordHash" from find_login($1)',
    [email],
  );
  return rows[0] ?? null;
}

/** The same for a user who is known, to check a password again. */
export async function findPasswordHash(db: Queryable, userId: string): Promise<string | null> {
  const { rows } = await db.query<{ hash: string }>(
    'select password_hash as hash from users where id = $1 and deleted_at is null',
    [userId],
  );
  return rows[0]?.hash ?? null;
}

/** Whether set-up is over; works without a user. */
export async function hasAdmin(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ has: boolean }>('select has_admin() as has');
  return rows[0]?.has ?? false;
}

/** Makes the first admin, or answers false because there is one; of parallel callers exactly one succeeds. */
export async function createFirstAdmin(db: Queryable, user: NewUser): Promise<boolean> {
  const { rows } = await db.query<{ created: boolean }>(
    'select create_first_admin($1, $2, $3, $4) as created',
    [user.id, user.email, user.displayName ?? null, user.passwordHash],
  );
  return rows[0]?.created ?? false;
}

/** Needs the scope `admin`. @throws AppError CONFLICT when the email is taken. */
export async function createUser(db: Queryable, user: NewUser & { readonly role: UserRole }): Promise<User> {
  try {
    const { rows } = await db.query<User>(
      `insert into users (id, email, display_name, role, password_hash) values ($1, $2, $3, $4, $5)
       returning ${columns}`,
      [user.id, user.email, user.displayName ?? null, user.role, user.passwordHash],
    );
    return rows[0]!;
  } catch (thrown) {
    if (!isUniqueViolation(thrown, 'users_email_key')) throw thrown;
    throw new AppError('CONFLICT', 'the email is taken', {
      cause: thrown,
      publicDetail: 'There is a user with this email already.',
    });
  }
}

export async function findUser(db: Queryable, id: string): Promise<User | null> {
  const { rows } = await db.query<User>(`select ${columns} from users where id = $1 and deleted_at is null`, [
    id,
  ]);
  return rows[0] ?? null;
}

/**
 * Users by age, a page at a time; needs the scope `admin`. Ages count in milliseconds, which is all that a `Date` holds:
 * by microseconds the last user of a page would come again on the next.
 */
export async function listUsers(
  db: Queryable,
  page: { readonly limit: number; readonly after?: { readonly createdAt: Date; readonly id: string } },
): Promise<User[]> {
  const { rows } = await db.query<User>(
    `select ${columns} from users
     where deleted_at is null
       and ($2::timestamptz is null or (date_trunc('milliseconds', created_at), id) > ($2, $3::uuid))
     order by date_trunc('milliseconds', created_at), id limit $1`,
    [page.limit, page.after?.createdAt ?? null, page.after?.id ?? null],
  );
  return rows;
}

/** Changes what is given; null when the user is gone or `version` is no longer theirs. */
export async function updateUser(
  db: Queryable,
  id: string,
  change: {
    readonly version: number;
    readonly role?: UserRole;
    readonly status?: UserStatus;
    readonly displayName?: string;
  },
): Promise<User | null> {
  const { rows } = await db.query<User>(
    `update users set role = coalesce($3, role), status = coalesce($4, status),
       display_name = coalesce($5, display_name), version = version + 1, updated_at = now()
     where id = $1 and version = $2 and deleted_at is null returning ${columns}`,
    [id, change.version, change.role ?? null, change.status ?? null, change.displayName ?? null],
  );
  return rows[0] ?? null;
}

export async function setPasswordHash(db: Queryable, id: string, passwordHash: string): Promise<boolean> {
  const { rowCount } = await db.query(
    `update users set password_hash = $2, password_changed_at = now(), version = version + 1, updated_at = now()
     where id = $1 and deleted_at is null`,
    [id, passwordHash],
  );
  return rowCount === 1;
}

/** Notes a sign-in; run it as that user. */
export async function recordLogin(db: Queryable, id: string): Promise<void> {
  await db.query('update users set last_login_at = now() where id = $1', [id]);
}

/** How many active admins there are; the last one may not be demoted, disabled or deleted. Locks their rows. */
export async function countActiveAdminsForUpdate(db: Queryable): Promise<number> {
  const { rows } = await db.query(
    `select id from users where role = 'admin' and status = 'active' and deleted_at is null order by id for update`,
  );
  return rows.length;
}

/**
 * Takes the user away: the row stays, without email and password, so that the audit can name it. The caller deletes
 * the user's data keys and instances in the same transaction.
 */
export async function deleteUser(db: Queryable, id: string): Promise<boolean> {
  const { rowCount } = await db.query(
    `update users set email = 'deleted-' || id, display_name = null, password_hash = '', status = 'disabled',
       deleted_at = now(), version = version + 1, updated_at = now()
     where id = $1 and deleted_at is null`,
    [id],
  );
  return rowCount === 1;
}
