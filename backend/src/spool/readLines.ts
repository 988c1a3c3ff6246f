/** Reads a spool file piece by piece, as lines with the positions that they have in it. */
import type { FileHandle } from 'node:fs/promises';
import { shippedLineStart } from './callRecord.js';
import type { PlacedLine } from './spoolBatch.js';

const chunkBytes = 256 * 1024;

export interface Chunk {
  readonly lines: readonly PlacedLine[];
  /** Where the next chunk begins. */
  readonly end: number;
}

/** Reads whole lines from a position that is a line's end; always at least one, however long it is. */
export async function readLines(
  file: FileHandle,
  from: number,
  size: number,
  bytesMax = chunkBytes,
): Promise<Chunk> {
  const bytes = Buffer.allocUnsafe(Math.min(bytesMax, size - from));
  const { bytesRead } = await file.read(bytes, 0, bytes.length, from);
  const last = bytes.subarray(0, bytesRead).lastIndexOf(0x0a);
  if (last < 0) {
    if (bytesRead < size - from && bytesRead === bytes.length)
      return readLines(file, from, size, bytesMax * 4);
    throw new Error('a spool file is shorter than it was written');
  }
  const lines: PlacedLine[] = [];
  for (let start = 0; start <= last;) {
    const end = bytes.indexOf(0x0a, start);
    const line = bytes.toString('utf8', start, end);
    // Carried lines are for the adopter; anything else that is not a record is what a failing disk left.
    if (line.startsWith(shippedLineStart) && line.endsWith('}'))
      lines.push({ position: from + end + 1, line });
    start = end + 1;
  }
  return { lines, end: from + last + 1 };
}
