/** A fault of the table: how it is drawn from the seed, put into the fleet and taken out again. */
import type { Journal } from '../journal.js';
import type { Random } from '../random.js';
import type { SoakFleet } from '../soakFleet.js';
import type { SoakService } from '../soakServices.js';

export interface FaultSite {
  readonly soak: SoakFleet;
  readonly journal: Journal;
}

/** What the seed decided of one fault. */
export interface FaultPlan {
  /** In words, such as the service that it hits. */
  readonly detail: string;
  readonly hits: readonly SoakService[];
  readonly inject: (site: FaultSite) => Promise<Heal>;
}

/** Takes the fault out again; resolves when that is done. */
export type Heal = () => Promise<void>;

export interface Fault {
  /** Of the reliability promises. */
  readonly id: string;
  readonly lastsMs: readonly [number, number];
  /** From the heal until the programs are ready and calls succeed again. */
  readonly recoveryMs: number;
  plan(random: Random): FaultPlan;
}
