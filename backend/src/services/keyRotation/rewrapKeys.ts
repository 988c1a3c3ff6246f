/**
 * Moves every wrapped key under the primary KEK, and proves that each opens (05, "Online rotation" 3 and 4). Batches are
 * small transactions that skip what others hold; run again, or by two at once, they do each key once.
 */
import { randomBytes } from 'node:crypto';
import type { DatabasePool } from '../../database/pool.js';
import type { Queryable } from '../../database/queryable.js';
import { AppError } from '../../errors/appError.js';
import { countUnderOthers, countWrappedKeys, noteRotation } from '../../stores/keyRotationStore.js';
import {
  listDataKeys,
  readSystemKeys,
  rewrapDataKeys,
  rewrapSystemKey as storeSystemKey,
  takeDataKeysToRewrap,
  type DataKeyRow,
  type WrappedSystemKey,
} from '../../stores/keysStore.js';
import { unwrapDek, wrapDek } from '../../vault/dataKey.js';
import type { KeyRing } from '../../vault/keyRing.js';
import { systemOwner } from '../../vault/keyWrapping.js';
import { rewrapSystemKey } from '../../vault/systemKeys.js';
import { readInstallKeys } from '../installKeys.js';
import { openSystemKeys } from '../../vault/systemKeys.js';
import { firstId, toReason, type RotationReport, type Unreadable } from './rotationReport.js';

export interface RewrapParts {
  /** Role `portolan_jobs`. */
  readonly pool: DatabasePool;
  readonly ring: KeyRing;
  readonly installId: string;
  readonly report: RotationReport;
}

export const batchRows = 200;
const stragglerPauseMs = 100;
const stragglerRoundsMax = 100;

/**
 * Wraps everything that is under another KEK under the ring's primary one, and counts it to that rotation.
 * @throws AppError DATABASE_UNAVAILABLE when rows stay locked for longer than a transaction may take.
 */
export async function rewrapAll(parts: RewrapParts, rotationId: string): Promise<readonly Unreadable[]> {
  const { pool, ring, report } = parts;
  const { id: kekId } = ring.primary;
  const total = await countUnderOthers(pool, kekId);
  let done = 0;
  const note = async (db: Queryable, rewrapped: number): Promise<void> => {
    await noteRotation(db, rotationId, { phase: 'rewrapping', rewrapped });
  };
  const tell = (rewrapped: number): void => {
    done += rewrapped;
    report.progress(done, Math.max(total, done));
  };
  report.progress(0, total);
  tell(await rewrapSystemKeys(parts, note));

  for (let round = 0; ; round += 1) {
    const unreadable: Unreadable[] = [];
    let afterId = firstId;
    for (;;) {
      const batch = await pool.transaction(async (db) => {
        const taken = await takeDataKeysToRewrap(db, kekId, { afterId, limit: batchRows });
        const rewrapped = await rewrapDataKeys(db, rewrapReadable(parts, taken, unreadable));
        if (rewrapped > 0) await note(db, rewrapped);
        return { rewrapped, lastId: taken.at(-1)?.id };
      });
      if (batch.lastId === undefined) break;
      afterId = batch.lastId;
      tell(batch.rewrapped);
    }
    // What is left is unreadable, or was locked by somebody and skipped.
    if ((await countUnderOthers(pool, kekId)) <= unreadable.length) return unreadable;
    if (round >= stragglerRoundsMax) {
      throw new AppError('DATABASE_UNAVAILABLE', 'some data keys stay locked by other transactions');
    }
    await new Promise((resolve) => setTimeout(resolve, stragglerPauseMs));
  }
}

function rewrapReadable(
  { ring, installId }: RewrapParts,
  taken: readonly DataKeyRow[],
  unreadable: Unreadable[],
): DataKeyRow[] {
  return taken.flatMap((row) => {
    const ownerId = row.userId ?? systemOwner;
    try {
      const dek = unwrapDek(ring, installId, { ...row, ownerId });
      return [{ ...row, ...wrapDek(ring, installId, dek, ownerId, randomBytes) }];
    } catch (error) {
      unreadable.push({ name: `data_keys ${row.id}`, why: toReason(error) });
      return [];
    }
  });
}

async function rewrapSystemKeys(
  { pool, ring, installId }: RewrapParts,
  note: (db: Queryable, rewrapped: number) => Promise<void>,
): Promise<number> {
  return await pool.transaction(async (db) => {
    const found = await readSystemKeys(db);
    let rewrapped = 0;
    for (const key of found?.keys ?? []) {
      if (key.kekId === ring.primary.id) continue;
      const fresh = rewrapSystemKey(ring, installId, toPurpose(key), key, randomBytes);
      if (await storeSystemKey(db, { name: key.name, ...fresh }, key.kekId)) rewrapped += 1;
    }
    if (rewrapped > 0) await note(db, rewrapped);
    return rewrapped;
  });
}

function toPurpose({ name }: WrappedSystemKey): 'k_lookup' | 'k_audit' | 'k_state' {
  return `k_${name}`;
}

/** Opens every system key and every data key. Nothing is changed. */
export async function verifyWraps({
  pool,
  ring,
  installId,
  report,
}: RewrapParts): Promise<{ readonly keys: number; readonly unreadable: readonly Unreadable[] }> {
  const total = await countWrappedKeys(pool);
  const unreadable: Unreadable[] = [];
  let keys = 0;
  try {
    const install = await readInstallKeys(pool);
    if (install === null) throw new AppError('SEALED', 'this database was never set up');
    openSystemKeys(ring, install.installId, install.systemKeys);
    keys += 3;
  } catch (error) {
    unreadable.push({ name: 'system_keys', why: toReason(error) });
  }
  let afterId = firstId;
  for (;;) {
    const page = await listDataKeys(pool, afterId, 1_000);
    for (const row of page) {
      try {
        unwrapDek(ring, installId, { ...row, ownerId: row.userId ?? systemOwner });
        keys += 1;
      } catch (error) {
        unreadable.push({ name: `data_keys ${row.id}`, why: toReason(error) });
      }
    }
    report.progress(keys + unreadable.length, Math.max(total, keys));
    const last = page.at(-1);
    if (last === undefined) return { keys, unreadable };
    afterId = last.id;
  }
}
