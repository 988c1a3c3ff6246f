/**
 * `npm run generate-pm2-config`: from `mcp-ports/<name>/config.json` to everything that follows from them: the ports
 * lock, `ecosystem.config.js`, the targets of Prometheus and the JSON Schema for editors. Run again it changes nothing.
 * With a `MCP_PORTS_DIR` of one's own the committed files are left alone; the state directory gets what PM2 reads.
 *
 * Exit codes: 0 done; 1 `--check` found something outdated, or `--strict` a service with a problem (nothing is written
 * then); 2 wrong usage.
 */
import { mkdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { Command } from 'commander';
import { describeProblem, type ConfigProblem } from '../backend/src/catalog/configProblem.js';
import {
  committedPlace,
  describeDifference,
  formatEcosystem,
  parseEcosystem,
  type EcosystemPlace,
} from '../backend/src/catalog/ecosystemFile.js';
import { toConfigJsonSchema } from '../backend/src/catalog/jsonSchema.js';
import { loadServiceDefinitions } from '../backend/src/catalog/loadServiceDefinitions.js';
import { toPm2Apps } from '../backend/src/catalog/pm2AppModel.js';
import { formatPortsLock, portsLockFileName, readPortsLock } from '../backend/src/catalog/portsLock.js';
import { defaultPorts, toPrometheusTargets } from '../backend/src/catalog/prometheusTargets.js';
import { kindsWithUpstream } from '../backend/src/catalog/serviceDefinition.js';
import { findToolSchemaProblems } from '../backend/src/catalog/toolSchemas.js';
import { loadConfig } from '../backend/src/config/config.js';
import { readEnv } from '../backend/src/config/env.js';
import { findProjectRoot } from '../backend/src/config/projectRoot.js';
import { createServiceEnvLookup } from '../backend/src/config/serviceEnv.js';
import { failWith } from './failWith.js';
import { ecosystemFileOf } from './fleet/desiredApps.js';
import { findOutdated, readIfThere, replaceFile, type GeneratedFile } from './generate/generatedFiles.js';

interface Options {
  readonly check?: true;
  readonly strict?: true;
  readonly output?: string;
}

const command = new Command('generate-pm2-config')
  .description('Generates ecosystem.config.js and what else follows from mcp-ports/*/config.json.')
  .option('--check', 'write nothing; fail when something generated is not current')
  .option('--strict', 'fail, and write nothing, when a service has a problem')
  .option('--output <file>', 'write the PM2 configuration here instead (its name has to end in .config.js)')
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  .parse();

try {
  process.exitCode = generate(command.opts<Options>());
} catch (error) {
  failWith(error);
}

function generate(options: Options): number {
  const root = findProjectRoot();
  const config = loadConfig(readEnv(), root);
  const { mcpPortsDir, paths } = config;
  const lockFile = join(mcpPortsDir, portsLockFileName);
  const lock = readPortsLock(lockFile);
  // What is written follows from the files alone: no variable or file of this machine may change it.
  const plain = loadServiceDefinitions({
    mcpPortsDir,
    lock,
    allocate: true,
    env: () => undefined,
    file: () => null,
  });
  const running = plain.services.filter((service) => {
    const problems = plain.problems.filter((problem) => problem.service === service.name);
    const lacksOnlyReferences =
      problems.length > 0 && problems.every((problem) => problem.isMissingReference === true);
    return service.enabled || (lacksOnlyReferences && kindsWithUpstream.includes(service.kind));
  });
  const here = loadServiceDefinitions({
    mcpPortsDir,
    lock,
    allocate: true,
    env: createServiceEnvLookup(paths.serviceEnv),
  });
  const problems: ConfigProblem[] = [
    ...here.problems,
    ...here.services.flatMap((service) =>
      findToolSchemaProblems(service).map((found) => ({
        ...found,
        service: service.name,
        file: service.source.file,
      })),
    ),
  ];

  const apps = toPm2Apps(running);
  const ecosystemFile = options.output === undefined ? ecosystemFileOf(config) : resolve(options.output);
  const isElsewhere = dirname(ecosystemFile) !== root;
  const place: EcosystemPlace = isElsewhere
    ? { root: JSON.stringify(root), loader: join(root, committedPlace.loader) }
    : committedPlace;
  const files: GeneratedFile[] = [
    { path: lockFile, text: formatPortsLock(plain.lock) },
    {
      path: isElsewhere
        ? join(dirname(ecosystemFile), 'prometheus-targets.json')
        : join(root, 'deploy', 'prometheus', 'targets.json'),
      text: toJson(toPrometheusTargets(running, isElsewhere ? config.ports : defaultPorts)),
    },
    ...(isElsewhere
      ? []
      : [{ path: join(root, 'schemas', 'config.schema.json'), text: toJson(toConfigJsonSchema()) }]),
    { path: ecosystemFile, text: formatEcosystem(apps, place) },
  ];

  for (const problem of problems)
    console.error(`problem  ${describeProblem({ ...problem, file: toShort(root, problem.file) })}`);
  for (const warning of here.warnings)
    console.error(`warning  ${describeProblem({ ...warning, file: toShort(root, warning.file) })}`);
  for (const line of describeDifference(parseEcosystem(readIfThere(ecosystemFile) ?? ''), apps)) {
    console.log(line);
  }
  for (const service of here.services) {
    if (!service.enabled) console.log(`disabled ${service.name}: ${service.disabledReason ?? ''}`);
  }

  const count = `${running.length} ${running.length === 1 ? 'service' : 'services'}`;
  const outdated = findOutdated(files);
  if (options.strict === true && problems.length > 0) {
    console.error(
      `${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}; nothing was written.`,
    );
    return 1;
  }
  const names = outdated.map(({ path }) => toShort(root, path)).join(', ');
  if (options.check === true) {
    if (outdated.length === 0) console.log(`${count}; everything generated is current.`);
    else console.error(`Not current: ${names}. Run npm run generate-pm2-config and commit the result.`);
    return outdated.length === 0 ? 0 : 1;
  }
  // As set-up makes it: programs of other accounts may pass through, not look around.
  if (isElsewhere) mkdirSync(paths.stateDir, { recursive: true, mode: 0o711 });
  outdated.forEach(replaceFile);
  console.log(outdated.length === 0 ? `${count}; nothing changed.` : `${count}; wrote ${names}.`);
  return 0;
}

function toJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** From the checkout, where it lies there. */
function toShort(root: string, path: string): string {
  const short = relative(root, path);
  return short.startsWith('..') ? path : short;
}
