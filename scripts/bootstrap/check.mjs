// `npm run check`: everything that CI holds the project to, in one command, every step run and every failure named.
import { join } from 'node:path';
import { root, runChild } from './child.mjs';
import { findLockDifferences } from './lockedVersions.mjs';

const bin = (name) => join(root, 'node_modules', name);
const script = (name) => join(root, 'dist', 'scripts', `${name}.js`);

/** Steps that are one program; each prints its own finding and how to mend it. */
const programs = [
  ['ecosystem.config.js is what the registry says', script('generate-pm2-config'), ['--check']],
  ['the OpenAPI document is what the routes say', script('openapi'), ['--check']],
  ['types', bin('typescript/bin/tsc'), ['--noEmit', '-p', 'tsconfig.json']],
  ['lint', bin('oxlint/bin/oxlint'), ['--type-aware']],
  ['format', bin('prettier/bin/prettier.cjs'), ['--check', '--log-level=warn', '.']],
];

const lockedFolders = ['.', 'tools/node24'];

async function checkLocks() {
  const found = lockedFolders.flatMap((folder) => findLockDifferences(folder));
  for (const line of found) console.error(line);
  return found.length === 0 ? 0 : 1;
}

/**
 * Runs every step even when one fails, then names those that did.
 * @param {(() => Promise<number>) | null} runTests null leaves the tests out
 * @returns {Promise<number>} 0 or 1
 */
export async function checkProject(runTests) {
  const steps = [
    ['package-lock.json is what package.json says', checkLocks],
    ...programs.map(([name, path, args]) => [name, () => runChild(process.execPath, [path, ...args])]),
    ...(runTests === null ? [] : [['tests', runTests]]),
  ];
  const failed = [];
  for (const [name, run] of steps) {
    const startedAt = performance.now();
    const code = await run();
    if (code !== 0) failed.push(name);
    console.log(
      `${code === 0 ? 'ok    ' : 'FAILED'} ${name} (${((performance.now() - startedAt) / 1000).toFixed(1)} s)`,
    );
  }
  if (failed.length > 0)
    console.error(`${failed.length} of ${steps.length} checks failed: ${failed.join('; ')}`);
  return failed.length === 0 ? 0 : 1;
}
