/**
 * The vault half of set-up. A key ring is made on an empty database only: over data, a missing ring is a loss to report,
 * never one to paper over with a new one (06 R21, 07 G06).
 */
import { existsSync } from 'node:fs';
import type { Config } from '../../backend/src/config/config.js';
import { readSecretFile } from '../../backend/src/config/secrets.js';
import { createPool } from '../../backend/src/database/pool.js';
import { AppError } from '../../backend/src/errors/appError.js';
import { layInstallKeys, readInstallKeys } from '../../backend/src/services/installKeys.js';
import { loadSigningKeys, refuseSharedKeys } from '../../backend/src/services/jwtKeys.js';
import { readVaultKeys } from '../../backend/src/services/vaultKeys.js';
import { newKeyRingFile, parseKeyRing, type RandomBytes } from '../../backend/src/vault/keyRing.js';
import { makeFileOnce } from './secretFiles.js';

export interface LayVaultOptions {
  readonly newId: () => string;
  readonly randomBytes: RandomBytes;
}

/**
 * Makes ring and keys of an empty database, or tries whether the ring opens the keys of a full one.
 * @returns null when the vault opens, else why it is sealed; the programs start all the same, and stay sealed
 */
export async function layVault(
  { paths }: Pick<Config, 'paths'>,
  { newId, randomBytes }: LayVaultOptions,
): Promise<string | null> {
  const readRing = () => readSecretFile(paths.keyRing, 'the key ring');
  await using pool = createPool({
    connectionString: readSecretFile(paths.databaseUrl('api'), 'the connection string of the main API'),
    applicationName: 'portolan-setup',
    connectionsMax: 1,
  });
  if ((await readInstallKeys(pool)) === null) {
    makeFileOnce(paths.keyRing, 0o400, () => newKeyRingFile(randomBytes));
    const ring = parseKeyRing(readRing().reveal());
    await pool.transaction((db) => layInstallKeys(db, { ring, newId, randomBytes }));
  }
  try {
    const { ring } = await readVaultKeys(readRing, () => readInstallKeys(pool));
    refuseSharedKeys(loadSigningKeys(paths.jwtKeys), ring);
    return null;
  } catch (error) {
    if (!existsSync(paths.keyRing)) return `the key ring ${paths.keyRing} is missing`;
    if (error instanceof AppError && error.code === 'SEALED') return error.message;
    throw error;
  }
}
