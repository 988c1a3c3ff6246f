/** Tells a row that stands at another row's place from one that was changed: it verifies somewhere else. */
import type { AuditProblem } from './auditProblems.js';
import type { AuditName } from '../../stores/auditChainStore.js';

export interface Suspect {
  readonly place: Pick<AuditProblem, 'shard' | 'seq' | 'id'> & {
    readonly audit: AuditName;
    readonly at: string;
  };
  readonly position?: number;
  /** Whether the row would verify at the place of that one. */
  readonly fits: (other: { readonly seq: number | null; readonly position?: number | undefined }) => boolean;
}

/** The number of the row whose place it would verify at; null when there is none among them. */
export function findPlace(suspect: Suspect, others: readonly Suspect[]): number | null {
  for (const { place, position } of others) {
    const isNear = place.audit === suspect.place.audit && place.shard === suspect.place.shard;
    if (isNear && place.seq !== suspect.place.seq && suspect.fits({ seq: place.seq, position }))
      return place.seq;
  }
  return null;
}
