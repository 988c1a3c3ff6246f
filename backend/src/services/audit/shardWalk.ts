/**
 * One shard of an audit, row by row in the order of numbers: which of them were seen, and whether what they fold to is
 * what the checkpoints say. The fold begins at the first row or at any head that a checkpoint names, so it needs nothing
 * of what retention removed; a row that does not verify stops it until the next head.
 */
import { firstHead, foldHead } from '../../vault/auditMacs.js';
import type { AuditName } from '../../stores/auditChainStore.js';
import type { AuditProblem } from './auditProblems.js';
import type { ShardClaims } from './checkpointClaims.js';
import { NumberRuns } from './numberRuns.js';

export class ShardWalk {
  readonly seen = new NumberRuns();
  readonly #audit: AuditName;
  readonly #shard: string;
  readonly #claims: ShardClaims | null;
  #head: Buffer | null = null;
  #next = 0;
  #foldedFrom = 0;
  /** When the last row that was seen happened. */
  lastAt: string | null = null;

  constructor(audit: AuditName, shard: string, claims: ShardClaims | null) {
    this.#audit = audit;
    this.#shard = shard;
    this.#claims = claims;
  }

  /**
   * Takes the next row. `folded`: its MAC, or its link; null when the row does not verify.
   * @returns what is wrong with its place, if anything
   */
  take(seq: number, at: string, folded: Uint8Array | null): Pick<AuditProblem, 'kind' | 'detail'> | null {
    if (!this.seen.add(seq)) return { kind: 'inserted', detail: `number ${seq} is there more than once` };
    this.lastAt = at;
    if (seq === 1) {
      this.#head = firstHead(this.#audit, this.#shard);
      this.#foldedFrom = 1;
    } else if (seq !== this.#next) this.#head = null;
    this.#next = seq + 1;
    if (folded === null) this.#head = null;
    else if (this.#head !== null) this.#head = foldHead(this.#head, folded);
    const claimed = this.#claims?.heads.get(seq);
    if (claimed === undefined) return null;
    const [head, from] = [this.#head, this.#foldedFrom];
    this.#head = Buffer.from(claimed, 'hex');
    this.#foldedFrom = seq + 1;
    if (head === null || head.toString('hex') === claimed) return null;
    return {
      kind: 'rewritten',
      detail: `numbers ${from} to ${seq} are not the rows that a checkpoint vouches for`,
    };
  }

  /** Numbers up to `last` that are neither there nor removed by retention. */
  missing(last: number): readonly { readonly first: number; readonly last: number }[] {
    const known = new NumberRuns();
    for (const run of [...this.seen.runs, ...(this.#claims?.gone.runs ?? [])]) known.add(run.first, run.last);
    return known.missingTo(last);
  }
}
