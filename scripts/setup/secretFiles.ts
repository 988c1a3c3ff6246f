/** Writes files that are made once and must never be half there or readable by others. */
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';

/**
 * Makes the file with the content that `make` gives, unless it is there; its mode is set either way.
 * Of parallel callers exactly one makes it.
 * @returns true when this call made it
 */
export function makeFileOnce(path: string, mode: number, make: () => string): boolean {
  if (existsSync(path)) {
    setMode(path, mode);
    return false;
  }
  const draft = `${path}.${process.pid}.draft`;
  writeFileSync(draft, make(), { mode, flush: true });
  try {
    // A link, unlike a rename, refuses to replace what somebody else made meanwhile.
    linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return false;
  } finally {
    rmSync(draft, { force: true });
  }
}

/** Makes or replaces the file in one step, unless it says so already; true when its content changed. */
export function replaceFile(path: string, mode: number, content: string): boolean {
  if (existsSync(path) && readFileSync(path, 'utf8') === content) {
    setMode(path, mode);
    return false;
  }
  const draft = `${path}.${process.pid}.draft`;
  writeFileSync(draft, content, { mode, flush: true });
  renameSync(draft, path);
  return true;
}

/** Makes the directory and its parents; the mode is that of the last one, set even when it was there. */
export function ensureDirectory(path: string, mode: number): void {
  mkdirSync(path, { recursive: true, mode: 0o755 });
  setMode(path, mode);
}

function setMode(path: string, mode: number): void {
  if ((statSync(path).mode & 0o777) !== mode) chmodSync(path, mode);
}
