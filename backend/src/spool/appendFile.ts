/**
 * A file that only grows, by whole writes: after a write that failed half-way it is cut back to where the write began,
 * so that what follows never joins a torn line.
 */
import { closeSync, constants, fdatasync, ftruncateSync, openSync, writeSync } from 'node:fs';

export interface AppendFile {
  readonly path: string;
  /** Bytes of whole writes; nothing beyond is to be read. */
  readonly size: number;
  /** Hands the bytes to the kernel, so that they outlive this process. Throws the system's error, having added nothing. */
  append(bytes: Uint8Array): void;
  /** Resolves when what was appended so far outlives a loss of power. */
  datasync(): Promise<void>;
  close(): void;
}

/** Creates the file, mode 0600; it must not exist. */
export function createAppendFile(path: string): AppendFile {
  const flags = constants.O_CREAT | constants.O_EXCL | constants.O_APPEND | constants.O_WRONLY;
  const fd = openSync(path, flags, 0o600);
  let size = 0;
  let isTorn = false;

  return {
    path,
    get size() {
      return size;
    },
    append(bytes) {
      if (isTorn) throw new Error('the file ends in a torn write that could not be taken back');
      try {
        for (let written = 0; written < bytes.length;) {
          written += writeSync(fd, bytes, written, bytes.length - written);
        }
      } catch (error) {
        isTorn = true;
        ftruncateSync(fd, size);
        isTorn = false;
        throw error;
      }
      size += bytes.length;
    },
    datasync: () =>
      new Promise((resolve, reject) => {
        fdatasync(fd, (error) => (error === null ? resolve() : reject(error)));
      }),
    close: () => closeSync(fd),
  };
}
