/** What the database is asked to add in one transaction, with the spool's position. */
export interface SpoolBatch {
  readonly spoolId: string;
  /** Position of the last record. The database ignores records at or below the position that it has of this spool. */
  readonly position: number;
  readonly count: number;
  /** JSON text: an array of `CallAuditRecord`, by ascending position. */
  readonly records: string;
}

/** Adds a batch and moves the position in one transaction; rejects when it did not, or may not have. */
export type ShipBatch = (batch: SpoolBatch) => Promise<unknown>;

export interface PlacedLine {
  readonly position: number;
  /** A line of `callRecord`, with or without its newline. */
  readonly line: string;
}

/** Joins lines to a batch by text alone: the position becomes the first member of each object. */
export function toSpoolBatch(spoolId: string, lines: readonly PlacedLine[]): SpoolBatch {
  const records = lines.map(({ position, line }) => `{"position":${position},${line.trimEnd().slice(1)}`);
  return {
    spoolId,
    position: lines.at(-1)?.position ?? 0,
    count: lines.length,
    records: `[${records.join(',')}]`,
  };
}
