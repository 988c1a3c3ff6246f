/** Opens sealed records of anybody, for those who rotate and verify; plaintexts stay inside the work that asks for them. */
import { randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { DatabasePool } from '../../database/pool.js';
import { AppError } from '../../errors/appError.js';
import type { SealedRecordRow } from '../../stores/keyRotationStore.js';
import { findDataKeysById } from '../../stores/keysStore.js';
import { unwrapDek, type Dek } from '../../vault/dataKey.js';
import type { KeyRing } from '../../vault/keyRing.js';
import { systemOwner } from '../../vault/keyWrapping.js';
import { open, readDekId, seal } from '../../vault/sealedRecord.js';
import { toStoredBinding } from '../recordBindings.js';

export interface RecordOpener {
  /** Fetches the data keys that these records name. Those of a page are fetched at once. */
  prepare(rows: readonly SealedRecordRow[]): Promise<void>;
  /** Hands the plaintext to `use` and wipes it. @throws AppError CREDENTIAL_UNREADABLE, SEALED */
  open<T>(row: SealedRecordRow, use: (plaintext: Buffer) => T): T;
  /** The same plaintext at the same place under that DEK. @throws AppError as `open` */
  reseal(row: SealedRecordRow, dek: Dek): Buffer;
}

export interface RecordOpenerParts {
  readonly pool: DatabasePool;
  readonly ring: KeyRing;
  readonly installId: string;
}

export function createRecordOpener({ pool, ring, installId }: RecordOpenerParts): RecordOpener {
  /** By owner and id: a DEK that was unwrapped for one is never taken for another's. */
  const deks = new LRUCache<string, Dek | AppError>({ max: 5_000 });

  const openRecord = <T>(row: SealedRecordRow, use: (plaintext: Buffer) => T): T => {
    const id = readDekId(row.sealed);
    const dek = deks.get(keyOf(row.userId, id));
    if (dek === undefined) throw new AppError('CREDENTIAL_UNREADABLE', `its data key ${id} is gone`);
    if (dek instanceof AppError) throw dek;
    const plaintext = open(dek, row.sealed, toStoredBinding(installId, row));
    try {
      return use(plaintext);
    } finally {
      plaintext.fill(0);
    }
  };

  return {
    async prepare(rows) {
      const missing = new Set<string>();
      for (const { sealed, userId } of rows) {
        const id = tryDekId(sealed);
        if (id !== null && !deks.has(keyOf(userId, id))) missing.add(id);
      }
      if (missing.size === 0) return;
      for (const row of await findDataKeysById(pool, [...missing])) {
        const ownerId = row.userId ?? systemOwner;
        deks.set(keyOf(row.userId, row.id), tryUnwrap(ring, installId, { ...row, ownerId }));
      }
    },
    open: openRecord,
    reseal: (row, dek) =>
      openRecord(row, (plaintext) => seal(dek, plaintext, toStoredBinding(installId, row), randomBytes)),
  };
}

function keyOf(ownerId: string | null, id: string): string {
  return `${ownerId ?? systemOwner}/${id}`;
}

/** Null for what is no sealed record; opening it says so. */
function tryDekId(sealed: Buffer): string | null {
  try {
    return readDekId(sealed);
  } catch {
    return null;
  }
}

function tryUnwrap(ring: KeyRing, installId: string, row: Parameters<typeof unwrapDek>[2]): Dek | AppError {
  try {
    return unwrapDek(ring, installId, row);
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
}
