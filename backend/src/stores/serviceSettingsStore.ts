/**
 * What an admin set for a service beyond its config file: admin configuration and a shared credential, both sealed
 * under the system's data key, and whether the service is switched off. A change notifies `portolan_registry`.
 */
import type { Queryable } from '../database/queryable.js';
import type { SealedColumn, WrappedDataKey } from './instanceLookupStore.js';

export interface ServiceSettings {
  readonly service: string;
  readonly isEnabled: boolean;
  /** Bound to the column `sealed_admin_config`; the plaintext is JSON `{name: value}`. */
  readonly adminConfig: SealedColumn | null;
  /** Bound to the column `sealed_shared_credential`; the plaintext is that of an instance's credential. */
  readonly sharedCredential: (SealedColumn & { readonly method: string }) | null;
  readonly version: number;
  /** The row's uuid, which the seals are bound to. */
  readonly id: string;
}

interface SettingsRow {
  id: string;
  service: string;
  is_enabled: boolean;
  admin_config_revision: number;
  sealed_admin_config: Buffer | null;
  shared_method: string | null;
  shared_revision: number;
  sealed_shared_credential: Buffer | null;
  version: number;
}

/** For the main API; needs the scope `admin`. */
export async function findServiceSettings(db: Queryable, service: string): Promise<ServiceSettings | null> {
  const { rows } = await db.query<SettingsRow>('select * from service_settings where service = $1', [
    service,
  ]);
  return rows[0] === undefined ? null : toServiceSettings(rows[0]);
}

/** For a service process: its own settings and the system's data keys that open them. */
export async function readServiceSettings(
  db: Queryable,
  service: string,
): Promise<{ readonly settings: ServiceSettings | null; readonly dataKeys: readonly WrappedDataKey[] }> {
  const settings = await db.query<SettingsRow>('select * from read_service_settings($1)', [service]);
  const keys = await db.query<WrappedDataKey>(
    'select id, kek_id as "kekId", wrapped from read_system_data_keys()',
  );
  const row = settings.rows[0];
  return { settings: row === undefined ? null : toServiceSettings(row), dataKeys: keys.rows };
}

/**
 * Writes the settings of a service; `id` names the row when it is new. Needs the scope `admin`. Null when `version` (0
 * for a new row) is no longer the row's.
 */
export async function saveServiceSettings(
  db: Queryable,
  settings: Omit<ServiceSettings, 'version'> & { readonly version: number; readonly updatedBy: string },
): Promise<ServiceSettings | null> {
  const { rows } = await db.query<SettingsRow>(
    `insert into service_settings as s (id, service, is_enabled, admin_config_revision, sealed_admin_config,
       shared_method, shared_revision, sealed_shared_credential, updated_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
     on conflict (service) do update set is_enabled = excluded.is_enabled,
       admin_config_revision = excluded.admin_config_revision, sealed_admin_config = excluded.sealed_admin_config,
       shared_method = excluded.shared_method, shared_revision = excluded.shared_revision,
       sealed_shared_credential = excluded.sealed_shared_credential, updated_by = excluded.updated_by,
       updated_at = now(), version = s.version + 1
     where s.version = $10 and s.id = excluded.id
     returning *`,
    [
      settings.id,
      settings.service,
      settings.isEnabled,
      settings.adminConfig?.revision ?? 0,
      settings.adminConfig?.sealed ?? null,
      settings.sharedCredential?.method ?? null,
      settings.sharedCredential?.revision ?? 0,
      settings.sharedCredential?.sealed ?? null,
      settings.updatedBy,
      settings.version,
    ],
  );
  return rows[0] === undefined ? null : toServiceSettings(rows[0]);
}

function toServiceSettings(row: SettingsRow): ServiceSettings {
  return {
    id: row.id,
    service: row.service,
    isEnabled: row.is_enabled,
    adminConfig:
      row.sealed_admin_config === null
        ? null
        : { revision: row.admin_config_revision, sealed: row.sealed_admin_config },
    sharedCredential:
      row.sealed_shared_credential === null || row.shared_method === null
        ? null
        : { method: row.shared_method, revision: row.shared_revision, sealed: row.sealed_shared_credential },
    version: row.version,
  };
}
