/**
 * Tells key material that no random generator made: too short, constant, periodic, counted up, or typed in by a
 * person. Each check refuses a good random key with a chance below 2^-40, so a refusal is never bad luck.
 */

/** Every symmetric key of the vault has this length; AES-256 and HMAC-SHA256 both take it whole. */
export const keyBytes = 32;

/** Names what is wrong with a key in words fit for a log, or gives null. The words never hold the key or a part of it. */
export function findKeyWeakness(key: Uint8Array): string | null {
  if (key.length !== keyBytes) return `it has ${key.length} bytes, ${keyBytes} are needed`;
  if (isPeriodic(key)) return 'it repeats one pattern';
  if (isCounted(key)) return 'its bytes are an arithmetic sequence';
  if (key.every(isPrintable)) return 'it is text; a key is never made from a passphrase';
  if (new Set(key).size < distinctBytesMin) return 'it has too few distinct bytes';
  return null;
}

/** 32 random bytes hold fewer than this many different values about once in 2^48. */
const distinctBytesMin = 16;

function isPeriodic(key: Uint8Array): boolean {
  for (let period = 1; period <= key.length / 2; period += 1) {
    if (key.every((byte, at) => byte === key[at % period])) return true;
  }
  return false;
}

function isCounted(key: Uint8Array): boolean {
  const step = ((key[1] ?? 0) - (key[0] ?? 0)) & 0xff;
  return key.every((byte, at) => at === 0 || ((byte - (key[at - 1] ?? 0)) & 0xff) === step);
}

function isPrintable(byte: number): boolean {
  return (byte >= 0x20 && byte < 0x7f) || byte === 0x09 || byte === 0x0a || byte === 0x0d;
}
