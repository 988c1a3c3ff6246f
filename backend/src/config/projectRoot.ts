import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * The checkout that this file belongs to, whether it runs from source or from `dist/`: the nearest folder above that
 * has `db/migrations` beside a package.json.
 */
export function findProjectRoot(from: string = import.meta.dirname): string {
  let folder = from;
  while (!(existsSync(join(folder, 'package.json')) && existsSync(join(folder, 'db', 'migrations')))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error(`no project root above ${from}`);
    folder = parent;
  }
  return folder;
}
