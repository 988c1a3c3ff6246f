/**
 * How the audit names a tool call's arguments without holding them: a keyed digest, so that equal arguments can be
 * seen to be equal, yet nobody without `k_audit` can guess them.
 */
import { createHmac, type KeyObject } from 'node:crypto';

/** HMAC-SHA256 over the arguments' bytes as they arrived, in lower-case hex, kept apart from other uses of the key. */
export function argumentDigest(kAudit: KeyObject, args: Uint8Array): string {
  return createHmac('sha256', kAudit).update('arguments/1\0').update(args).digest('hex');
}
