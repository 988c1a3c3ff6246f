/**
 * Everything that a service process may ask of the database, each a SECURITY DEFINER function: its role
 * (`portolan_service`) can read no table. Rows come back sealed; opening them is the vault's work.
 */
import type { Queryable } from '../database/queryable.js';
import type { AccessMode, InstanceState } from './instancesStore.js';

/** A data-encryption key as it is stored: wrapped by the KEK of that id. */
export interface WrappedDataKey {
  readonly id: string;
  readonly kekId: string;
  readonly wrapped: Buffer;
}

/** A sealed record and the revision that it is bound to. */
export interface SealedColumn {
  readonly revision: number;
  readonly sealed: Buffer;
}

export interface ResolvedInstance {
  readonly id: string;
  readonly userId: string;
  readonly userStatus: 'active' | 'disabled';
  readonly service: string;
  readonly label: string;
  readonly isActive: boolean;
  readonly accessMode: AccessMode;
  /** Blocks of addresses that it may be used from; empty: from anywhere. */
  readonly allowedCidrs: readonly string[];
  readonly epoch: number;
  readonly version: number;
  readonly state: InstanceState;
  readonly stateCause: string | null;
  readonly identityLabel: string | null;
  /** The instance's own end, or that of the rotated URL by which it was found, whichever is sooner. */
  readonly expiresAt: Date | null;
  /** Until that end, by the database's clock. */
  readonly expiresInMs: number | null;
  /** Bound to the column `sealed_credential`, whether it is the one in use or the staged one that was asked for. */
  readonly credential: (SealedColumn & { readonly method: string }) | null;
  /** Bound to the column `sealed_overrides`. */
  readonly overrides: SealedColumn | null;
  /** Every key of the owner; a sealed record names the one that it needs. */
  readonly dataKeys: readonly WrappedDataKey[];
}

interface ResolvedRow {
  id: string;
  user_id: string;
  user_status: 'active' | 'disabled';
  service: string;
  label: string;
  is_active: boolean;
  access_mode: AccessMode;
  allowed_cidrs: string[];
  epoch: number;
  version: number;
  state: InstanceState;
  state_cause: string | null;
  identity_label: string | null;
  expires_at: Date | null;
  expires_in_ms: number | null;
  credential_method: string | null;
  credential_revision: number | null;
  sealed_credential: Buffer | null;
  overrides_revision: number;
  sealed_overrides: Buffer | null;
  data_keys: { id: string; kek_id: string; wrapped: string }[];
}

/**
 * Finds the instance behind an instance id by its keyed digest, in one query. Null for anything that is not there or may
 * not be served: paused, past its end, of a disabled owner.
 */
export async function resolveInstance(
  db: Queryable,
  lookup: Buffer,
  service: string,
): Promise<ResolvedInstance | null> {
  const { rows } = await db.query<ResolvedRow>({
    name: 'find_instance',
    text: 'select * from find_instance($1, $2)',
    values: [lookup, service],
  });
  return toResolvedInstance(rows[0]);
}

/** The same for many at once, in their order. The function is asked for each, so that it alone says what is found. */
export async function resolveInstances(
  db: Queryable,
  lookups: readonly Buffer[],
  service: string,
): Promise<(ResolvedInstance | null)[]> {
  const { rows } = await db.query<ResolvedRow & { place: string }>({
    name: 'find_instances',
    text: `select asked.place, found.* from unnest($1::bytea[]) with ordinality as asked (lookup, place)
           cross join lateral find_instance(asked.lookup, $2) as found`,
    values: [lookups, service],
  });
  const found: (ResolvedInstance | null)[] = lookups.map(() => null);
  for (const row of rows) found[Number(row.place) - 1] = toResolvedInstance(row);
  return found;
}

/** The same by uuid, served or not, for the internal endpoints and for what is open; `staged` puts the staged credential in the place of the one in use. */
export async function resolveInstanceById(
  db: Queryable,
  id: string,
  service: string,
  options: { readonly staged: boolean },
): Promise<ResolvedInstance | null> {
  const { rows } = await db.query<ResolvedRow>({
    name: 'find_instance_by_id',
    text: 'select * from find_instance_by_id($1, $2, $3)',
    values: [id, service, options.staged],
  });
  return toResolvedInstance(rows[0]);
}

/** Notes when instances were last used; older times than the stored ones change nothing. Notifies nobody. */
export async function markInstancesUsed(
  db: Queryable,
  uses: readonly { readonly id: string; readonly at: Date }[],
): Promise<void> {
  await db.query('select mark_instances_used($1::uuid[], $2::timestamptz[])', [
    uses.map(({ id }) => id),
    uses.map(({ at }) => at.toISOString()),
  ]);
}

/**
 * Records what the service made of a credential. It counts only while that revision is the one in use and the instance
 * is not paused. Answers whether the state changed.
 */
export async function recordInstanceState(
  db: Queryable,
  record: {
    readonly id: string;
    readonly service: string;
    /** Null for an instance that needs no credential. */
    readonly credentialRevision: number | null;
    readonly state: Exclude<InstanceState, 'paused' | 'not_configured'>;
    /** Short and in the service's own code words; never what the upstream wrote. */
    readonly cause: string | null;
  },
): Promise<boolean> {
  const { rows } = await db.query<{ changed: boolean }>(
    'select record_instance_state($1, $2, $3, $4, $5) as changed',
    [record.id, record.service, record.credentialRevision, record.state, record.cause],
  );
  return rows[0]?.changed ?? false;
}

function toResolvedInstance(row: ResolvedRow | undefined): ResolvedInstance | null {
  if (row === undefined) return null;
  const { credential_method: method, credential_revision: revision, sealed_credential: sealed } = row;
  return {
    id: row.id,
    userId: row.user_id,
    userStatus: row.user_status,
    service: row.service,
    label: row.label,
    isActive: row.is_active,
    accessMode: row.access_mode,
    allowedCidrs: row.allowed_cidrs,
    epoch: row.epoch,
    version: row.version,
    state: row.state,
    stateCause: row.state_cause,
    identityLabel: row.identity_label,
    expiresAt: row.expires_at,
    expiresInMs: row.expires_in_ms,
    credential: method === null || revision === null || sealed === null ? null : { method, revision, sealed },
    overrides:
      row.sealed_overrides === null
        ? null
        : { revision: row.overrides_revision, sealed: row.sealed_overrides },
    dataKeys: row.data_keys.map((key) => ({
      id: key.id,
      kekId: key.kek_id,
      wrapped: Buffer.from(key.wrapped, 'base64'),
    })),
  };
}
