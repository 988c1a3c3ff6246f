/**
 * Drains a child's stderr, which would otherwise block the child, and keeps the last of it for the operator. It may hold
 * anything, secrets included, so it is never sent to a client and logged only when somebody debugs.
 */
import type { Readable } from 'node:stream';

export interface StderrTail {
  /** The last few KiB, as text. */
  text(): string;
}

const tailBytesMax = 4 * 1024;

export function createStderrTail(stderr: Readable): StderrTail {
  let tail = Buffer.alloc(0);
  stderr.on('data', (chunk: Buffer) => {
    tail =
      chunk.length >= tailBytesMax
        ? Buffer.from(chunk.subarray(chunk.length - tailBytesMax))
        : Buffer.concat([tail, chunk]).subarray(-tailBytesMax);
  });
  return { text: () => tail.toString('utf8') };
}
