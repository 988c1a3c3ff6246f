/** What a verification of the audit finds wrong, and how many of it are told one by one. */
import type { AuditName } from '../../stores/auditChainStore.js';

export interface AuditProblem {
  /**
   * `edited`: a row does not say what its writer signed. `inserted`: no writer of ours made it. `reordered`: it stands at
   * another row's place. `deleted`: numbers are missing that a checkpoint or a later row vouches for. `rewritten`: rows
   * verify and are not those that a checkpoint folded. `checkpoint`: statements are missing, altered or forged.
   */
  readonly kind: 'edited' | 'inserted' | 'reordered' | 'deleted' | 'rewritten' | 'checkpoint';
  readonly audit: AuditName | 'audit_checkpoints';
  readonly shard: string | null;
  /** Its number, or the first of a run. */
  readonly seq: number | null;
  /** The last of a run. */
  readonly lastSeq?: number;
  /** The event's id, or the call's. */
  readonly id: string | null;
  /** When it happened; for what is missing, when its neighbour before did. */
  readonly at: string | null;
  readonly detail: string;
}

export interface Problems {
  add(problem: AuditProblem): void;
  readonly list: readonly AuditProblem[];
  /** All of them, those that the list has no room for too. A run counts by its length. */
  readonly count: number;
}

export function createProblems(listedMax = 1_000): Problems {
  const list: AuditProblem[] = [];
  let count = 0;
  return {
    add(problem) {
      count += problem.lastSeq === undefined ? 1 : problem.lastSeq - (problem.seq ?? 0) + 1;
      if (list.length < listedMax) list.push(problem);
    },
    list,
    get count() {
      return count;
    },
  };
}
