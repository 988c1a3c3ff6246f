/** What the database holds of an access key: nothing that could be used, or tested a guess on, without `k_lookup`. */
import { createHmac, type KeyObject } from 'node:crypto';

/** HMAC-SHA256 of the key's bytes under `k_lookup`, kept apart from the digests of instance ids. */
export function accessKeyDigest(kLookup: KeyObject, accessKey: string): Buffer {
  return createHmac('sha256', kLookup).update('access-key/1\0').update(accessKey, 'utf8').digest();
}
