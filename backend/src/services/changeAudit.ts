/**
 * The audit of changes as services write it: who acts is known from the request, what happened from the service, and the
 * row lies in the transaction of the change (07 H05). Details hold names and numbers only.
 */
import { randomUUID } from 'node:crypto';
import { isConnectionLost } from '../database/databaseErrors.js';
import type { Queryable } from '../database/queryable.js';
import { AppError } from '../errors/appError.js';
import { insertAuditEvent, type AuditEvent } from '../stores/auditStore.js';
import type { UserRole } from '../stores/usersStore.js';

/** Who makes a request, as sign-in found out, and from where. */
export interface Actor {
  readonly userId: string;
  readonly role: UserRole;
  /** `session:<uuid>` or `key:<uuid>`. */
  readonly via: string;
  /** When a password was last given; null with a personal API key, which never counts as a recent sign-in. */
  readonly authenticatedAt: Date | null;
  readonly requestId: string | null;
  readonly clientAddress: string | null;
}

export interface ActorChange {
  /** Such as `instance.created`. */
  readonly action: string;
  readonly target: { readonly kind: string; readonly id: string | null };
  readonly service?: string;
  readonly outcome?: AuditEvent['outcome'];
  readonly errorCode?: string;
  /** Whose data it is about; the actor's own unless said otherwise. */
  readonly subjectUserId?: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

/**
 * Writes one row, in the caller's transaction.
 * @throws AppError AUDIT_UNAVAILABLE or SEALED, so that the change is rolled back (07 H02).
 */
export async function recordActorChange(db: Queryable, actor: Actor, change: ActorChange): Promise<void> {
  await writeAudit(db, {
    actorKind: 'user',
    actorId: actor.userId,
    actorVia: actor.via,
    subjectUserId: change.subjectUserId ?? actor.userId,
    action: change.action,
    targetKind: change.target.kind,
    targetId: change.target.id,
    service: change.service ?? null,
    outcome: change.outcome ?? 'success',
    errorCode: change.errorCode ?? null,
    requestId: actor.requestId,
    clientAddress: actor.clientAddress,
    details: change.details ?? {},
  });
}

/** The same for what the installation does by itself, or its operator by a command. */
export async function recordSystemChange(
  db: Queryable,
  via: string,
  change: Pick<ActorChange, 'action' | 'target' | 'details' | 'outcome' | 'subjectUserId'>,
): Promise<void> {
  await writeAudit(db, {
    actorKind: 'system',
    actorId: null,
    actorVia: via,
    subjectUserId: change.subjectUserId ?? null,
    action: change.action,
    targetKind: change.target.kind,
    targetId: change.target.id,
    service: null,
    outcome: change.outcome ?? 'success',
    errorCode: null,
    requestId: null,
    clientAddress: null,
    details: change.details ?? {},
  });
}

/** The same for a row that the caller has put together. */
export async function writeAudit(db: Queryable, event: AuditEvent): Promise<void> {
  try {
    await insertAuditEvent(db, randomUUID(), event);
  } catch (cause) {
    // A lost connection says DATABASE_UNAVAILABLE by itself, and the pool has to see it as it is.
    if (isConnectionLost(cause)) throw cause;
    if (cause instanceof AppError && cause.code === 'SEALED') throw cause;
    throw new AppError('AUDIT_UNAVAILABLE', 'the audit row of a change was refused', { cause });
  }
}
