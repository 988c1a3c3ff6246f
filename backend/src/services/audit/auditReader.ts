/**
 * The audits for those who may read them: admins and auditors everybody's, others what is about them or was done by them
 * (C06). An export is an access to data and is audited before its first row leaves.
 */
import type { DatabasePool } from '../../database/pool.js';
import { withUser, type UserScope } from '../../database/withUser.js';
import {
  findCheckpointState,
  findLastVerification,
  listAuditCalls,
  listAuditEvents,
  type CallFilter,
  type EventFilter,
  type LastVerification,
  type ListedCall,
  type ListedEvent,
  type PageWish,
  type RowKey,
} from '../../stores/auditQueryStore.js';
import { recordActorChange, type Actor } from '../changeAudit.js';

export type PageOf<F> = Omit<PageWish<F>, 'ownerId'>;

export interface AuditPage<Row> {
  readonly rows: readonly Row[];
  readonly next: RowKey | null;
}

export interface AuditReader {
  listEvents(actor: Actor, wish: PageOf<EventFilter>): Promise<AuditPage<ListedEvent>>;
  listCalls(actor: Actor, wish: PageOf<CallFilter>): Promise<AuditPage<ListedCall>>;
  /** Writes down that an export begins; nothing is read before. */
  recordExport(actor: Actor, what: { readonly audit: string; readonly format: string }): Promise<void>;
  /** For admins and auditors. */
  proof(actor: Actor): Promise<{
    readonly checkpoint: { readonly number: number; readonly issuedAt: Date } | null;
    readonly verification: LastVerification | null;
  }>;
}

export function createAuditReader({ pool }: { readonly pool: DatabasePool }): AuditReader {
  const page = async <F, Row extends { readonly id: string; readonly keyTime: string }>(
    actor: Actor,
    wish: PageOf<F>,
    list: (db: Parameters<typeof listAuditEvents>[0], wish: PageWish<F>) => Promise<Row[]>,
  ): Promise<AuditPage<Row>> => {
    const ownerId = actor.role === 'user' ? actor.userId : null;
    // One more than asked for tells whether there is a next page.
    const more = { ...wish, ownerId, limit: wish.limit + 1 };
    const found = await withUser(pool, scopeOf(actor), (db) => list(db, more), { readOnly: true });
    const rows = found.slice(0, wish.limit);
    const last = rows.at(-1);
    return {
      rows,
      next: found.length > rows.length && last !== undefined ? { time: last.keyTime, id: last.id } : null,
    };
  };

  return {
    listEvents: (actor, wish) => page(actor, wish, listAuditEvents),
    listCalls: (actor, wish) => page(actor, wish, listAuditCalls),
    recordExport: (actor, { audit, format }) =>
      withUser(pool, { userId: actor.userId, scope: 'self' }, (db) =>
        recordActorChange(db, actor, {
          action: 'audit.exported',
          target: { kind: 'audit', id: audit },
          details: { format },
        }),
      ),
    proof: (actor) =>
      withUser(
        pool,
        scopeOf(actor),
        async (db) => ({
          checkpoint: await findCheckpointState(db),
          verification: await findLastVerification(db),
        }),
        { readOnly: true },
      ),
  };
}

function scopeOf({ userId, role }: Actor): UserScope {
  return { userId, scope: role === 'user' ? 'self' : role };
}
