/**
 * The rotation of the KEK while everything runs (05, "Online rotation"). Each step leaves a note behind that the next run
 * starts from, and each may be done twice: a run that was killed anywhere is repeated as it is.
 *
 * 1. The new KEK goes into the ring file as `decrypt`; every live process has to hold that ring.
 * 2. Both KEKs may wrap, and the file makes the new one primary; again every live process has to hold it. From then on
 *    only the new one may wrap: the database refuses what a process that was left behind would write (`may_wrap`).
 * 3. Every key is wrapped anew. 4. None is left under another KEK, and every one opens.
 * 5. Everybody is told to let go of rows with old wraps, and the old KEK is disabled.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DatabasePool } from '../../database/pool.js';
import type { Queryable } from '../../database/queryable.js';
import { AppError } from '../../errors/appError.js';
import {
  countUnderOthers,
  findOpenRotation,
  insertRotation,
  noteRotation,
  setWrappingKeks,
  type KekRotation,
  type RotationPhase,
} from '../../stores/keyRotationStore.js';
import { countByKek, listRingHeartbeats } from '../../stores/keysStore.js';
import { announceRegistryChange } from '../../stores/registryNotice.js';
import { fingerprint, parseKeyRing, withKekState, withNewKek, type KeyRing } from '../../vault/keyRing.js';
import { recordSystemChange } from '../changeAudit.js';
import { ringBeatAgeMsMax } from '../ringHeartbeat.js';
import { rewrapAll, verifyWraps } from './rewrapKeys.js';
import type { RotationReport, Unreadable } from './rotationReport.js';

/** The ring file of this installation. */
export interface RingFile {
  /** @throws AppError CONFIG_INVALID */
  read(): string;
  /** Replaces it in one step that outlives a power failure, for its owner alone. */
  replace(text: string): void;
}

export interface KekRotationParts {
  /** Role `portolan_jobs`. */
  readonly pool: DatabasePool;
  readonly ringFile: RingFile;
  readonly installId: string;
  readonly report: RotationReport;
  /** @throws when another run may have begun meanwhile. Asked before the ring file is touched. */
  readonly requireTurn: () => Promise<void>;
  /** How long live processes may take to hold a changed ring. */
  readonly waitMsMax: number;
  /** How long processes that were told to let go of old rows are given. */
  readonly settleMs: number;
}

const via = 'cli:keys';
const askAgainMs = 200;

/** Puts a new KEK into the ring as `decrypt`; answers its id. */
export async function addKek(parts: KekRotationParts): Promise<string> {
  const { text, id } = withNewKek(parts.ringFile.read(), randomBytes);
  await change(parts, 'keys.kek_added', id, text);
  return id;
}

/**
 * Rotates to a KEK of the ring, to the one that waits there, or to a new one; or goes on with the rotation under way.
 * @throws AppError CONFLICT with what stands in the way: a process that does not take the ring over, a key that does not
 * open. The rotation stays under way, and can be run again.
 */
export async function rotateKek(parts: KekRotationParts, to: string | null = null): Promise<KekRotation> {
  let rotation = await begin(parts, to);
  const { toKek, fromKek, id } = rotation;
  requireKek(readRing(parts), toKek);
  const at = (phase: RotationPhase): boolean => rotation.phase === phase;
  const goTo = async (phase: RotationPhase, work: (db: Queryable) => Promise<void>): Promise<void> => {
    rotation = await parts.pool.transaction(async (db) => {
      await work(db);
      return await noteRotation(db, id, { phase });
    });
  };

  if (at('distributing')) {
    await waitForAll(parts);
    await goTo('promoting', async (db) => {
      await setWrappingKeks(db, [fromKek, toKek]);
      await audit(db, 'keys.kek_distributed', toKek);
    });
  }
  if (at('promoting')) {
    if (readRing(parts).primary.id !== toKek) {
      parts.report.step(`Making ${toKek} the primary KEK`);
      await change(parts, 'keys.kek_promoting', toKek, withKekState(parts.ringFile.read(), toKek, 'primary'));
    }
    await waitForAll(parts);
    await goTo('rewrapping', async (db) => {
      await setWrappingKeks(db, [toKek]);
      await audit(db, 'keys.kek_promoted', toKek);
    });
  }
  if (at('rewrapping')) {
    await rewrapAndVerify(parts, rotation);
    await goTo('settling', async (db) => {
      const { rewrapped } = await noteRotation(db, id, { phase: 'settling' });
      await audit(db, 'keys.rewrapped', toKek, { from: fromKek, rewrapped });
      await announceRegistryChange(db, null);
    });
  }
  await settle(parts);
  if (readRing(parts).keks.get(fromKek)?.state === 'decrypt') {
    await disableKek(parts, fromKek);
    await waitForAll(parts);
  }
  await goTo('finished', (db) => audit(db, 'keys.kek_rotated', toKek, { from: fromKek }));
  return rotation;
}

/** @throws AppError CONFLICT while a key is wrapped under it, it is the primary one or a rotation is under way. */
export async function retireKek(parts: KekRotationParts, id: string): Promise<void> {
  requireKek(readRing(parts), id);
  if ((await findOpenRotation(parts.pool)) !== null)
    throw conflict('a rotation is under way; finish it first');
  const under = (await countByKek(parts.pool)).find(({ kekId }) => kekId === id)?.keys ?? 0;
  if (under > 0) throw conflict(`${under} keys are wrapped under ${id}; rotate first`);
  if (readRing(parts).primary.id === id) throw conflict(`${id} is the primary KEK`);
  await disableKek(parts, id);
}

/** Lets a disabled KEK unwrap again, for a dump of the time when it was in use. */
export async function readmitKek(parts: KekRotationParts, id: string): Promise<void> {
  requireKek(readRing(parts), id);
  if (readRing(parts).primary.id === id) throw conflict(`${id} is the primary KEK`);
  await change(parts, 'keys.kek_readmitted', id, withKekState(parts.ringFile.read(), id, 'decrypt'));
}

async function begin(parts: KekRotationParts, to: string | null): Promise<KekRotation> {
  const { pool, report } = parts;
  const open = await findOpenRotation(pool);
  if (open !== null) {
    if (to !== null && to !== open.toKek) throw conflict(`a rotation to ${open.toKek} is under way`);
    report.step(`Going on with the rotation from ${open.fromKek} to ${open.toKek} (${open.phase})`);
    return open;
  }
  let toKek = to ?? (await findWaiting(parts));
  if (toKek === null) {
    report.step('Adding a new KEK to the ring');
    toKek = await addKek(parts);
  }
  const ring = readRing(parts);
  const kek = requireKek(ring, toKek);
  if (kek.state !== 'decrypt') throw conflict(`${toKek} is ${kek.state}, not decrypt`);
  const fromKek = ring.primary.id;
  return await pool.transaction(async (db) => {
    const rotation = await insertRotation(db, { id: randomUUID(), fromKek, toKek });
    await audit(db, 'keys.rotation_started', toKek, { from: fromKek });
    return rotation;
  });
}

/** A KEK that was added and has never wrapped anything. */
async function findWaiting(parts: KekRotationParts): Promise<string | null> {
  const used = new Set((await countByKek(parts.pool)).map(({ kekId }) => kekId));
  const waiting = [...readRing(parts).keks.values()].filter(
    ({ id, state }) => state === 'decrypt' && !used.has(id),
  );
  return waiting.at(-1)?.id ?? null;
}

/** @throws AppError CONFLICT that names the processes which did not take the ring over in time. */
async function waitForAll({ pool, ringFile, report, waitMsMax }: KekRotationParts): Promise<void> {
  const expected = fingerprint(parseKeyRing(ringFile.read()));
  const end = performance.now() + waitMsMax;
  let told = '';
  for (;;) {
    const behind = (await listRingHeartbeats(pool, ringBeatAgeMsMax))
      .filter((beat) => beat.fingerprint !== expected)
      .map(({ processId }) => processId);
    if (behind.length === 0) return;
    if (performance.now() > end) {
      throw conflict(`these processes do not hold the key ring of this file: ${behind.join(', ')}`);
    }
    const names = behind.join(', ');
    if (names !== told) report.step(`Waiting until the ring is held by ${names}`);
    told = names;
    await sleep(askAgainMs);
  }
}

async function rewrapAndVerify(parts: KekRotationParts, { id, toKek }: KekRotation): Promise<void> {
  const { pool, report, installId } = parts;
  const ring = readRing(parts);
  if (ring.primary.id !== toKek) throw conflict(`the ring file no longer has ${toKek} as its primary KEK`);
  report.step(`Wrapping keys under ${toKek}`);
  const skipped = await rewrapAll({ pool, ring, installId, report }, id);
  report.step('Verifying');
  const { unreadable } = await verifyWraps({ pool, ring, installId, report });
  refuseUnreadable([...skipped, ...unreadable]);
  const left = await countUnderOthers(pool, toKek);
  if (left > 0) throw conflict(`${left} keys are still under another KEK; run it again`);
}

async function settle({ pool, report, settleMs }: KekRotationParts): Promise<void> {
  if ((await listRingHeartbeats(pool, ringBeatAgeMsMax)).length === 0) return;
  report.step('Letting programs go of what they hold under the old KEK');
  await sleep(settleMs);
}

async function disableKek(parts: KekRotationParts, id: string): Promise<void> {
  parts.report.step(`Disabling ${id}`);
  await change(parts, 'keys.kek_disabled', id, withKekState(parts.ringFile.read(), id, 'disabled'));
}

/** A file and a row cannot change as one: the row comes first, so that no change of the ring is ever without one. */
async function change(
  { pool, ringFile, requireTurn }: KekRotationParts,
  action: string,
  kekId: string,
  text: string,
): Promise<void> {
  await requireTurn();
  await pool.transaction((db) => audit(db, action, kekId));
  ringFile.replace(text);
}

function readRing({ ringFile }: Pick<KekRotationParts, 'ringFile'>): KeyRing {
  return parseKeyRing(ringFile.read());
}

function requireKek(ring: KeyRing, id: string) {
  const kek = ring.keks.get(id);
  if (kek === undefined) throw conflict(`the ring file has no KEK ${id}`);
  return kek;
}

/** The names are ids of rows; the operator needs them. */
function refuseUnreadable(unreadable: readonly Unreadable[]): void {
  const names = [...new Set(unreadable.map(({ name, why }) => `${name}: ${why}`))];
  if (names.length > 0) throw conflict(`${names.length} keys do not open:\n  ${names.join('\n  ')}`);
}

function conflict(message: string): AppError {
  return new AppError('CONFLICT', message);
}

async function audit(
  db: Queryable,
  action: string,
  kekId: string,
  details: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  await recordSystemChange(db, via, { action, target: { kind: 'kek', id: kekId }, details });
}
