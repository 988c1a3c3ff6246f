/**
 * What every command about keys begins with: the ring, the database with the rights of `portolan_jobs`, the keys of the
 * installation, and for those that change something their turn.
 */
import type { Config } from '../../backend/src/config/config.js';
import { readSecretFile } from '../../backend/src/config/secrets.js';
import { createPool, type DatabasePool, type PoolOptions } from '../../backend/src/database/pool.js';
import { AppError } from '../../backend/src/errors/appError.js';
import { readInstallKeys } from '../../backend/src/services/installKeys.js';
import type { RingFile } from '../../backend/src/services/keyRotation/kekRotation.js';
import { readVaultKeys, type VaultKeys } from '../../backend/src/services/vaultKeys.js';
import { eventMac } from '../../backend/src/vault/auditMacs.js';
import { readConfig } from '../fleet/openFleet.js';
import { openRingFile } from './ringFile.js';

export interface OpenedKeys extends AsyncDisposable {
  readonly config: Config;
  readonly pool: DatabasePool;
  readonly ringFile: RingFile;
  /** @throws AppError SEALED when the ring does not open the keys of this database. */
  readonly vault: VaultKeys;
}

export async function openKeys(): Promise<OpenedKeys> {
  const config = readConfig();
  let vault: VaultKeys | null = null;
  const auditMac = (text: string): Buffer => {
    if (vault === null) throw new AppError('SEALED', 'nothing is audited before the keys are open');
    return eventMac(vault.system.audit, text);
  };
  const pool = openPool(config, { applicationName: 'portolan-keys', connectionsMax: 4, auditMac });
  try {
    const ringFile = openRingFile(config.paths.keyRing);
    vault = await readVaultKeys(
      () => readSecretFile(config.paths.keyRing, 'the key ring (KEYRING_FILE)'),
      () => readInstallKeys(pool),
    );
    return { config, pool, ringFile, vault, [Symbol.asyncDispose]: () => pool.close() };
  } catch (error) {
    await pool.close();
    throw error;
  }
}

export interface KeysTurn extends AsyncDisposable {
  /** @throws AppError CONFLICT when the turn was lost with its connection. */
  require(): Promise<void>;
}

/**
 * The right to change keys, of one command at a time on all machines. It is a lock of a database connection, so that it
 * ends with whoever held it, however they end.
 * @throws AppError CONFLICT
 */
export async function takeKeysTurn(config: Config): Promise<KeysTurn> {
  // A connection that is idle stays.
  const pool = openPool(config, {
    applicationName: 'portolan-keys-turn',
    connectionsMax: 1,
    idleTimeoutMs: 0,
  });
  const ask = async (what: string): Promise<boolean> => {
    const { rows } = await pool.query<{ is: boolean }>(`select ${what} as is`);
    return rows[0]?.is === true;
  };
  const held = `exists (select from pg_locks l where l.locktype = 'advisory' and l.pid = pg_backend_pid())`;
  if (!(await ask(`pg_try_advisory_lock(hashtextextended('portolan.keys', 7))`))) {
    await pool.close();
    throw new AppError('CONFLICT', 'another command is changing keys now');
  }
  return {
    async require() {
      if (!(await ask(held))) throw new AppError('CONFLICT', 'the connection that held the turn was lost');
    },
    [Symbol.asyncDispose]: () => pool.close(),
  };
}

function openPool(config: Config, options: Omit<PoolOptions, 'connectionString'>): DatabasePool {
  return createPool({
    connectionString: readSecretFile(
      config.paths.databaseUrl('jobs'),
      'the connection string of the role jobs',
    ),
    statementTimeoutMs: 30_000,
    idleTimeoutMs: 10_000,
    // A busy server is worth waiting for: nobody waits for this command but its operator.
    checkoutTimeoutMs: 15_000,
    ...options,
  });
}
