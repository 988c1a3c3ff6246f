import type { Queryable } from '../database/queryable.js';
import type { AuditEvent } from '../stores/auditStore.js';
import { writeAudit } from './changeAudit.js';

/** Where a request came from whose sender is not known yet: signing in, set-up, an invite. */
export interface RequestOrigin {
  readonly requestId: string | null;
  readonly clientAddress: string | null;
  readonly userAgent: string | null;
}

export interface StrangerChange {
  /** Such as `auth.login`. */
  readonly action: string;
  readonly target: { readonly kind: string; readonly id: string | null };
  readonly outcome: AuditEvent['outcome'];
  readonly errorCode?: string;
  /** Whose account it is about, where that is known. */
  readonly subjectUserId?: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** Writes one audit row for somebody who is not signed in, in the caller's transaction. */
export async function recordStrangerChange(
  db: Queryable,
  origin: RequestOrigin,
  change: StrangerChange,
): Promise<void> {
  await writeAudit(db, {
    actorKind: 'anonymous',
    actorId: null,
    actorVia: null,
    subjectUserId: change.subjectUserId ?? null,
    action: change.action,
    targetKind: change.target.kind,
    targetId: change.target.id,
    service: null,
    outcome: change.outcome,
    errorCode: change.errorCode ?? null,
    requestId: origin.requestId,
    clientAddress: origin.clientAddress,
    details: change.details ?? {},
  });
}
