/**
 * Brings a state directory to what the programs need: directories, keys, database, vault, packages and the document of
 * our own API. Run again it changes nothing; of parallel runs each step happens once.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Config } from '../../backend/src/config/config.js';
import { prepareDatabase } from '../../backend/src/database/prepare.js';
import { newJwtKeysFiles } from '../../backend/src/services/jwtKeys.js';
import type { RandomBytes } from '../../backend/src/vault/keyRing.js';
import { ensurePm2Home } from '../../backend/src/supervisor/pm2Home.js';
import { layVault } from './layVault.js';
import { ensureDirectory, makeFileOnce, replaceFile } from './secretFiles.js';
import { inStateTurn } from './stateTurn.js';

export interface PrepareStateOptions {
  readonly newId: () => string;
  readonly randomBytes: RandomBytes;
  readonly log: (line: string) => void;
}

export interface PreparedState {
  /** Whether this fleet runs a PostgreSQL of its own. */
  readonly embeddedDatabase: boolean;
  /** Why the vault is sealed; null when it opens. */
  readonly sealed: string | null;
}

/** @throws AppError CONFIG_INVALID or DATABASE_UNAVAILABLE with what is wrong and where. */
export async function prepareState(config: Config, options: PrepareStateOptions): Promise<PreparedState> {
  const { stateDir } = config.paths;
  // The account that PostgreSQL runs as must be able to pass through, nobody else to look around.
  mkdirSync(stateDir, { recursive: true, mode: 0o711 });
  const onWait = (pid: number): void => options.log(`waiting for process ${pid}, which sets up ${stateDir}`);
  return await inStateTurn(stateDir, () => prepareInTurn(config, options), { onWait });
}

async function prepareInTurn(config: Config, options: PrepareStateOptions): Promise<PreparedState> {
  const { paths } = config;
  const secretDirectories = [
    paths.spoolDir,
    paths.childUidsDir,
    paths.auditCheckpointsDir,
    dirname(paths.databaseUrl('api')),
  ];
  for (const directory of [...secretDirectories, join(paths.stateDir, 'logs')])
    ensureDirectory(directory, 0o700);
  // A child with a uid of its own passes through to its directory; it cannot list the others.
  ensureDirectory(paths.instanceDataDir, 0o711);
  for (const directory of [paths.packagesDir, dirname(paths.openApiDocument)])
    ensureDirectory(directory, 0o755);
  ensurePm2Home(paths);
  makeKeyFiles(paths, options);

  let sealed: string | null = null;
  const { app } = await prepareDatabase(config, {
    randomBytes: options.randomBytes,
    log: options.log,
    whileRunning: async () => {
      sealed = await layVault(config, options);
    },
  });
  return { embeddedDatabase: app !== null, sealed };
}

/** Keys that stand for nothing stored: lost, they are made anew, and people sign in again. */
function makeKeyFiles(paths: Config['paths'], { newId, randomBytes }: PrepareStateOptions): void {
  makeFileOnce(paths.frontKey, 0o400, () => `${randomBytes(32).toString('base64')}\n`);
  makeFileOnce(paths.metricsToken, 0o400, () => `${randomBytes(32).toString('base64url')}\n`);
  makeFileOnce(paths.jwtKeys, 0o400, () => newJwtKeysFiles(newId).privateText);
  replaceFile(paths.jwtPublicKeys, 0o400, toPublicKeys(readFileSync(paths.jwtKeys, 'utf8')));
  makeFileOnce(paths.auditKeys, 0o400, () => newJwtKeysFiles(newId, 'audit').privateText);
  const signed = existsSync(paths.auditPublicKeys) ? readFileSync(paths.auditPublicKeys, 'utf8') : null;
  replaceFile(paths.auditPublicKeys, 0o444, toPublicKeys(readFileSync(paths.auditKeys, 'utf8'), signed));
}

/**
 * The same keys without what only the main API may know, and those of `former` that are no longer among them: what
 * they signed is verified for as long as it is kept.
 */
function toPublicKeys(privateText: string, former: string | null = null): string {
  const { keys } = JSON.parse(privateText) as { keys: Record<string, unknown>[] };
  const shown = keys.map(({ d: _private, state: _use, ...key }) => key);
  const known = former === null ? [] : (JSON.parse(former) as { keys: Record<string, unknown>[] }).keys;
  const kept = known.filter(({ kid }) => shown.every((key) => key['kid'] !== kid));
  return `${JSON.stringify({ keys: [...shown, ...kept] }, null, 2)}\n`;
}
