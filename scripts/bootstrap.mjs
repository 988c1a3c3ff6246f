// The door to every command: node scripts/bootstrap.mjs quickstart | stop | status | test | check | run <script> [args].
// It needs no dependency and no build, and makes both: a fresh clone has neither (docs/decisions say why it is plain ESM).
// This file keeps to syntax that old versions of Node parse, so that they can be told so.
import { readFileSync } from 'node:fs';

const { engines } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const wanted = engines.node.replace(/[^\d.]/g, '');

/** True when `version` is at least `wanted`, both such as `20.19.0`. */
function isAtLeast(version, least) {
  const [have, need] = [version, least].map((text) => text.split('.').map(Number));
  for (let i = 0; i < 3; i += 1) {
    const [a, b] = [have[i] || 0, need[i] || 0];
    if (a !== b) return a > b;
  }
  return true;
}

if (!isAtLeast(process.versions.node, wanted)) {
  console.error(
    `Portolan needs Node ${wanted} or later; this is Node ${process.versions.node} (${process.execPath}).`,
  );
  process.exit(1);
}

const { runCommand } = await import('./bootstrap/commands.mjs');
process.exitCode = await runCommand(process.argv[2], process.argv.slice(3));
