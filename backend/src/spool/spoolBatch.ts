/** What the database is asked to add in one transaction, with the spool's position. */
export interface SpoolBatch {
  readonly spoolId: string;
  /** By ascending position. The database ignores those at or below the position that it has of this spool. */
  readonly lines: readonly PlacedLine[];
}

/** Adds a batch and moves the position in one transaction; rejects when it did not, or may not have. */
export type ShipBatch = (batch: SpoolBatch) => Promise<unknown>;

export interface PlacedLine {
  readonly position: number;
  /** A line of `callRecord`, with or without its newline. */
  readonly line: string;
}
