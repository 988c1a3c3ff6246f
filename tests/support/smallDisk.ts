/** A disk that is full when a test wants it to be: a tmpfs, which only root may mount. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, realpathSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const mayMount = process.getuid?.() === 0;

export interface SmallDisk extends Disposable {
  readonly path: string;
  freeBytes(): number;
  /** Takes what is left, but for so much. */
  fill(butBytes?: number): void;
  /** Gives it back. */
  free(): void;
}

export function aSmallDisk(megabytes: number): SmallDisk {
  const path = realpathSync(mkdtempSync(join(tmpdir(), 'portolan-disk-')));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0755`, 'tmpfs', path]);
  chmodSync(path, 0o755);
  const filler = join(path, 'filler');
  const freeBytes = (): number => {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  };
  return {
    path,
    freeBytes,
    fill(butBytes = 0) {
      rmSync(filler, { force: true });
      try {
        writeFileSync(filler, Buffer.alloc(Math.max(0, freeBytes() - butBytes)));
      } catch (error) {
        // Somebody took a part of it meanwhile; full it is.
        if (!(error instanceof Error) || !('code' in error) || error.code !== 'ENOSPC') throw error;
      }
    },
    free: () => rmSync(filler, { force: true }),
    [Symbol.dispose]() {
      // What is still closing its files is not waited for.
      execFileSync('umount', ['--lazy', path]);
      rmSync(path, { recursive: true, force: true });
    },
  };
}
