/** Invitations: an admin makes a code, whoever has it makes an account with it, once and within a week. */
import type { DatabasePool } from '../database/pool.js';
import { withUser } from '../database/withUser.js';
import { AppError } from '../errors/appError.js';
import {
  acceptInvite,
  createInvite,
  deleteInvite,
  listOpenInvites,
  type Invite,
} from '../stores/invitesStore.js';
import type { UserRole } from '../stores/usersStore.js';
import type { RandomBytes } from '../vault/keyRing.js';
import { recordActorChange, type Actor } from './changeAudit.js';
import { createOpaqueSecret, digestOf } from './opaqueSecret.js';
import type { Passwords } from './passwords.js';
import { recordStrangerChange, type RequestOrigin } from './requestOrigin.js';

export interface Registration {
  readonly inviteCode: string;
  readonly email: string;
  readonly password: string;
  readonly displayName?: string | undefined;
}

export interface Invites {
  /** The code is in this answer and nowhere else. */
  create(
    actor: Actor,
    given: { readonly email: string | null; readonly role: UserRole },
  ): Promise<Invite & { readonly code: string }>;
  list(actor: Actor): Promise<readonly Invite[]>;
  /** @throws AppError NOT_FOUND */
  delete(actor: Actor, id: string): Promise<void>;
  /** @throws AppError INVITE_INVALID, the same whatever is wrong, a taken email included. */
  accept(
    given: Registration,
    origin: RequestOrigin,
  ): Promise<{ readonly id: string; readonly role: UserRole }>;
}

export interface InvitesOptions {
  readonly pool: DatabasePool;
  readonly passwords: Passwords;
  readonly now: () => number;
  readonly newId: () => string;
  readonly randomBytes: RandomBytes;
}

const inviteMs = 7 * 24 * 60 * 60 * 1000;

export function createInvites({ pool, passwords, now, newId, randomBytes }: InvitesOptions): Invites {
  return {
    create: (actor, { email, role }) =>
      withUser(pool, { userId: actor.userId, scope: 'admin' }, async (db) => {
        const code = createOpaqueSecret(randomBytes);
        const id = newId();
        const invite = await createInvite(db, {
          id,
          email,
          role,
          digest: digestOf(code),
          createdBy: actor.userId,
          expiresAt: new Date(now() + inviteMs),
        });
        await recordActorChange(db, actor, {
          action: 'invite.created',
          target: { kind: 'invite', id },
          details: { role, forOneAddress: email !== null },
        });
        return { ...invite, code };
      }),

    list: (actor) =>
      withUser(pool, { userId: actor.userId, scope: 'admin' }, listOpenInvites, { readOnly: true }),

    delete: (actor, id) =>
      withUser(pool, { userId: actor.userId, scope: 'admin' }, async (db) => {
        if (!(await deleteInvite(db, id))) throw new AppError('NOT_FOUND', 'no open invite of this id');
        await recordActorChange(db, actor, { action: 'invite.deleted', target: { kind: 'invite', id } });
      }),

    async accept({ inviteCode, email, password, displayName }, origin) {
      // Hashed whether or not the code is good, so that both take equally long (07 B07).
      const passwordHash = await passwords.hash(password);
      const id = newId();
      try {
        return await withUser(pool, { userId: null, scope: 'self' }, async (db) => {
          const accepted = await acceptInvite(db, digestOf(inviteCode), {
            id,
            email,
            passwordHash,
            ...(displayName === undefined ? {} : { displayName }),
          });
          if (accepted === null) throw unusable('the code is unknown, used, expired or for another address');
          await recordStrangerChange(db, origin, {
            action: 'invite.accepted',
            target: { kind: 'user', id },
            outcome: 'success',
            subjectUserId: id,
            details: { role: accepted.role },
          });
          return { id, role: accepted.role };
        });
      } catch (thrown) {
        if (thrown instanceof AppError && thrown.code === 'CONFLICT')
          throw unusable('the email is taken', thrown);
        throw thrown;
      }
    },
  };
}

function unusable(why: string, cause?: AppError): AppError {
  return new AppError('INVITE_INVALID', `invite: ${why}`, {
    ...(cause === undefined ? {} : { cause }),
    publicDetail: 'The invite code cannot be used with this address; ask an admin for a new one.',
  });
}
