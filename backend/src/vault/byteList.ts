/**
 * An unambiguous encoding of a list of values, for what is authenticated or hashed together: the count, then each value
 * behind its length. Two different lists never encode alike, which concatenation and JSON cannot promise.
 */

/** Count and lengths are unsigned 32-bit big-endian; text is UTF-8. */
export function encodeByteList(values: readonly (string | Uint8Array)[]): Buffer {
  let size = numberBytes;
  for (const value of values) size += numberBytes + byteLength(value);
  const list = Buffer.allocUnsafe(size);
  let at = list.writeUInt32BE(values.length);
  for (const value of values) {
    const length = byteLength(value);
    at = list.writeUInt32BE(length, at);
    if (typeof value === 'string') list.write(value, at, 'utf8');
    else list.set(value, at);
    at += length;
  }
  return list;
}

const numberBytes = 4;

function byteLength(value: string | Uint8Array): number {
  return typeof value === 'string' ? Buffer.byteLength(value, 'utf8') : value.length;
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function uint64(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}
