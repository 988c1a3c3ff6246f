/**
 * An unambiguous encoding of a list of values, for what is authenticated or hashed together: the count, then each value
 * behind its length. Two different lists never encode alike, which concatenation and JSON cannot promise.
 */

/** Count and lengths are unsigned 32-bit big-endian; text is UTF-8. */
export function encodeByteList(values: readonly (string | Uint8Array)[]): Buffer {
  const parts: Uint8Array[] = [uint32(values.length)];
  for (const value of values) {
    const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
    parts.push(uint32(bytes.length), bytes);
  }
  return Buffer.concat(parts);
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
