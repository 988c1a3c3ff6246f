/** Sets of whole numbers that mostly follow each other, as the few runs that they are. */

export interface Run {
  readonly first: number;
  readonly last: number;
}

export class NumberRuns {
  /** Ascending, apart by at least one number. */
  #runs: { first: number; last: number }[] = [];

  get runs(): readonly Run[] {
    return this.#runs;
  }

  get max(): number {
    return this.#runs.at(-1)?.last ?? 0;
  }

  /** Adds a run; false when any of it was there. */
  add(first: number, last = first): boolean {
    const end = this.#runs.at(-1);
    if (end !== undefined && first === end.last + 1) {
      end.last = last;
      return true;
    }
    if (end === undefined || first > end.last) {
      this.#runs.push({ first, last });
      return true;
    }
    const isNew = !this.#runs.some((run) => run.first <= last && first <= run.last);
    const joined = [...this.#runs, { first, last }].sort((one, other) => one.first - other.first);
    this.#runs = [];
    for (const run of joined) {
      const former = this.#runs.at(-1);
      if (former !== undefined && run.first <= former.last + 1) former.last = Math.max(former.last, run.last);
      else this.#runs.push({ ...run });
    }
    return isNew;
  }

  /** The runs from 1 to `last` that are not in it. */
  missingTo(last: number): Run[] {
    const missing: Run[] = [];
    let next = 1;
    for (const run of this.#runs) {
      if (run.first > last) break;
      if (run.first > next) missing.push({ first: next, last: run.first - 1 });
      next = run.last + 1;
    }
    if (next <= last) missing.push({ first: next, last });
    return missing;
  }
}
