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

/**
 * Writes one event, signed: a row without its MAC would count as forged.
 * @throws AppError SEALED when there is no key to sign with
 */
export async function insertAuditEvent(
  db: Queryable,
  id: string,
  event: AuditEvent,
  occurredAt = new Date(),
): Promise<void> {
  if (db.auditMac === undefined)
    throw new Error('this pool was made without `auditMac`, so it writes no audit');
  const mac = db.auditMac(toCanonicalEvent(id, occurredAt, event));
  await db.query(
    `insert into audit_events (id, occurred_at, actor_kind, actor_id, actor_via, subject_user_id, action, target_kind,
       target_id, service, outcome, error_code, request_id, client_address, details, mac)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
    [
      id,
      occurredAt.toISOString(),
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
      mac,
    ],
  );
}

/** The text that an event's MAC is over: the same for the event that is written and for the row that is read. */
export function toCanonicalEvent(id: string, occurredAt: Date, event: AuditEvent): string {
  return JSON.stringify(
    [
      id,
      occurredAt.toISOString(),
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
      event.details,
    ],
    inKeyOrder,
  );
}

/** PostgreSQL's jsonb keeps no order of members. */
function inKeyOrder(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)));
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
