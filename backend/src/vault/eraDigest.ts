/**
 * How the era registry names an upstream and an authorization context without holding them: a keyed digest, so that
 * nobody without `k_audit` can guess the address or the instance behind one.
 */
import { createHmac, type KeyObject } from 'node:crypto';

/** HMAC-SHA256 in lower-case hex, kept apart from other uses of the key and by what is named. */
export function eraDigest(kAudit: KeyObject, names: 'upstream' | 'authorization', value: string): string {
  return createHmac('sha256', kAudit).update(`era/1/${names}\0`).update(value).digest('hex');
}
