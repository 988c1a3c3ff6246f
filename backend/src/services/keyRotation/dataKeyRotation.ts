/**
 * The rotation of data-encryption keys while everything runs: the owner gets a new DEK, under which all that is new is
 * sealed from then on; each record is moved to it, optimistic on the very record that was read; and once nothing is under
 * the old DEK it is deleted. A record that was sealed before the change and is stored after it (the renewal of an access
 * token, a credential that is being tried) finds the old DEK still there, since it is kept for `settleMs`.
 *
 * A run that was killed is run again: who has two DEKs gets no third one, but is brought to the end.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DatabasePool } from '../../database/pool.js';
import type { Queryable } from '../../database/queryable.js';
import {
  dropReplacedDataKey,
  listRecordsOutside,
  resealRecord,
  type SealedRecordRow,
} from '../../stores/keyRotationStore.js';
import { findDataKeys, holdDataKey, insertDataKey, type DataKeyRow } from '../../stores/keysStore.js';
import { lockForUser } from '../../stores/userLocks.js';
import { createDek, unwrapDek, wrapDek, type Dek } from '../../vault/dataKey.js';
import { systemOwner } from '../../vault/keyWrapping.js';
import { recordSystemChange } from '../changeAudit.js';
import { createRecordOpener, type RecordOpener, type RecordOpenerParts } from './recordOpener.js';
import { toReason, type RotationReport, type Unreadable } from './rotationReport.js';
import { toName } from './verifyRecords.js';

export interface DataKeyRotationParts extends RecordOpenerParts {
  /** Role `portolan_jobs`. */
  readonly pool: DatabasePool;
  readonly report: RotationReport;
  /** How long the old DEK stays after the new one was made. */
  readonly settleMs: number;
}

export interface DataKeyRotation {
  readonly owners: number;
  readonly resealed: number;
  readonly dropped: number;
  /** Records that do not open; the DEK that they name stays. */
  readonly unreadable: readonly Unreadable[];
}

const via = 'cli:keys';
const roundsMax = 20;

/** Rotates the DEKs of these owners; null is the system. */
export async function rotateDataKeys(
  parts: DataKeyRotationParts,
  owners: readonly (string | null)[],
): Promise<DataKeyRotation> {
  const { report } = parts;
  report.step(`Making new data keys and moving records to them`);
  const moved = await moveAll(parts, owners, async (owner) => await makeNewest(parts, owner));
  report.step('Waiting until nothing is on its way under the old data keys');
  await sleep(parts.settleMs);
  report.step('Removing the old data keys');
  let [resealed, dropped] = [moved.resealed, 0];
  const unreadable = new Map(moved.unreadable.map((one) => [one.name, one]));
  for (const [at, owner] of owners.entries()) {
    const end = await dropOld(parts, owner);
    resealed += end.resealed;
    dropped += end.dropped;
    for (const one of end.unreadable) unreadable.set(one.name, one);
    report.progress(at + 1, owners.length);
  }
  return { owners: owners.length, resealed, dropped, unreadable: [...unreadable.values()] };
}

/** Moves what is under older DEKs, or in an older form, to the newest of its owner; no DEK is made or removed. */
export async function migrateRecords(
  parts: DataKeyRotationParts,
  owners: readonly (string | null)[],
): Promise<Omit<DataKeyRotation, 'dropped'>> {
  parts.report.step('Moving records to the newest data keys');
  return { owners: owners.length, ...(await moveAll(parts, owners, async () => {})) };
}

async function moveAll(
  parts: DataKeyRotationParts,
  owners: readonly (string | null)[],
  prepare: (owner: string | null) => Promise<void>,
): Promise<{ resealed: number; unreadable: Unreadable[] }> {
  let resealed = 0;
  const unreadable: Unreadable[] = [];
  for (const [at, owner] of owners.entries()) {
    await prepare(owner);
    const moved = await moveRecords(parts, owner);
    resealed += moved.resealed;
    unreadable.push(...moved.unreadable);
    parts.report.progress(at + 1, owners.length);
  }
  return { resealed, unreadable };
}

/** Gives the owner a new DEK, unless a rotation that was cut off has. */
async function makeNewest(
  { pool, ring, installId }: DataKeyRotationParts,
  owner: string | null,
): Promise<void> {
  await pool.transaction(async (db) => {
    // The same lock that a user's first DEK is made under.
    await lockForUser(db, 'data-key', owner ?? systemOwner);
    const keys = await findDataKeys(db, owner);
    // None: a user who has sealed nothing yet, or was deleted meanwhile. A key made now would undo the shredding.
    const [only] = keys;
    if (only === undefined || keys.length > 1 || !(await holdDataKey(db, only.id))) return;
    const dek = createDek(randomUUID(), randomBytes);
    const wrapped = wrapDek(ring, installId, dek, owner ?? systemOwner, randomBytes);
    await insertDataKey(db, { id: dek.id, userId: owner, ...wrapped });
    await audit(db, 'keys.data_key_made', dek.id, owner, {});
  });
}

async function moveRecords(
  parts: DataKeyRotationParts,
  owner: string | null,
): Promise<{ resealed: number; unreadable: Unreadable[] }> {
  const { pool, ring, installId } = parts;
  const [newest] = await findDataKeys(pool, owner);
  if (newest === undefined) return { resealed: 0, unreadable: [] };
  const rows = await listRecordsOutside(pool, owner, newest.id);
  if (rows.length === 0) return { resealed: 0, unreadable: [] };
  const dek = unwrapDek(ring, installId, { ...newest, ownerId: owner ?? systemOwner });
  const opener = createRecordOpener(parts);
  await opener.prepare(rows);
  const unreadable: Unreadable[] = [];
  const fresh = rows.flatMap((row) => resealOrName(opener, row, dek, unreadable));
  if (fresh.length === 0) return { resealed: 0, unreadable };
  const resealed = await pool.transaction(async (db) => {
    let stored = 0;
    for (const { row, sealed } of fresh) if (await resealRecord(db, row, sealed)) stored += 1;
    if (stored > 0) await audit(db, 'keys.records_resealed', newest.id, owner, { records: stored });
    return stored;
  });
  return { resealed, unreadable };
}

function resealOrName(
  opener: RecordOpener,
  row: SealedRecordRow,
  dek: Dek,
  unreadable: Unreadable[],
): { row: SealedRecordRow; sealed: Buffer }[] {
  try {
    return [{ row, sealed: opener.reseal(row, dek) }];
  } catch (error) {
    unreadable.push({ name: toName(row), why: toReason(error) });
    return [];
  }
}

/** Deletes every DEK but the newest, as soon as nothing is sealed under it. */
async function dropOld(
  parts: DataKeyRotationParts,
  owner: string | null,
): Promise<{ resealed: number; dropped: number; unreadable: readonly Unreadable[] }> {
  let [resealed, dropped] = [0, 0];
  for (let round = 0; ; round += 1) {
    const moved = await moveRecords(parts, owner);
    resealed += moved.resealed;
    const [, ...old] = await findDataKeys(parts.pool, owner);
    const outcomes = await Promise.all(old.map((key) => drop(parts.pool, key, owner)));
    dropped += outcomes.filter((outcome) => outcome === 'dropped').length;
    const isDone = outcomes.every((outcome) => outcome !== 'in use');
    if (isDone || moved.unreadable.length > 0 || round >= roundsMax)
      return { resealed, dropped, unreadable: moved.unreadable };
  }
}

async function drop(pool: DatabasePool, { id }: DataKeyRow, owner: string | null) {
  return await pool.transaction(async (db) => {
    const outcome = await dropReplacedDataKey(db, id);
    if (outcome === 'dropped') await audit(db, 'keys.data_key_dropped', id, owner, {});
    return outcome;
  });
}

async function audit(
  db: Queryable,
  action: string,
  keyId: string,
  owner: string | null,
  details: Readonly<Record<string, unknown>>,
): Promise<void> {
  await recordSystemChange(db, via, {
    action,
    target: { kind: 'data_key', id: keyId },
    details,
    ...(owner === null ? {} : { subjectUserId: owner }),
  });
}
