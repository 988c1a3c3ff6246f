/**
 * Where each sealed column lies, as it is authenticated into the record (05, "Sealed record"). The sealing and the opening
 * side both read it here, so that they cannot differ.
 */
import type { SealedRecordRow } from '../stores/keyRotationStore.js';
import { systemOwner } from '../vault/keyWrapping.js';
import type { RecordBinding } from '../vault/sealedRecord.js';

export type SealedColumn = 'sealed_credential' | 'sealed_overrides' | 'sealed_url';

/** Grows when a plaintext's form changes. */
const schemaVersion = 1;

/**
 * The place of one sealed column at one of its revisions. A staged credential is sealed as the `sealed_credential` of the
 * revision that it will have, so that promoting it moves bytes only.
 */
export function toRecordBinding(
  installId: string,
  column: SealedColumn,
  instance: { readonly id: string; readonly userId: string },
  revision: number,
): RecordBinding {
  return {
    installId,
    table: 'instances',
    column,
    userId: instance.userId,
    rowId: instance.id,
    revision,
    schemaVersion,
  };
}

/** The place of a credential that an admin shares with all users of a service, at one of its revisions (12.19). */
export function toSharedBinding(
  installId: string,
  settings: { readonly id: string },
  revision: number,
): RecordBinding {
  return {
    installId,
    table: 'service_settings',
    column: 'sealed_shared_credential',
    userId: systemOwner,
    rowId: settings.id,
    revision,
    schemaVersion,
  };
}

/** The place of what a sign-in with a service needs when its answer comes; it is sealed once. */
export function toSignInBinding(
  installId: string,
  signIn: { readonly id: string; readonly userId: string },
): RecordBinding {
  return {
    installId,
    table: 'oauth_sign_ins',
    column: 'sealed_context',
    userId: signIn.userId,
    rowId: signIn.id,
    revision: 1,
    schemaVersion,
  };
}

/** The place of a client that this installation registered with an authorization server; it is sealed once. */
export function toClientBinding(installId: string, client: { readonly id: string }): RecordBinding {
  return {
    installId,
    table: 'oauth_clients',
    column: 'sealed_client',
    userId: systemOwner,
    rowId: client.id,
    revision: 1,
    schemaVersion,
  };
}

/** The place of a record as the list of all sealed records tells it (`sealed_records`). */
export function toStoredBinding(
  installId: string,
  row: Pick<SealedRecordRow, 'table' | 'column' | 'rowId' | 'userId' | 'revision'>,
): RecordBinding {
  return {
    installId,
    table: row.table,
    // A staged credential lies under the name that it will have.
    column: row.column === 'sealed_staged' ? 'sealed_credential' : row.column,
    userId: row.userId ?? systemOwner,
    rowId: row.rowId,
    revision: row.revision,
    schemaVersion,
  };
}
