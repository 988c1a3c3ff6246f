/**
 * Finds out how children can be kept apart here: each form is built and really tried, best first, with a program that looks
 * for what it must not reach. A form that lets it reach something counts as none.
 */
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { ChildIsolation, IsolationForm, IsolationPlaces } from './childIsolation.js';
import {
  bubblewrapForm,
  findTools,
  ownUidForm,
  plainForm,
  tryDirOf,
  type BuildForm,
  type Tools,
} from './forms.js';

export interface FindIsolationOptions {
  readonly places: IsolationPlaces;
  readonly isRoot?: boolean;
  readonly tools?: Tools;
  /** Best first; `none` needs no try. */
  readonly forms?: readonly IsolationForm[];
}

const tryTimeoutMs = 5_000;
const builders: Readonly<Record<Exclude<IsolationForm, 'none'>, BuildForm>> = {
  bubblewrap: bubblewrapForm,
  'own uid': ownUidForm,
};

/** Never throws: at worst there is no isolation, and `lacks` says why. */
export async function findIsolation(options: FindIsolationOptions): Promise<ChildIsolation> {
  const {
    places,
    isRoot = process.getuid?.() === 0,
    tools = findTools(),
    forms = ['bubblewrap', 'own uid'],
  } = options;
  const lacks: string[] = [];
  for (const form of forms) {
    if (form === 'none') break;
    const built = builders[form](tools, places, isRoot);
    if (typeof built === 'string') {
      lacks.push(built);
      continue;
    }
    const isolation = { form, launch: built, lacks: lacks.length === 0 ? null : lacks.join('; ') };
    const failure = await tryForm(isolation, places);
    if (failure === null) return isolation;
    lacks.push(`${form} does not work here (${failure})`);
  }
  return { form: 'none', lacks: lacks.join('; '), launch: plainForm(tools) };
}

/** Writes where it may, and fails where it can read the gateway's keys, look into its process or miss its own program. */
const script = `
touch "$HOME/touched" || exit 11
for path in "$2" "$3"; do head -c 1 "$path" >/dev/null 2>&1 && exit 12; done
ls "$4/database-urls" >/dev/null 2>&1 && exit 13
test "$5" = see && head -c 1 "/proc/$PPID/environ" >/dev/null 2>&1 && exit 14
"$1" --version >/dev/null 2>&1 || exit 15
test -d "$6" || exit 16
exit 0
`;

const failures: Readonly<Record<number, string>> = {
  11: 'it cannot write to its directory',
  12: 'it could read the keys',
  13: 'it could look into the state directory',
  14: 'it could look into the gateway’s process',
  15: 'it cannot run Node',
  16: 'it cannot reach the packages of the project',
};

/** @returns why not; null when it works. */
async function tryForm({ form, launch }: ChildIsolation, places: IsolationPlaces): Promise<string | null> {
  const dataDir = tryDirOf(places);
  try {
    if (form === 'own uid') openToPassage(places);
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    const { stateDir, keyRing, projectRoot } = places;
    const { file, args, env, cwd } = launch({
      file: '/bin/sh',
      args: [
        '-c',
        script,
        'try',
        process.execPath,
        keyRing,
        join(stateDir, 'database-urls', 'service'),
        stateDir,
        form === 'own uid' ? 'see' : 'hidden',
        join(projectRoot, 'node_modules', '.bin'),
      ],
      env: { HOME: dataDir, PATH: '/usr/bin:/bin' },
      cwd: dataDir,
      dataDir,
      owner: 'try',
      limits: { memoryBytes: 2 ** 31, tasksMax: 64 },
      readPaths: [],
      writePaths: [],
      network: 'host',
    });
    return await run(file, args, env, cwd);
  } catch (error) {
    return error instanceof Error ? error.message : 'it could not be built';
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}

/** A child of another uid has to pass through to its own directory; it still cannot list who else has one. */
function openToPassage({ stateDir, instanceDataDir }: IsolationPlaces): void {
  for (const directory of [stateDir, instanceDataDir]) {
    mkdirSync(directory, { recursive: true, mode: 0o711 });
    const mode = statSync(directory).mode & 0o777;
    if ((mode & 0o011) !== 0o011) chmodSync(directory, mode | 0o011);
  }
}

function run(
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  cwd: string,
): Promise<string | null> {
  return new Promise((resolve) => {
    const child = spawn(file, args, { env: { ...env }, cwd, stdio: ['ignore', 'ignore', 'pipe'] });
    const timer = setTimeout(() => child.kill('SIGKILL'), tryTimeoutMs);
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString('utf8')).slice(0, 500)));
    const end = (failure: string | null): void => {
      clearTimeout(timer);
      resolve(failure);
    };
    child.once('error', () => end('it could not be started'));
    child.once('close', (code) => {
      if (code === 0) return end(null);
      const line = said.split('\n')[0] ?? '';
      end(failures[code ?? -1] ?? (line === '' ? `it ended with ${code ?? 'a signal'}` : line));
    });
  });
}
