// The commands of the bootstrap, each one: prepare (install, build), then one program in front of the user.
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ensureBuilt } from './build.mjs';
import { checkProject } from './check.mjs';
import { root, runChild } from './child.mjs';
import { ensureDependencies } from './dependencies.mjs';
import { loadEnvFile } from './envFile.mjs';
import { inTurn } from './turn.mjs';

const usage = `usage: node scripts/bootstrap.mjs <command>
  quickstart           install, build, prepare the state and start the fleet (--require-isolation: see docs/operations.md)
  stop                 stop the fleet
  status [--json]      show the fleet
  test [pattern…]      run the tests (arguments go to jest)
  check [--no-tests]   everything that CI checks
  run <script> [args]  run a program of scripts/, such as: run generate-pm2-config --check`;

/** Where each run of the tests leaves its figures (jest's JSON), for `.ci/run` to sum up. */
export const resultsFolder = join(root, 'dist', 'test-results');

/** Installs and builds what is missing; both are skipped in milliseconds when nothing changed. */
const prepare = () => inTurn(async () => (await ensureDependencies()) || (await ensureBuilt()));

async function runScript(name, args) {
  if (!/^[a-z][a-z0-9-]*$/.test(name ?? '') || !existsSync(join(root, 'scripts', `${name}.ts`))) {
    console.error(`There is no script "${name ?? ''}".\n${usage}`);
    return 2;
  }
  return (
    (await prepare()) ||
    (await runChild(process.execPath, [join(root, 'dist', 'scripts', `${name}.js`), ...args]))
  );
}

/** Runs jest on the projects `rooms` and `e2e`, or on those that the arguments select. */
async function runTests(args) {
  const code = await prepare();
  if (code !== 0) return code;
  const chosen = args.indexOf('--selectProjects');
  const projects =
    chosen === -1 ? ['rooms', 'e2e'] : args.slice(chosen + 1).filter((arg) => !arg.startsWith('-'));
  mkdirSync(resultsFolder, { recursive: true });
  return await runChild(process.execPath, [
    '--experimental-vm-modules',
    '--no-warnings',
    join(root, 'node_modules', 'jest', 'bin', 'jest.js'),
    ...args,
    ...(chosen === -1 ? ['--selectProjects', ...projects] : []),
    '--json',
    `--outputFile=${join(resultsFolder, `${projects.join('-')}.json`)}`,
  ]);
}

/**
 * @param {string | undefined} command
 * @param {string[]} args
 * @returns {Promise<number>} the exit code: 0, that of the step that failed, or 2 for a command that does not exist
 */
export async function runCommand(command, args) {
  switch (command) {
    case 'quickstart':
    case 'stop':
    case 'status':
      loadEnvFile();
      // As if the environment said so; a line in .env makes it last.
      if (args.includes('--require-isolation')) process.env.REQUIRE_ISOLATION = 'true';
      return await runScript(command, args);
    case 'run':
      loadEnvFile();
      return await runScript(args[0], args.slice(1));
    case 'test':
      return await runTests(args);
    case 'check':
      return (
        (await prepare()) || (await checkProject(args.includes('--no-tests') ? null : () => runTests([])))
      );
    case undefined:
    default:
      console.error(usage);
      return 2;
  }
}
