/**
 * The checkpoints in the state directory: a file a day, a statement a line, each on the disk before the next is made. A
 * database whose last days were cut off, or that was put back, is found out by them; copy them elsewhere, and so is
 * somebody who has the machine.
 */
import {
  closeSync,
  createReadStream,
  fstatSync,
  fsyncSync,
  openSync,
  readSync,
  readdirSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export interface CheckpointFiles {
  append(statement: string, issuedAt: string): void;
  /** All statements, oldest first. Lines that are torn or strange come as they are. */
  read(): AsyncGenerator<string>;
  /** The last line; null where there is none. */
  last(): string | null;
  /** Removes the files of days before that one (`YYYY-MM-DD`). */
  forgetBefore(day: string): void;
}

const fileForm = /^\d{4}-\d{2}-\d{2}\.ndjson$/;

export function openCheckpointFiles(dir: string): CheckpointFiles {
  const list = (): string[] => {
    try {
      return readdirSync(dir)
        .filter((name) => fileForm.test(name))
        .sort();
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
      throw error;
    }
  };

  return {
    append(statement, issuedAt) {
      const fd = openSync(join(dir, `${issuedAt.slice(0, 10)}.ndjson`), 'a', 0o600);
      try {
        writeSync(fd, `${statement}\n`);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
    },
    async *read() {
      for (const name of list()) {
        const lines = createInterface({ input: createReadStream(join(dir, name)), crlfDelay: Infinity });
        for await (const line of lines) if (line !== '') yield line;
      }
    },
    last() {
      const name = list().at(-1);
      return name === undefined ? null : readLastLine(join(dir, name));
    },
    forgetBefore(day) {
      for (const name of list()) if (name < day) rmSync(join(dir, name), { force: true });
    },
  };
}

const tailBytes = 64 * 1024;

/** Reads from the end on, as much as the last line takes. */
function readLastLine(path: string): string | null {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    for (let wanted = tailBytes; ; wanted *= 4) {
      const bytes = Buffer.alloc(Math.min(wanted, size));
      readSync(fd, bytes, 0, bytes.length, size - bytes.length);
      const lines = bytes.toString('utf8').trimEnd().split('\n');
      if (lines.length > 1 || bytes.length === size) return lines.at(-1) || null;
    }
  } finally {
    closeSync(fd);
  }
}
