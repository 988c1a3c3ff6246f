/** How it stands with the keys: the ring, what each KEK wraps, who holds which ring, the rotation under way. No key. */
import {
  countUnderOthers,
  findOpenRotation,
  readWrappingKeks,
  type KekRotation,
} from '../../backend/src/stores/keyRotationStore.js';
import { countByKek, listRingHeartbeats } from '../../backend/src/stores/keysStore.js';
import { ringBeatAgeMsMax } from '../../backend/src/services/ringHeartbeat.js';
import { fingerprint, type KekState } from '../../backend/src/vault/keyRing.js';
import type { OpenedKeys } from './openKeys.js';

export interface KeysStatus {
  readonly fingerprint: string;
  readonly keks: readonly {
    readonly id: string;
    /** `missing`: keys were wrapped under it, and the ring does not have it. */
    readonly state: KekState | 'missing';
    /** Keys that are under it now. */
    readonly keys: number;
    /** How often it wrapped a key, ever; it has to be rotated before 2^32 (NIST SP 800-38D §8.3). */
    readonly wraps: number;
    readonly isWornOut: boolean;
  }[];
  /** Null: any. */
  readonly wrappingKeks: readonly string[] | null;
  readonly processes: readonly {
    readonly id: string;
    readonly fingerprint: string;
    readonly primaryKek: string;
    readonly isCurrent: boolean;
    readonly seenSecondsAgo: number;
  }[];
  readonly keysUnderOtherKeks: number;
  readonly rotation: KekRotation | null;
}

export const wrapsMax = 2 ** 31;

export async function readKeysStatus({ pool, vault }: OpenedKeys, now = Date.now()): Promise<KeysStatus> {
  const { ring } = vault;
  const [counts, beats, rotation, wrappingKeks, keysUnderOtherKeks] = await Promise.all([
    countByKek(pool),
    listRingHeartbeats(pool, ringBeatAgeMsMax),
    findOpenRotation(pool),
    readWrappingKeks(pool),
    countUnderOthers(pool, ring.primary.id),
  ]);
  const ids = [...new Set([...ring.keks.keys(), ...counts.map(({ kekId }) => kekId)])];
  const own = fingerprint(ring);
  return {
    fingerprint: own,
    keks: ids.map((id) => {
      const { keys = 0, wraps = 0 } = counts.find(({ kekId }) => kekId === id) ?? {};
      return { id, state: ring.keks.get(id)?.state ?? 'missing', keys, wraps, isWornOut: wraps >= wrapsMax };
    }),
    wrappingKeks,
    processes: beats.map((beat) => ({
      id: beat.processId,
      fingerprint: beat.fingerprint,
      primaryKek: beat.primaryKekId,
      isCurrent: beat.fingerprint === own,
      seenSecondsAgo: Math.max(0, Math.round((now - beat.seenAt.getTime()) / 1_000)),
    })),
    keysUnderOtherKeks,
    rotation,
  };
}

export function toStatusText(status: KeysStatus): string {
  const { keks, processes, rotation, keysUnderOtherKeks } = status;
  return [
    `Ring ${status.fingerprint}`,
    ...keks.map(
      ({ id, state, keys, wraps, isWornOut }) =>
        `  ${id}  ${state.padEnd(8)}  ${keys} keys  ${wraps} wraps${isWornOut ? '  worn out: rotate now' : ''}`,
    ),
    processes.length === 0 ? 'No program runs that holds a ring' : 'Programs',
    ...processes.map(
      ({ id, isCurrent, fingerprint: held, seenSecondsAgo }) =>
        `  ${id}  ${isCurrent ? 'this ring' : `ring ${held}`}  ${seenSecondsAgo} s ago`,
    ),
    rotation === null
      ? 'No rotation is under way'
      : `A rotation from ${rotation.fromKek} to ${rotation.toKek} is under way: ${rotation.phase}, ` +
        `${rotation.rewrapped} keys wrapped anew`,
    ...(keysUnderOtherKeks === 0 ? [] : [`${keysUnderOtherKeks} keys are not under the primary KEK`]),
  ].join('\n');
}
