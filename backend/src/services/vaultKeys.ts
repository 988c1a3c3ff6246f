/**
 * The keys of this installation as a running program holds them: the ring from its file, the system keys and users' DEKs
 * from the database, where they lie wrapped.
 *
 * A program whose ring is missing or does not fit is *sealed*: it lives and answers, but nothing is opened, written or
 * generated until the right ring is back (05, "Key hierarchy"). The file is looked at again and again, so that a rotation
 * reaches every program and a ring that goes bad under one seals it.
 */
import type { Secret } from '../config/secrets.js';
import { AppError } from '../errors/appError.js';
import { unwrapDek, type Dek } from '../vault/dataKey.js';
import { parseKeyRing, type KeyRing } from '../vault/keyRing.js';
import type { WrappedKey } from '../vault/keyWrapping.js';
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
  /** Looks at the ring file now, for who met a key of a newer ring; true when another ring is held from here on. */
  readAgain(): boolean;
  /** Hears of every ring that takes the place of another, and of the sealing. What was opened before is void. */
  onRing(listener: () => void): () => void;
}

export interface VaultGateOptions {
  /** Reads the ring file; throws when there is none. */
  readonly readRing: () => Secret;
  /** Reads the wrapped keys; null when this database was never set up. */
  readonly readInstallKeys: () => Promise<InstallKeys | null>;
  /** Time between two looks at the ring file, in ms. */
  readonly lookMs?: number;
  readonly onChange?: (isOpen: boolean, reason: AppError | null) => void;
}

/** A file that somebody writes in place is half there for a moment; at the second look in a row it is wrong. */
const faultsMax = 2;

/** Opens the gate, or leaves it sealed and tries again by itself. Never throws for a missing or wrong ring. */
export async function openVaultGate(options: VaultGateOptions): Promise<VaultGate> {
  const { readRing, readInstallKeys, lookMs = 1_000, onChange } = options;
  const listeners = new Set<() => void>();
  let opened: VaultKeys | null = null;
  let openedFrom: Secret | null = null;
  /** False for a ring that was taken over by `readAgain`, until the database has been asked. */
  let isProven = false;
  let reason = new AppError('SEALED', 'the keys were not read yet');
  let faults = 0;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  const become = (keys: VaultKeys | null, from: Secret | null): void => {
    const wasOpen = opened !== null;
    opened = keys;
    openedFrom = from;
    for (const listener of listeners) listener();
    if (wasOpen !== (keys !== null)) onChange?.(!wasOpen, wasOpen ? reason : null);
  };

  const attempt = async (): Promise<void> => {
    try {
      const text = readRing();
      if (opened === null || !isProven || !isSame(text, openedFrom)) {
        const before = openedFrom;
        const keys = await readVaultKeys(() => text, readInstallKeys);
        // Another ring was taken over meanwhile: it is the newer one, and the next look proves it.
        if (openedFrom !== before) return;
        isProven = true;
        if (opened === null || !isSame(text, openedFrom)) become(keys, text);
      }
      faults = 0;
    } catch (error) {
      const why = toSealed(error);
      // A database that is away says nothing against the ring; what is held was proven before.
      faults = why.code === 'SEALED' ? faults + 1 : 0;
      if (opened === null) {
        const before = reason.message;
        reason = why;
        if (reason.message !== before) onChange?.(false, reason);
      } else if (faults >= faultsMax) {
        reason = why;
        isProven = false;
        become(null, null);
      }
    }
  };
  const look = async (): Promise<void> => {
    await attempt();
    if (!closed) timer = setTimeout(() => void look(), lookMs).unref();
  };
  await look();

  return {
    keys() {
      if (opened === null) throw reason;
      return opened;
    },
    get isOpen() {
      return opened !== null;
    },
    readAgain() {
      if (opened === null) return false;
      try {
        const text = readRing();
        if (isSame(text, openedFrom)) return false;
        const ring = parseKeyRing(text.reveal());
        if (!continues(ring, opened.ring)) return false;
        isProven = false;
        become({ ...opened, ring }, text);
        return true;
      } catch {
        // The next look says what is wrong with it.
        return false;
      }
    },
    onRing(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
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

/**
 * Opens a DEK's row. One that a newer ring wrapped is opened with that: a rotation may be a moment ahead of this process.
 * @throws AppError SEALED, CREDENTIAL_UNREADABLE
 */
export function unwrapWith(
  vault: Pick<VaultGate, 'keys' | 'readAgain'>,
  row: WrappedKey & { readonly id: string; readonly ownerId: string },
): Dek {
  const { ring, installId } = vault.keys();
  try {
    return unwrapDek(ring, installId, row);
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'SEALED' || !vault.readAgain()) throw error;
    return unwrapDek(vault.keys().ring, installId, row);
  }
}

function isSame(one: Secret, other: Secret | null): boolean {
  return other !== null && one.reveal() === other.reveal();
}

/** Whether a ring holds every KEK of the one before; it is that ring, changed, and no other installation's. */
function continues(ring: KeyRing, before: KeyRing): boolean {
  return [...before.keks.values()].every(({ id, key }) => ring.keks.get(id)?.key.equals(key) === true);
}

function toSealed(error: unknown): AppError {
  if (error instanceof AppError && (error.code === 'SEALED' || error.code === 'DATABASE_UNAVAILABLE'))
    return error;
  const why = error instanceof AppError ? error.message : 'the key ring cannot be read';
  return new AppError('SEALED', why, { cause: error });
}
