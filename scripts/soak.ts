/**
 * `npm run soak`: runs the soak of `tests/support/soak` from source, as jest does: what it is made of are tests' things,
 * and no part of the build. See docs/soak.md.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { findProjectRoot } from '../backend/src/config/projectRoot.js';

const support = join(findProjectRoot(), 'tests', 'support');
const loader = join(support, 'typescriptLoader.mjs');
const program = join(support, 'soak', 'main.ts');
const child = spawn(
  process.execPath,
  ['--no-warnings', '--import', loader, program, ...process.argv.slice(2)],
  { stdio: 'inherit' },
);
// It gets the terminal's own signals too, and ends its fleet before itself.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {});
child.once('exit', (code) => {
  process.exitCode = code ?? 1;
});
