/** Invitations to register, the only way to an account besides an admin making it. */
import { AppError } from '../errors/appError.js';
import { isUniqueViolation } from '../database/databaseErrors.js';
import type { Queryable } from '../database/queryable.js';
import type { NewUser, UserRole } from './usersStore.js';

export interface Invite {
  readonly id: string;
  readonly email: string | null;
  readonly role: UserRole;
  readonly createdBy: string;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly usedAt: Date | null;
}

const columns = `id, email, role, created_by as "createdBy", created_at as "createdAt", expires_at as "expiresAt",
  used_at as "usedAt"`;

/** Needs the scope `admin`. With an email only that address can use it. */
export async function createInvite(
  db: Queryable,
  invite: {
    readonly id: string;
    readonly email: string | null;
    readonly role: UserRole;
    /** SHA-256 of the code. */
    readonly digest: Buffer;
    readonly createdBy: string;
    readonly expiresAt: Date;
  },
): Promise<Invite> {
  const { rows } = await db.query<Invite>(
    `insert into invites (id, email, role, digest, created_by, expires_at) values ($1, $2, $3, $4, $5, $6)
     returning ${columns}`,
    [invite.id, invite.email, invite.role, invite.digest, invite.createdBy, invite.expiresAt],
  );
  return rows[0]!;
}

/** Invites that can still be used, newest first; needs the scope `admin`. */
export async function listOpenInvites(db: Queryable): Promise<Invite[]> {
  const { rows } = await db.query<Invite>(
    `select ${columns} from invites where used_at is null and expires_at > now() order by created_at desc`,
  );
  return rows;
}

/** Needs the scope `admin`. */
export async function deleteInvite(db: Queryable, id: string): Promise<boolean> {
  const { rowCount } = await db.query('delete from invites where id = $1 and used_at is null', [id]);
  return rowCount === 1;
}

/**
 * Makes the user that an invite stands for and uses it up, without a user being set; null when the code is unknown,
 * used, expired or for another address.
 * @throws AppError CONFLICT when the email is taken; the invite stays open.
 */
export async function acceptInvite(
  db: Queryable,
  digest: Buffer,
  user: NewUser,
): Promise<{ readonly role: UserRole } | null> {
  try {
    const { rows } = await db.query<{ role: UserRole | null }>(
      'select accept_invite($1, $2, $3, $4, $5) as role',
      [digest, user.id, user.email, user.displayName ?? null, user.passwordHash],
    );
    const role = rows[0]?.role ?? null;
    return role === null ? null : { role };
  } catch (thrown) {
    if (!isUniqueViolation(thrown, 'users_email_key')) throw thrown;
    throw new AppError('CONFLICT', 'the email is taken', { cause: thrown });
  }
}
