/**
 * What the main API notes of probes beside `instancesStore`: the result of checking a credential again, what is known of
 * the tools behind it, and staged credentials that nobody came back to, because the process that had them checked died.
 */
import type { Queryable } from '../database/queryable.js';
import type { InstanceKey, InstanceState } from './instancesStore.js';

/** Answers whether it was noted: only while that credential is the one in use and the instance is not paused. */
export async function recordProbe(
  db: Queryable,
  key: InstanceKey,
  probe: {
    readonly credentialRevision: number;
    readonly state: Extract<InstanceState, 'ready' | 'needs_reauth' | 'rejected_by_service' | 'unreachable'>;
    readonly cause: string | null;
    /** Null leaves the known one. */
    readonly identityLabel: string | null;
  },
): Promise<boolean> {
  const { rowCount } = await db.query(
    `update instances set state = $4, state_cause = left($5, 500), last_checked_at = now(),
       identity_label = coalesce(left($6, 200), identity_label),
       last_success_at = case when $4 = 'ready' then now() else last_success_at end,
       version = version + 1, updated_at = now()
     where id = $1 and user_id = $2 and credential_revision = $3 and is_active and deleted_at is null`,
    [key.id, key.userId, probe.credentialRevision, probe.state, probe.cause, probe.identityLabel],
  );
  return rowCount === 1;
}

/** The credential in use, still sealed; for its owner, who asks which fields are set. */
export async function readSealedCredential(
  db: Queryable,
  key: InstanceKey,
): Promise<{ readonly revision: number; readonly sealed: Buffer } | null> {
  const { rows } = await db.query<{ revision: number; sealed: Buffer }>(
    `select credential_revision as revision, sealed_credential as sealed from instances
     where id = $1 and user_id = $2 and sealed_credential is not null and deleted_at is null`,
    [key.id, key.userId],
  );
  return rows[0] ?? null;
}

export interface SettledInstance {
  readonly id: string;
  readonly userId: string;
  readonly service: string;
  /** True when the row went as well: it never had a credential. */
  readonly isRemoved: boolean;
}

/** Discards what was staged longer ago than `olderThanMs`, up to `limit` rows; needs the scope `admin`. */
export async function discardStaleStaged(
  db: Queryable,
  olderThanMs: number,
  limit: number,
): Promise<SettledInstance[]> {
  const { rows } = await db.query<SettledInstance>(
    `with stale as (
       select id, sealed_credential is null and last_checked_at is null as is_new
       from instances where staged_at < now() - $1 * interval '1 millisecond' and deleted_at is null
       order by id limit $2 for update skip locked
     ), removed as (
       delete from instances i using stale where i.id = stale.id and stale.is_new
       returning i.id, i.user_id, i.service
     ), kept as (
       update instances i set staged_method = null, staged_revision = null, sealed_staged = null, staged_at = null,
         state = case when i.sealed_credential is null and i.is_active then 'not_configured' else i.state end,
         version = i.version + 1, updated_at = now()
       from stale where i.id = stale.id and not stale.is_new
       returning i.id, i.user_id, i.service
     )
     select id, user_id as "userId", service, true as "isRemoved" from removed
     union all select id, user_id, service, false from kept`,
    [olderThanMs, limit],
  );
  return rows;
}

/** How many tools each service's upstream last listed to this user. */
export async function countListedTools(db: Queryable, userId: string): Promise<Map<string, number>> {
  const { rows } = await db.query<{ service: string; tools: number }>(
    `select i.service, max(jsonb_array_length(l.body::jsonb -> 'tools')) as tools
     from last_known_lists l join instances i on i.id = l.instance_id
     where i.user_id = $1 and i.deleted_at is null and l.kind = 'tools' and octet_length(l.body) < 1048576
       and jsonb_typeof(l.body::jsonb -> 'tools') = 'array'
     group by i.service`,
    [userId],
  );
  return new Map(rows.map(({ service, tools }) => [service, tools]));
}
