// Compiles the sources when dist/ is not what they compile to, told by a stamp over their sizes and times.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { root, runChild } from './child.mjs';

const stampFile = join(root, 'dist', '.built-from');
const folders = ['backend/src', 'scripts', 'bench'];
const files = ['tsconfig.json', 'tsconfig.build.json', 'package-lock.json'];

function sourceFiles() {
  const found = files.map((file) => join(root, file));
  for (const folder of folders.map((name) => join(root, name)).filter((path) => existsSync(path))) {
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      if (entry.isFile() && /\.(ts|json)$|build\.mjs$/.test(entry.name))
        found.push(join(entry.parentPath, entry.name));
    }
  }
  return found.sort((one, other) => (one < other ? -1 : 1));
}

/** A digest over name, size and time of every source; equal digests mean that there is nothing to compile. */
function sourceDigest() {
  const digest = createHash('sha256');
  for (const path of sourceFiles()) {
    const { size, mtimeMs } = statSync(path);
    digest.update(`${relative(root, path)}\0${size}\0${mtimeMs}\n`);
  }
  return digest.digest('hex');
}

/** @returns {Promise<number>} the exit code of the compiler, 0 when there was nothing to do */
export async function ensureBuilt() {
  // Taken before compiling: what changes meanwhile is compiled by the next run.
  const digest = sourceDigest();
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === digest) return 0;
  console.log('Building…');
  const code = await runChild(process.execPath, [join(root, 'scripts', 'build.mjs')]);
  if (code === 0) writeFileSync(stampFile, digest);
  return code;
}
