/**
 * What follows when the remote server refuses a message with 401 or 403: a fresh credential to try once more with, or
 * the error for the caller and a note for the owner. Nothing of the refusal was passed on when this is asked.
 */
import type { EgressHead } from '../../../../egress/egressExchange.js';
import { AppError } from '../../../../errors/appError.js';
import type { CredentialValues } from '../../../../services/credentialValues.js';
import type { ResolvedInstance } from '../../../../services/resolvedInstance.js';
import type { RemoteParts } from './remoteParts.js';
import { toStatusError } from './statusErrors.js';

type RefusalParts = Pick<RemoteParts, 'renewal' | 'notes' | 'isStillAccepted'>;

/**
 * @param isRenewed whether the values are already those of a renewal.
 * @returns the values to send the message with once more.
 * @throws AppError EXPIRED_CREDENTIALS, CREDENTIAL_MISSING, UPSTREAM_FAILED, and what a renewal throws.
 */
export async function overcomeRefusal(
  { renewal, notes, isStillAccepted }: RefusalParts,
  terms: { readonly instance: ResolvedInstance; readonly values: CredentialValues },
  head: EgressHead,
  isRenewed: boolean,
  signal: AbortSignal,
): Promise<CredentialValues> {
  const { instance } = terms;
  const error = toStatusError(head, instance);
  if (head.status === 401) {
    const renewed = isRenewed || renewal === null ? null : await renewal.renew(instance, terms.values);
    if (renewed !== null) return renewed;
    if (error.code === 'EXPIRED_CREDENTIALS') notes.noteRefused(instance, head.status);
    throw error;
  }
  // Some services say 403 for a bad credential as well as for a good one that may not do this.
  if (
    instance.credentialMethod !== null &&
    isStillAccepted !== null &&
    !(await isStillAccepted(terms, signal))
  ) {
    notes.noteRefused(instance, head.status);
    throw new AppError('EXPIRED_CREDENTIALS', error.message);
  }
  throw error;
}
