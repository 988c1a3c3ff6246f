/**
 * The keys of this installation as a running program holds them: the ring from its file, the system keys and users' DEKs
 * from the database, where they lie wrapped.
 *
 * A program whose ring is missing or does not fit is *sealed*: it lives and answers, but nothing is opened, written or
 * generated until the right ring is back (05, "Key hierarchy").
 */
import type { Secret } from '../config/secrets.js';
import { AppError } from '../errors/appError.js';
import { parseKeyRing, type KeyRing } from '../vault/keyRing.js';
import { openSystemKeys, type SystemKeys, type WrappedSystemKeys } from '../vault/systemKeys.js';

export interface VaultKeys {
  readonly installId: string;
  readonly ring: KeyRing;
  readonly system: SystemKeys;
}

/** What the database knows of the installation's keys. */
export interface InstallKeys {
  readonly installId: string;
  readonly systemKeys: WrappedSystemKeys;
}

/** The keys if they can be had, and the reason if not. */
export interface VaultGate extends Disposable {
  /** @throws AppError SEALED, or DATABASE_UNAVAILABLE before the database was reached for the first time. */
  keys(): VaultKeys;
  readonly isOpen: boolean;
}

export interface VaultGateOptions {
  /** Reads the ring file; throws when there is none. */
  readonly readRing: () => Secret;
  /** Reads the wrapped keys; null when this database was never set up. */
  readonly readInstallKeys: () => Promise<InstallKeys | null>;
  /** Time between two tries while sealed, in ms. */
  readonly retryMs?: number;
  readonly onChange?: (isOpen: boolean, reason: AppError | null) => void;
}

/** Opens the gate, or leaves it sealed and tries again by itself. Never throws for a missing or wrong ring. */
export async function openVaultGate(options: VaultGateOptions): Promise<VaultGate> {
  const { readRing, readInstallKeys, retryMs = 2_000, onChange } = options;
  let opened: VaultKeys | null = null;
  let reason = new AppError('SEALED', 'the keys were not read yet');
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  const attempt = async (): Promise<void> => {
    const before = reason.message;
    try {
      opened = await readVaultKeys(readRing, readInstallKeys);
      onChange?.(true, null);
    } catch (error) {
      reason = toSealed(error);
      if (reason.message !== before) onChange?.(false, reason);
      if (!closed) timer = setTimeout(() => void attempt(), retryMs).unref();
    }
  };
  await attempt();

  return {
    keys() {
      if (opened === null) throw reason;
      return opened;
    },
    get isOpen() {
      return opened !== null;
    },
    [Symbol.dispose]() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

/** Reads and opens everything once. Throws `SEALED`, `CONFIG_INVALID` or the database's own error. */
export async function readVaultKeys(
  readRing: () => Secret,
  readInstallKeys: () => Promise<InstallKeys | null>,
): Promise<VaultKeys> {
  const ring = parseKeyRing(readRing().reveal());
  const install = await readInstallKeys();
  if (install === null) throw new AppError('SEALED', 'this database was never set up; run the set-up');
  return {
    installId: install.installId,
    ring,
    system: openSystemKeys(ring, install.installId, install.systemKeys),
  };
}

function toSealed(error: unknown): AppError {
  if (error instanceof AppError && (error.code === 'SEALED' || error.code === 'DATABASE_UNAVAILABLE'))
    return error;
  const why = error instanceof AppError ? error.message : 'the key ring cannot be read';
  return new AppError('SEALED', why, { cause: error });
}
