/**
 * The credential of an instance. It arrives *staged* beside the one in use and is promoted once the service accepted it.
 * Staged or not, it is sealed for the column `sealed_credential` and its own revision, so that promoting moves bytes and
 * opens nothing. Run inside `withUser`.
 */
import type { Queryable } from '../database/queryable.js';
import { changeInstance, type Instance, type InstanceKey } from './instancesStore.js';

/**
 * Puts a sealed credential beside the one in use. `revision` must be `lastCredentialRevision + 1` of the row that the
 * caller read; null when somebody staged another one meanwhile. A row without a credential becomes `checking`.
 */
export function stageCredential(
  db: Queryable,
  key: InstanceKey,
  staged: { readonly method: string; readonly revision: number; readonly sealed: Buffer },
): Promise<Instance | null> {
  return changeInstance(
    db,
    key,
    `staged_method = $3, staged_revision = $4, last_credential_revision = $4, sealed_staged = $5, staged_at = now(),
     state = case when sealed_credential is null and is_active then 'checking' else state end`,
    [staged.method, staged.revision, staged.sealed],
    'last_credential_revision = $4 - 1',
  );
}

/** Makes the staged credential of that revision the one in use; null when it is no longer staged. */
export function promoteStagedCredential(
  db: Queryable,
  key: InstanceKey,
  promotion: {
    readonly revision: number;
    readonly state: 'ready' | 'checking';
    readonly identityLabel: string | null;
  },
): Promise<Instance | null> {
  return changeInstance(
    db,
    key,
    `credential_method = staged_method, credential_revision = staged_revision, sealed_credential = sealed_staged,
     staged_method = null, staged_revision = null, sealed_staged = null, staged_at = null,
     state = case when is_active then $4 else 'paused' end, state_cause = null, identity_label = $5,
     last_checked_at = now(), last_success_at = case when $4 = 'ready' then now() else last_success_at end`,
    [promotion.revision, promotion.state, promotion.identityLabel],
    'staged_revision = $3',
  );
}

/**
 * Forgets the staged credential of that revision. With `removeIfNew` a row that never had a credential goes with it.
 */
export async function discardStagedCredential(
  db: Queryable,
  key: InstanceKey,
  discard: { readonly revision: number; readonly removeIfNew: boolean },
): Promise<'kept' | 'removed' | 'gone'> {
  if (discard.removeIfNew) {
    const removed = await db.query(
      `delete from instances where id = $1 and user_id = $2 and deleted_at is null and staged_revision = $3 and sealed_credential is null`,
      [key.id, key.userId, discard.revision],
    );
    if (removed.rowCount === 1) return 'removed';
  }
  const kept = await changeInstance(
    db,
    key,
    `staged_method = null, staged_revision = null, sealed_staged = null, staged_at = null,
     state = case when sealed_credential is null and is_active then 'not_configured' else state end`,
    [discard.revision],
    'staged_revision = $3',
  );
  return kept === null ? 'gone' : 'kept';
}

/** Wipes the credential, keeps the URL and the overrides. */
export function removeCredential(db: Queryable, key: InstanceKey): Promise<Instance | null> {
  return changeInstance(
    db,
    key,
    `credential_method = null, credential_revision = null, sealed_credential = null, identity_label = null,
     staged_method = null, staged_revision = null, sealed_staged = null, staged_at = null,
     state = case when is_active then 'not_configured' else 'paused' end, state_cause = null, epoch = epoch + 1`,
    [],
  );
}
