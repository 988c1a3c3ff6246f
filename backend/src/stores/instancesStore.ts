/**
 * Instances as the main API sees them: one row is one user's use of a service under a label. Run inside `withUser`; the
 * row policies keep everybody else's rows out of sight, and `userId` is in every statement all the same.
 */
import { AppError } from '../errors/appError.js';
import { isUniqueViolation } from '../database/databaseErrors.js';
import type { Queryable } from '../database/queryable.js';

export type InstanceState =
  'not_configured' | 'checking' | 'ready' | 'needs_reauth' | 'rejected_by_service' | 'unreachable' | 'paused';

/** What a caller needs besides the URL (05, "Access modes"); `oauth` comes with the authorization server (12.25). */
export type AccessMode = 'url' | 'url+token' | 'oauth';

export interface Instance {
  readonly id: string;
  readonly userId: string;
  readonly service: string;
  readonly label: string;
  readonly isActive: boolean;
  readonly accessMode: AccessMode;
  /** Blocks of addresses that it may be used from; empty: from anywhere. */
  readonly allowedCidrs: readonly string[];
  /** Grows with every revocation; what was prepared under an older one is void. */
  readonly epoch: number;
  readonly state: InstanceState;
  readonly stateCause: string | null;
  /** Who the service says that the credential belongs to, such as `@octocat`. */
  readonly identityLabel: string | null;
  readonly credentialMethod: string | null;
  readonly credentialRevision: number | null;
  readonly stagedMethod: string | null;
  readonly stagedRevision: number | null;
  readonly stagedAt: Date | null;
  /** The highest revision that was ever sealed for this row; the next one is one more. */
  readonly lastCredentialRevision: number;
  readonly overridesRevision: number;
  readonly sealedOverrides: Buffer | null;
  /** The instance id, sealed for the column `sealed_url` and `urlRevision`. */
  readonly sealedUrl: Buffer | null;
  readonly urlRevision: number;
  /** Until when the URL before the last rotation still works. */
  readonly previousExpiresAt: Date | null;
  readonly lastCheckedAt: Date | null;
  readonly lastSuccessAt: Date | null;
  readonly lastUsedAt: Date | null;
  readonly expiresAt: Date | null;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** Names one instance of one user. */
export interface InstanceKey {
  readonly userId: string;
  readonly id: string;
}

const columns = `id, user_id as "userId", service, label, is_active as "isActive", access_mode as "accessMode",
  allowed_cidrs as "allowedCidrs", epoch, state, state_cause as "stateCause", identity_label as "identityLabel", credential_method as "credentialMethod",
  credential_revision as "credentialRevision", staged_method as "stagedMethod", staged_revision as "stagedRevision",
  staged_at as "stagedAt", last_credential_revision as "lastCredentialRevision",
  overrides_revision as "overridesRevision", sealed_overrides as "sealedOverrides", sealed_url as "sealedUrl",
  url_revision as "urlRevision", previous_expires_at as "previousExpiresAt", last_checked_at as "lastCheckedAt",
  last_success_at as "lastSuccessAt", last_used_at as "lastUsedAt", expires_at as "expiresAt", version,
  created_at as "createdAt", updated_at as "updatedAt"`;
const touched = 'version = version + 1, updated_at = now()';
const own = 'id = $1 and user_id = $2 and deleted_at is null';

/**
 * Adds a row without a credential, state `not_configured`, `urlRevision` 1.
 * @throws AppError CONFLICT when the user has that label for that service already.
 */
export async function createInstance(
  db: Queryable,
  instance: {
    readonly id: string;
    readonly userId: string;
    readonly service: string;
    readonly label: string;
    /** HMAC of the instance id under the lookup key, 32 bytes. */
    readonly lookup: Buffer;
    readonly sealedUrl: Buffer;
    readonly accessMode?: AccessMode;
  },
): Promise<Instance> {
  try {
    const { rows } = await db.query<Instance>(
      `insert into instances (id, user_id, service, label, lookup, sealed_url, access_mode)
       values ($1, $2, $3, $4, $5, $6, $7) returning ${columns}`,
      [
        instance.id,
        instance.userId,
        instance.service,
        instance.label,
        instance.lookup,
        instance.sealedUrl,
        instance.accessMode ?? 'url',
      ],
    );
    return rows[0]!;
  } catch (thrown) {
    throw toLabelConflict(thrown);
  }
}

export async function findInstance(
  db: Queryable,
  key: { readonly userId: string; readonly service: string; readonly label: string },
  options: { readonly forUpdate?: boolean } = {},
): Promise<Instance | null> {
  const { rows } = await db.query<Instance>(
    `select ${columns} from instances
     where user_id = $1 and service = $2 and label = $3 and deleted_at is null${options.forUpdate ? ' for update' : ''}`,
    [key.userId, key.service, key.label],
  );
  return rows[0] ?? null;
}

export async function findInstanceById(
  db: Queryable,
  key: InstanceKey,
  options: { readonly forUpdate?: boolean } = {},
): Promise<Instance | null> {
  const { rows } = await db.query<Instance>(
    `select ${columns} from instances where ${own}${options.forUpdate ? ' for update' : ''}`,
    [key.id, key.userId],
  );
  return rows[0] ?? null;
}

/** All instances of a user, or those of one service, by service and label. */
export async function listInstances(db: Queryable, userId: string, service?: string): Promise<Instance[]> {
  const { rows } = await db.query<Instance>(
    `select ${columns} from instances
     where user_id = $1 and deleted_at is null and ($2::text is null or service = $2)
     order by service, label`,
    [userId, service ?? null],
  );
  return rows;
}

/**
 * Replaces the overrides, sealed for the column `sealed_overrides` and `revision` = `overridesRevision + 1`; null for
 * `sealed` removes them. Null is answered when the revision is not the next one.
 */
export function setOverrides(
  db: Queryable,
  key: InstanceKey,
  overrides: { readonly revision: number; readonly sealed: Buffer | null },
): Promise<Instance | null> {
  return changeInstance(
    db,
    key,
    'overrides_revision = $3, sealed_overrides = $4',
    [overrides.revision, overrides.sealed],
    'overrides_revision = $3 - 1',
  );
}

/**
 * Gives the instance a new URL. With `graceUntil` the old one works until then; without, it is dead with the commit and
 * the epoch grows. `urlRevision` is the row's own plus one; null when it is not.
 */
export function rotateUrl(
  db: Queryable,
  key: InstanceKey,
  url: {
    readonly lookup: Buffer;
    readonly sealedUrl: Buffer;
    readonly urlRevision: number;
    readonly graceUntil: Date | null;
  },
): Promise<Instance | null> {
  return changeInstance(
    db,
    key,
    `previous_lookup = case when $6::timestamptz is null then null else lookup end, previous_expires_at = $6,
     lookup = $3, sealed_url = $4, url_revision = $5, epoch = epoch + case when $6::timestamptz is null then 1 else 0 end`,
    [url.lookup, url.sealedUrl, url.urlRevision, url.graceUntil],
    'url_revision = $5 - 1',
  );
}

/** Pauses or resumes; a paused instance answers like none at all. */
export function setActive(db: Queryable, key: InstanceKey, isActive: boolean): Promise<Instance | null> {
  return changeInstance(
    db,
    key,
    `is_active = $3, epoch = epoch + case when is_active and not $3 then 1 else 0 end,
     state = case when not $3 then 'paused' when sealed_credential is null then 'not_configured'
                  when state = 'paused' then 'checking' else state end`,
    [isActive],
  );
}

/** @throws AppError CONFLICT when the user has that label for that service already. */
export async function renameInstance(
  db: Queryable,
  key: InstanceKey,
  label: string,
): Promise<Instance | null> {
  try {
    return await changeInstance(db, key, 'label = $3', [label]);
  } catch (thrown) {
    throw toLabelConflict(thrown);
  }
}

/**
 * Revokes for good: every sealed column and both lookups are wiped, the epoch grows, and the row stays for the audit
 * until it is purged. Answers whether there was such an instance.
 */
export async function deleteInstance(db: Queryable, key: InstanceKey): Promise<boolean> {
  const { rowCount } = await db.query(`update instances set ${wiped} where ${own}`, [key.id, key.userId]);
  return rowCount === 1;
}

/** `deleteInstance` for all that a user has; answers how many. */
export async function deleteInstancesOfUser(db: Queryable, userId: string): Promise<number> {
  const { rowCount } = await db.query(
    `update instances set ${wiped} where user_id = $1 and deleted_at is null`,
    [userId],
  );
  return rowCount ?? 0;
}

/** How many instances of each service stand in each state, for the gauge; needs the scope `admin`. */
export async function countInstancesByState(
  db: Queryable,
): Promise<{ service: string; state: InstanceState; count: number }[]> {
  const { rows } = await db.query<{ service: string; state: InstanceState; count: number }>(
    'select service, state, count(*)::int as count from instances where deleted_at is null group by service, state',
  );
  return rows;
}

const wiped = `lookup = null, previous_lookup = null, previous_expires_at = null, sealed_url = null,
  credential_method = null, credential_revision = null, sealed_credential = null, staged_method = null,
  staged_revision = null, sealed_staged = null, staged_at = null, sealed_overrides = null, identity_label = null,
  is_active = false, state = 'not_configured', state_cause = null, epoch = epoch + 1, deleted_at = now(), ${touched}`;

/**
 * Assigns SQL to columns of one live row and raises its version; null when the row is not there or the condition does not
 * hold. For the stores: `$1` and `$2` are the key, the caller's values begin at `$3`.
 */
export async function changeInstance(
  db: Queryable,
  key: InstanceKey,
  assignments: string,
  values: readonly unknown[],
  condition = 'true',
): Promise<Instance | null> {
  const { rows } = await db.query<Instance>(
    `update instances set ${assignments}, ${touched} where ${own} and ${condition} returning ${columns}`,
    [key.id, key.userId, ...values],
  );
  return rows[0] ?? null;
}

function toLabelConflict(thrown: unknown): unknown {
  if (!isUniqueViolation(thrown, 'instances_label_key')) return thrown;
  return new AppError('CONFLICT', 'the label is taken', {
    cause: thrown,
    publicDetail: 'There is an instance of this service with that label already.',
  });
}
