// Compiles backend, scripts and bench to dist/, marks dist/ as ESM and removes what no longer has a source.
// It never empties dist/, so that a running fleet keeps the files it may still load.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');
mkdirSync(dist, { recursive: true });
writeFileSync(join(dist, 'package.json'), '{ "private": true, "type": "module" }\n');

const tsc = join(root, 'node_modules/typescript/bin/tsc');
const { status } = spawnSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.build.json')], {
  stdio: 'inherit',
});

for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
  const built = /^(.*)\.js$/.exec(relative(dist, join(entry.parentPath, entry.name)));
  if (!entry.isFile() || !built || existsSync(join(root, `${built[1]}.ts`))) continue;
  for (const ending of ['.js', '.js.map']) rmSync(join(dist, built[1] + ending), { force: true });
}
process.exit(status ?? 1);
