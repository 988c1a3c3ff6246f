/**
 * Finds the script of a package's command, installed ahead, so that it is run by this Node itself: `npx` would add 200 ms
 * and a second process of 145 MB to each child, and could fetch code at run time.
 */
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { join, resolve, sep } from 'node:path';
import type { PackageReference } from '../../../../catalog/mcpServerDefinitions.js';
import { AppError } from '../../../../errors/appError.js';

/**
 * The absolute path of the script behind `command`. It is looked for where `packages` were installed for services, then
 * among the project's own dependencies, and has to have exactly the declared version.
 * @throws AppError SERVICE_UNAVAILABLE when it is not installed.
 */
export function findPackageBin(
  command: string,
  reference: PackageReference,
  places: { readonly packagesDir: string; readonly projectRoot: string },
): string {
  const { identifier, version } = reference;
  for (const root of [
    join(places.packagesDir, packageFolder(reference)),
    places.packagesDir,
    places.projectRoot,
  ]) {
    const folder = join(root, 'node_modules', ...identifier.split('/'));
    const manifest = readManifest(join(folder, 'package.json'));
    if (manifest === null || manifest.version !== version) continue;
    const bin = binOf(manifest, command, identifier);
    if (bin === null) continue;
    const script = realpathSync(resolve(folder, bin));
    if (script.startsWith(realpathSync(folder) + sep)) return script;
  }
  throw new AppError('SERVICE_UNAVAILABLE', `package ${identifier} ${version} is not installed`, {
    publicDetail:
      'The package of this service is not installed. An admin can install it with npm run install-packages.',
  });
}

/** The folder below the packages directory that holds one package at one version with what it depends on. */
export function packageFolder({ identifier, version }: PackageReference): string {
  return `${identifier.replace(/^@/, '').replaceAll('/', '__')}@${version}`;
}

interface Manifest {
  readonly version?: unknown;
  readonly bin?: unknown;
}

function readManifest(path: string): Manifest | null {
  if (!existsSync(path)) return null;
  const manifest: unknown = JSON.parse(readFileSync(path, 'utf8'));
  return typeof manifest === 'object' && manifest !== null ? manifest : null;
}

/** A `bin` that is one path belongs to the command named after the package (npm docs, package.json "bin"). */
function binOf({ bin }: Manifest, command: string, identifier: string): string | null {
  if (typeof bin === 'string') return command === identifier.split('/').at(-1) ? bin : null;
  if (typeof bin !== 'object' || bin === null) return null;
  const path: unknown = Object.entries(bin).find(([name]) => name === command)?.[1];
  return typeof path === 'string' ? path : null;
}
