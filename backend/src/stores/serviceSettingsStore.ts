/**
 * What an admin set for a service beyond its config file: the credential that all users of it share, sealed under the
 * system's data key. A change notifies `portolan_registry`. The columns `is_enabled` and `sealed_admin_config` belong to
 * the control plane; nothing here touches them.
 */
import type { Queryable } from '../database/queryable.js';
import type { SealedColumn, WrappedDataKey } from './instanceLookupStore.js';

/** Bound to the column `sealed_shared_credential`; the plaintext is that of an instance's credential. */
export interface SharedCredential extends SealedColumn {
  readonly method: string;
  /** Who the service says that it belongs to. */
  readonly identityLabel: string | null;
  /** When the service accepted it; null when there was nothing to check it against. */
  readonly checkedAt: Date | null;
  readonly updatedAt: Date;
}

export interface ServiceSettings {
  /** The row's uuid, which the seals are bound to. */
  readonly id: string;
  readonly service: string;
  readonly sharedCredential: SharedCredential | null;
  /** The highest revision that was ever sealed for this row; the next one is one more. */
  readonly lastSharedRevision: number;
  readonly version: number;
}

interface SettingsRow {
  id: string;
  service: string;
  shared_method: string | null;
  shared_revision: number;
  sealed_shared_credential: Buffer | null;
  shared_identity: string | null;
  shared_checked_at: Date | null;
  shared_updated_at: Date | null;
  version: number;
  updated_at: Date;
}

/** For the main API, whoever it acts for. */
export async function findServiceSettings(db: Queryable, service: string): Promise<ServiceSettings | null> {
  const { rows } = await db.query<SettingsRow>('select * from service_settings where service = $1', [
    service,
  ]);
  return rows[0] === undefined ? null : toServiceSettings(rows[0]);
}

/** The services for which a shared credential is stored; for the main API. */
export async function listSharedServices(db: Queryable): Promise<string[]> {
  const { rows } = await db.query<{ service: string }>(
    'select service from service_settings where sealed_shared_credential is not null',
  );
  return rows.map(({ service }) => service);
}

/** For a service process: its own settings. */
export async function readServiceSettings(db: Queryable, service: string): Promise<ServiceSettings | null> {
  const { rows } = await db.query<SettingsRow>('select * from read_service_settings($1)', [service]);
  return rows[0] === undefined ? null : toServiceSettings(rows[0]);
}

/** For a service process: the system's data keys, which open what is sealed in settings. */
export async function readSystemDataKeys(db: Queryable): Promise<WrappedDataKey[]> {
  const { rows } = await db.query<WrappedDataKey>(
    'select id, kek_id as "kekId", wrapped from read_system_data_keys()',
  );
  return rows;
}

/**
 * Stores a shared credential; `id` names the row when it is new. Needs the scope `admin`. Null when `version` (0 for a
 * new row) is no longer the row's.
 */
export async function saveSharedCredential(
  db: Queryable,
  settings: {
    readonly id: string;
    readonly service: string;
    readonly credential: Omit<SharedCredential, 'updatedAt'>;
    readonly updatedBy: string;
    readonly version: number;
  },
): Promise<ServiceSettings | null> {
  const { credential } = settings;
  const { rows } = await db.query<SettingsRow>(
    `insert into service_settings as s (id, service, shared_method, shared_revision, sealed_shared_credential,
       shared_identity, shared_checked_at, shared_updated_at, updated_by)
     values ($1, $2, $3, $4, $5, $6, $7, now(), $8)
     on conflict (service) do update set shared_method = excluded.shared_method,
       shared_revision = excluded.shared_revision, sealed_shared_credential = excluded.sealed_shared_credential,
       shared_identity = excluded.shared_identity, shared_checked_at = excluded.shared_checked_at,
       shared_updated_at = now(), updated_by = excluded.updated_by, updated_at = now(), version = s.version + 1
     where s.version = $9 and s.id = excluded.id and s.shared_revision < excluded.shared_revision
     returning *`,
    [
      settings.id,
      settings.service,
      credential.method,
      credential.revision,
      credential.sealed,
      credential.identityLabel,
      credential.checkedAt,
      settings.updatedBy,
      settings.version,
    ],
  );
  return rows[0] === undefined ? null : toServiceSettings(rows[0]);
}

/** Wipes a shared credential and keeps its revision. Needs the scope `admin`. False when there is none. */
export async function removeSharedCredential(
  db: Queryable,
  service: string,
  updatedBy: string,
): Promise<boolean> {
  const { rowCount } = await db.query(
    `update service_settings set shared_method = null, sealed_shared_credential = null, shared_identity = null,
       shared_checked_at = null, shared_updated_at = null, updated_by = $2, updated_at = now(), version = version + 1
     where service = $1 and sealed_shared_credential is not null`,
    [service, updatedBy],
  );
  return rowCount === 1;
}

function toServiceSettings(row: SettingsRow): ServiceSettings {
  const { shared_method: method, sealed_shared_credential: sealed } = row;
  return {
    id: row.id,
    service: row.service,
    sharedCredential:
      method === null || sealed === null
        ? null
        : {
            method,
            sealed,
            revision: row.shared_revision,
            identityLabel: row.shared_identity,
            checkedAt: row.shared_checked_at,
            updatedAt: row.shared_updated_at ?? row.updated_at,
          },
    lastSharedRevision: row.shared_revision,
    version: row.version,
  };
}
