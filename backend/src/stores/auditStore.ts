/**
 * The audit of changes: who did what to whom. A row is written in the transaction of the change that it tells of, so
 * that neither is there without the other. The application's roles can add rows and never alter or remove one.
 */
import type { Queryable } from '../database/queryable.js';

export interface AuditEvent {
  readonly actorKind: 'user' | 'system' | 'anonymous';
  readonly actorId: string | null;
  /** The login session or API key that the actor came with. */
  readonly actorVia: string | null;
  /** Whose data it is about, who may therefore read it. */
  readonly subjectUserId: string | null;
  /** What happened, such as `instance.created` or `auth.refresh_reused`. */
  readonly action: string;
  readonly targetKind: string | null;
  readonly targetId: string | null;
  readonly service: string | null;
  readonly outcome: 'success' | 'denied' | 'failure';
  readonly errorCode: string | null;
  readonly requestId: string | null;
  readonly clientAddress: string | null;
  /** Names and numbers only: no credential, instance id, URL or body. */
  readonly details: Readonly<Record<string, unknown>>;
}

/** Writes one event, with the transaction's time. */
export async function insertAuditEvent(db: Queryable, id: string, event: AuditEvent): Promise<void> {
  await db.query(
    `insert into audit_events (id, actor_kind, actor_id, actor_via, subject_user_id, action, target_kind, target_id,
       service, outcome, error_code, request_id, client_address, details)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
    [
      id,
      event.actorKind,
      event.actorId,
      event.actorVia,
      event.subjectUserId,
      event.action,
      event.targetKind,
      event.targetId,
      event.service,
      event.outcome,
      event.errorCode,
      event.requestId,
      event.clientAddress,
      JSON.stringify(event.details),
    ],
  );
}

/**
 * Makes the partitions of the days from `from` on; rows that already fell into the default partition move over.
 * Harmless when they exist. For the jobs role.
 */
export async function ensureAuditPartitions(db: Queryable, from: Date, days: number): Promise<number> {
  const { rows } = await db.query<{ created: number }>(
    'select ensure_audit_partitions($1::date, $2) as created',
    [from.toISOString().slice(0, 10), days],
  );
  return rows[0]?.created ?? 0;
}

/** Drops the partitions of whole days before `before`; answers how many. For the jobs role. */
export async function dropAuditPartitions(db: Queryable, before: Date): Promise<number> {
  const { rows } = await db.query<{ dropped: number }>('select drop_audit_partitions($1::date) as dropped', [
    before.toISOString().slice(0, 10),
  ]);
  return rows[0]?.dropped ?? 0;
}
