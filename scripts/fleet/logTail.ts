import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

const bytesMax = 64 * 1024;

/** The last lines of a log file; empty when there is none. */
export function readLogTail(path: string, linesMax: number): string[] {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    return [];
  }
  try {
    const { size } = fstatSync(file);
    const length = Math.min(size, bytesMax);
    const bytes = Buffer.alloc(length);
    readSync(file, bytes, 0, length, size - length);
    const lines = bytes.toString('utf8').trimEnd().split('\n');
    return lines.filter((line) => line !== '').slice(-linesMax);
  } finally {
    closeSync(file);
  }
}
