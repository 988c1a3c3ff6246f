// Holds package-lock.json to package.json, offline: a dependency that was edited by hand is found before CI installs it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './child.mjs';

const kinds = ['dependencies', 'devDependencies', 'optionalDependencies', 'engines'];

/**
 * @param {string} folder relative to the project root, with a package.json and a package-lock.json
 * @returns {string[]} one line for each difference, and for each version that is a range instead of one release
 */
export function findLockDifferences(folder) {
  const read = (name) => JSON.parse(readFileSync(join(root, folder, name), 'utf8'));
  const manifest = read('package.json');
  const locked = read('package-lock.json').packages[''];
  const found = [];
  for (const kind of kinds) {
    const names = new Set([...Object.keys(manifest[kind] ?? {}), ...Object.keys(locked[kind] ?? {})]);
    for (const name of names) {
      const [asked, kept] = [manifest[kind]?.[name], locked[kind]?.[name]];
      if (asked !== kept)
        found.push(`${folder}: ${kind} ${name} is ${asked} in package.json, ${kept} in the lock`);
      if (kind !== 'engines' && asked !== undefined && !/^(?:npm:@?[^@]+@)?\d/.test(asked)) {
        found.push(`${folder}: ${kind} ${name} ${asked} is a range; pin one release`);
      }
    }
  }
  return found;
}
