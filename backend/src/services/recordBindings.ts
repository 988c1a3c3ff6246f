/**
 * Where each sealed column of an instance lies, as it is authenticated into the record (05, "Sealed record"). The sealing
 * and the opening side both read it here, so that they cannot differ.
 */
import type { RecordBinding } from '../vault/sealedRecord.js';

export type SealedColumn = 'sealed_credential' | 'sealed_overrides' | 'sealed_url';

/** Grows when the plaintext's form changes. */
const schemaVersion = 1;

export interface BoundInstance {
  readonly id: string;
  readonly userId: string;
  readonly credentialRevision: number;
  readonly overridesRevision: number;
}

/**
 * The place of one sealed column. A staged credential is sealed as the `sealed_credential` of the revision that it will
 * have, so that promoting it moves bytes only. The sealed URL is bound to no revision: rotating writes a new record.
 */
export function toRecordBinding(
  installId: string,
  column: SealedColumn,
  instance: BoundInstance,
): RecordBinding {
  const revision =
    column === 'sealed_credential'
      ? instance.credentialRevision
      : column === 'sealed_overrides'
        ? instance.overridesRevision
        : 0;
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
