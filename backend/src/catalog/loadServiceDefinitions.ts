/**
 * Loads every `mcp-ports/<name>/config.json`. One bad service never keeps the others from loading (R17): it is
 * disabled, and everything that is wrong with it is said at once.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { $ZodIssue } from 'zod/v4/core';
import type { ConfigProblem, FoundProblem } from './configProblem.js';
import { configSchema, type ServiceConfig } from './configSchema/configSchema.js';
import type { ReferenceReader } from './configReading.js';
import { configBytesMax, parseConfigText, toPointer } from './configText.js';
import { allocatePorts, type PortsLock } from './portsLock.js';
import { findSecretLiterals } from './secretLiterals.js';
import type { ServiceDefinition } from './serviceDefinition.js';
import { toServiceDefinition } from './toServiceDefinition.js';
import { findUnenforced } from './unenforcedSettings.js';

export interface LoadOptions {
  readonly mcpPortsDir: string;
  readonly lock: PortsLock;
  readonly env: (name: string) => string | undefined;
  /** For `{"$file"}`; the file system unless a test says otherwise. */
  readonly file?: (path: string) => string | null;
  /** Give a port and prefix to services that the lock does not know; only the generator may, since it keeps the lock. */
  readonly allocate?: boolean;
  /** Read this one service only; what the lock gives to its neighbours stays theirs. */
  readonly only?: string;
}

export interface LoadedServices {
  /** By name. Those with problems in their content are among them, disabled; a file without the right form is not. */
  readonly services: readonly ServiceDefinition[];
  readonly problems: readonly ConfigProblem[];
  readonly warnings: readonly ConfigProblem[];
  /** The lock as it has to be written, with what was allocated. */
  readonly lock: PortsLock;
}

interface ServiceFile {
  readonly folder: string;
  readonly file: string;
  readonly digest: string;
  readonly config: ServiceConfig | null;
  readonly problems: readonly FoundProblem[];
  readonly warnings: readonly FoundProblem[];
}

/** Words of Portolan's own apps and routes. */
const reservedNames = new Set(['custom', 'mcp', 'sse', 'message']);
const referencedFileBytesMax = 65_536;

export function loadServiceDefinitions(options: LoadOptions): LoadedServices {
  const reader: ReferenceReader = { env: options.env, file: options.file ?? readReferencedFile };
  const folders = findFolders(options.mcpPortsDir);
  const files = folders
    .filter((folder) => options.only === undefined || folder === options.only)
    .flatMap((folder) => readServiceFile(folder, join(options.mcpPortsDir, folder, 'config.json')) ?? []);
  const readable = files.flatMap(({ config }) => (config === null ? [] : [config]));
  const { lock, problems: allocationProblems } = allocatePorts(
    options.lock,
    readable.map(({ name, port, instancePrefix }) => ({ name, port, instancePrefix })),
    folders,
  );

  const services: ServiceDefinition[] = [];
  const problems: ConfigProblem[] = [];
  const warnings: ConfigProblem[] = [];
  for (const { folder, file, digest, config, problems: found, warnings: unenforced } of files) {
    const name = (problem: FoundProblem): ConfigProblem => ({ ...problem, service: folder, file });
    if (config === null) {
      problems.push(...found.map(name));
      continue;
    }
    const earlier = [...found, ...(allocationProblems.get(config.name) ?? [])];
    const isLocked = options.allocate === true || Object.hasOwn(options.lock.services, config.name);
    if (!isLocked && !(config.port !== undefined && config.instancePrefix !== undefined)) {
      earlier.push({ pointer: '', message: 'has no port yet; run npm run generate-pm2-config' });
    }
    const allocation = (Object.hasOwn(lock.services, config.name)
      ? lock.services[config.name]
      : undefined) ?? {
      port: config.port ?? 0,
      instancePrefix: config.instancePrefix ?? '',
    };
    const reading = toServiceDefinition(config, allocation, { file, digest }, reader, earlier);
    services.push(reading.definition);
    problems.push(...reading.problems.map(name));
    warnings.push(...unenforced.map(name), ...reading.warnings.map(name));
  }
  return { services, problems, warnings, lock };
}

function findFolders(mcpPortsDir: string): string[] {
  try {
    return readdirSync(mcpPortsDir, { withFileTypes: true })
      .filter((entry) => (entry.isDirectory() || entry.isSymbolicLink()) && !entry.name.startsWith('.'))
      .map((entry) => entry.name)
      .sort();
  } catch {
    return [];
  }
}

/** Null for a folder that holds no config.json at all. */
function readServiceFile(folder: string, file: string): ServiceFile | null {
  const bad = (problems: readonly FoundProblem[], digest = ''): ServiceFile => ({
    folder,
    file,
    digest,
    config: null,
    problems,
    warnings: [],
  });
  let bytes: Buffer;
  try {
    if (statSync(file).size > configBytesMax) return bad([{ pointer: '', message: 'is larger than 1 MiB' }]);
    bytes = readFileSync(file);
  } catch (error) {
    const isAbsent =
      error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
    return isAbsent ? null : bad([{ pointer: '', message: 'cannot be read' }]);
  }
  const digest = createHash('sha256').update(bytes).digest('hex');
  const text = parseConfigText(bytes);
  if ('problem' in text) return bad([text.problem], digest);
  const secrets = findSecretLiterals(text.value);
  const parsed = configSchema.safeParse(text.value, { jitless: true });
  if (!parsed.success) return bad([...secrets, ...parsed.error.issues.flatMap(toProblems)], digest);
  const config = parsed.data;
  const problems = [...secrets];
  if (config.name !== folder) {
    return bad(
      [...problems, { pointer: '/name', message: `must be the name of its folder, ${folder}` }],
      digest,
    );
  }
  if (reservedNames.has(config.name)) {
    return bad(
      [...problems, { pointer: '/name', message: 'is a name that Portolan keeps for itself' }],
      digest,
    );
  }
  const warnings = findUnenforced(text.value, config.kind);
  return { folder, file, digest, config, problems, warnings };
}

function toProblems(issue: $ZodIssue): FoundProblem[] {
  const pointer = issue.path.reduce<string>((base, key) => toPointer(base, String(key)), '');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      pointer: toPointer(pointer, key),
      message: 'is a key that is not known here',
    }));
  }
  if (issue.code === 'invalid_key') return issue.issues.map(({ message }) => ({ pointer, message }));
  return [{ pointer, message: describeIssue(issue) }];
}

/** Zod's own words for the frequent cases speak of its machinery. None of them quotes the input. */
function describeIssue(issue: $ZodIssue): string {
  if (issue.code === 'invalid_type') {
    if (issue.message.endsWith('received undefined')) return 'is missing';
    return `must be ${issue.expected === 'int' ? 'a whole number' : `of type ${issue.expected}`}`;
  }
  if (issue.code === 'invalid_value') {
    return `must be one of ${issue.values.map((value) => JSON.stringify(value)).join(', ')}`;
  }
  return issue.message.replace(/^Too (?:small|big): expected \w+ to/, 'must');
}

function readReferencedFile(path: string): string | null {
  try {
    return statSync(path).size <= referencedFileBytesMax ? readFileSync(path, 'utf8') : null;
  } catch {
    return null;
  }
}
