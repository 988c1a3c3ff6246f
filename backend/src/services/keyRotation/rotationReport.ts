/** What a rotation tells whoever started it, while it goes on. */

export interface RotationReport {
  /** A step begins. */
  step(what: string): void;
  /** How far the step has got. */
  progress(done: number, total: number): void;
  /** Something that the operator has to look at; the work goes on. */
  warn(what: string): void;
}

/** A wrapped key or a sealed record that did not open, and why; named by ids. */
export interface Unreadable {
  readonly name: string;
  readonly why: string;
}

export const firstId = '00000000-0000-0000-0000-000000000000';

export function toReason(error: unknown): string {
  return error instanceof Error ? error.message : 'it cannot be told';
}
