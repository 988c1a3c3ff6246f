/** The faults that a soak puts into the fleet, and the schedule that a seed makes of them. */
import {
  cutOffDatabase,
  killedBackends,
  killedListeners,
  stalledDatabase,
  stoppedDatabase,
} from './faults/databaseFaults.js';
import type { Fault, FaultPlan } from './faults/fault.js';
import { fullSpool, movedKeyRing } from './faults/fileFaults.js';
import { killedService, operatorFaults, stoppedService } from './faults/processFaults.js';
import { upstreamFaults } from './faults/upstreamFaults.js';
import { createRandom, type Random } from './random.js';

/** R23 and R24, clients that vanish and that read slowly, go on all the time (`clients.ts`). */
export const faultTable: readonly Fault[] = [
  stoppedDatabase,
  stalledDatabase,
  killedBackends,
  cutOffDatabase,
  ...upstreamFaults,
  killedService,
  ...operatorFaults,
  fullSpool,
  movedKeyRing,
  killedListeners,
  stoppedService,
];

export interface PlannedFault extends FaultPlan {
  readonly fault: Fault;
  /** After the one before is recovered from. */
  readonly afterMs: number;
  readonly lastsMs: number;
  /** It comes with the one before rather than after it. */
  readonly isBesides: boolean;
}

/**
 * Faults without an end, the same for the same seed: all of the table in some order, then again in another. One in five
 * comes while another is under way.
 * @param only ids; all of them when empty
 */
export function* planFaults(seed: number, only: readonly string[] = []): Generator<PlannedFault, never> {
  const random = createRandom(seed).fork('schedule');
  const table = faultTable.filter(({ id }) => only.length === 0 || only.includes(id));
  if (table.length === 0) throw new Error(`no fault of ${only.join(', ')} is in the table`);
  for (let round = 0; ; round += 1) {
    for (const fault of shuffle(table, random)) {
      yield {
        fault,
        afterMs: random.between(500, 2_500),
        lastsMs: random.between(...fault.lastsMs),
        isBesides: table.length > 1 && random.chance(0.2),
        ...fault.plan(random.fork(`${fault.id} ${round}`)),
      };
    }
  }
}

function shuffle<T>(all: readonly T[], random: Random): T[] {
  const left = [...all];
  const shuffled: T[] = [];
  while (left.length > 0) shuffled.push(...left.splice(random.between(0, left.length - 1), 1));
  return shuffled;
}
