/**
 * What is started for one instance: the command with its templates rendered, and an environment made of the allow-list
 * and the declared names only (F05). Nothing of this process's own environment passes by itself.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { renderValue, type TemplateValues } from '../../../../catalog/template.js';
import type { StdioDefinition } from '../../../../catalog/mcpServerDefinitions.js';
import type { CredentialValues } from '../../../../services/credentialValues.js';
import { findPackageBin } from './packageBin.js';
import type { ChildCommand } from './isolation/childIsolation.js';

export interface CommandPlaces {
  readonly instanceDataDir: string;
  readonly packagesDir: string;
  readonly projectRoot: string;
  /** Looks up a variable of this process's environment. */
  readonly inheritedEnv: (name: string) => string | undefined;
}

/** The private directory of an instance, made with mode 0700 when it is not there. */
export function openDataDir(instanceDataDir: string, name: string): string {
  const directory = join(instanceDataDir, name);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  return directory;
}

/**
 * @param dataDir the directory of the instance; it is the child's HOME and, unless declared otherwise, where it runs.
 * @param owner whose child it is, as `ChildCommand` has it.
 * @throws AppError CREDENTIAL_MISSING, INVALID_REQUEST (a value that does not fit), SERVICE_UNAVAILABLE (no package).
 */
export function toChildCommand(
  stdio: StdioDefinition,
  values: CredentialValues,
  { dataDir, owner }: { readonly dataDir: string; readonly owner: string },
  places: CommandPlaces,
): ChildCommand {
  const filled: TemplateValues = { token: values.token, fields: values.fields, dataDir };
  const env: Record<string, string> = {};
  for (const name of stdio.inheritEnv) {
    const value = places.inheritedEnv(name);
    if (value !== undefined) env[name] = value;
  }
  env['HOME'] = dataDir;
  for (const [name, template] of Object.entries(stdio.env)) {
    const value = renderValue(template, filled, 'environment');
    if (value !== null) env[name] = value;
  }
  const args = stdio.args
    .map((template) => renderValue(template, filled, 'argument'))
    .filter((value) => value !== null);
  const cwd = stdio.cwd === null ? dataDir : (renderValue(stdio.cwd, filled, 'argument') ?? dataDir);
  const { sandbox } = stdio;
  const command = {
    env,
    cwd,
    dataDir,
    owner,
    network: sandbox.network,
    writePaths: sandbox.writePaths,
    limits: { memoryBytes: stdio.memoryBytes, tasksMax: stdio.tasksMax },
    readPaths: [...sandbox.readPaths, ...namedPaths(stdio)],
  };
  if (stdio.package?.registryType !== 'npm') return { ...command, file: stdio.command, args };
  const script = findPackageBin(stdio.command, stdio.package, places);
  return { ...command, file: process.execPath, args: [script, ...args] };
}

/**
 * Absolute paths that the config itself writes down, never one that came with a value of a user; and the project that a
 * script belongs to, without which it finds none of its neighbours.
 */
function namedPaths({ command, args, cwd }: StdioDefinition): string[] {
  const named = [command, ...args, cwd].filter(
    (value): value is string => typeof value === 'string' && value.startsWith('/') && existsSync(value),
  );
  return named.flatMap((path) => [path, ...projectOf(path)]);
}

/** The nearest folder above that says it is one; a home directory is none, whatever lies in it. */
function projectOf(path: string): string[] {
  for (let at = dirname(path); at !== '/' && at !== homedir(); at = dirname(at)) {
    if (['package.json', 'pyproject.toml'].some((name) => existsSync(join(at, name)))) return [at];
  }
  return [];
}
