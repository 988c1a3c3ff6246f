/**
 * What a soak knows: tenants with their URLs, credentials and pauses over time, every change, every call, every sighting
 * upstream, every fault, and what was found wrong. Times are milliseconds since the epoch, by the harness's clock.
 */
import type { Sighting } from './recordingServices.js';
import type { SoakService } from './soakServices.js';

/** A value and how long it holds. Before `knownAt` and after `endSentAt` it may hold or not. */
export interface Held {
  readonly value: string;
  /** When what makes it hold was asked for, and when that was acknowledged. */
  readonly sentAt: number;
  knownAt: number | null;
  /** When what ends it was first asked for, and when that was acknowledged. */
  endSentAt: number | null;
  endedAt: number | null;
}

/** An instance as its owner knows it. */
export interface Tenant {
  readonly tag: string;
  readonly service: SoakService;
  readonly label: string;
  /** The instance's uuid. */
  readonly id: string;
  readonly urls: Held[];
  readonly credentials: Held[];
  readonly pauses: Held[];
  /** Changes that were asked for and have no answer yet, or whose answer was lost: nothing certain is said meanwhile. */
  doubts: number;
  lastChangedAt: number;
}

export type ChangeKind = 'created' | 'replaced' | 'rotated' | 'paused' | 'resumed' | 'deleted';

export interface Change {
  readonly requestId: string;
  readonly kind: ChangeKind;
  readonly tag: string;
  readonly sentAt: number;
  endedAt: number | null;
  outcome: 'acknowledged' | 'refused' | 'unknown' | null;
  status: number | string | null;
}

export type Answer =
  | { readonly kind: 'answered'; readonly text: string }
  | { readonly kind: 'tool-error'; readonly text: string }
  | { readonly kind: 'rpc-error'; readonly code: number; readonly text: string }
  | { readonly kind: 'status'; readonly status: number; readonly text: string }
  | { readonly kind: 'network'; readonly text: string }
  /** The client went away on purpose. */
  | { readonly kind: 'vanished' }
  | { readonly kind: 'no-end' };

export interface Call {
  readonly id: string;
  readonly tenant: Tenant;
  readonly client: string;
  readonly url: Held;
  readonly tool: 'record' | 'read' | 'wait';
  readonly args: object;
  readonly startedAt: number;
  /** A call of this client was answered since the last trouble began. */
  readonly isExpected: boolean;
  endedAt: number | null;
  answer: Answer | null;
}

export interface FaultRun {
  readonly id: string;
  readonly detail: string;
  /** Whose calls it may fail. */
  readonly hits: readonly SoakService[];
  readonly injectedAt: number;
  healedAt: number | null;
  /** When all was well again. */
  recoveredAt: number | null;
}

/** The letter of the invariant: see docs/soak.md. */
export type Invariant = 'a' | 'b' | 'c' | 'd' | 'e' | 'f' | 'g' | 'h' | 'i';

export interface Violation {
  readonly invariant: Invariant;
  readonly text: string;
  /** Seconds since the start of the soak. */
  readonly atSeconds: number;
  readonly faults: readonly string[];
  readonly call?: string;
  readonly instance?: string;
}

export class Journal {
  readonly startedAt = Date.now();
  readonly tenants: Tenant[] = [];
  readonly changes: Change[] = [];
  readonly calls = new Map<string, Call>();
  readonly sightings = new Map<string, Sighting[]>();
  readonly faults: FaultRun[] = [];
  readonly violations: Violation[] = [];
  /** How calls came out, counted by a word. */
  readonly outcomes = new Map<string, number>();

  see(sighting: Sighting): void {
    const seen = this.sightings.get(sighting.call);
    if (seen === undefined) this.sightings.set(sighting.call, [sighting]);
    else seen.push(sighting);
  }

  report(invariant: Invariant, text: string, of: { at?: number; call?: Call; tenant?: Tenant } = {}): void {
    const at = of.at ?? Date.now();
    const instance = of.call?.tenant.id ?? of.tenant?.id;
    this.violations.push({
      invariant,
      text,
      atSeconds: Math.round((at - this.startedAt) / 100) / 10,
      faults: this.faultsDuring(at - 1_000, at).map((fault) => `${fault.id} ${fault.detail}`.trim()),
      ...(of.call === undefined ? {} : { call: of.call.id }),
      ...(instance === undefined ? {} : { instance }),
    });
  }

  /** Those that were under way, or not recovered from, at some time between. */
  faultsDuring(from: number, to: number, service?: SoakService): FaultRun[] {
    return this.faults.filter(
      ({ hits, injectedAt, recoveredAt }) =>
        injectedAt <= to &&
        (recoveredAt === null || recoveredAt >= from) &&
        (service === undefined || hits.includes(service)),
    );
  }

  count(outcome: string): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
  }
}

export const hold = (value: string, sentAt: number): Held => ({
  value,
  sentAt,
  knownAt: null,
  endSentAt: null,
  endedAt: null,
});

/** It surely holds during the whole of this time. */
export const surelyHeld = (held: Held, from: number, to: number): boolean =>
  held.knownAt !== null && held.knownAt <= from && (held.endSentAt === null || held.endSentAt > to);

/** It surely held no more at this time, with so much patience. */
export const surelyOver = (held: Held, at: number, patienceMs: number): boolean =>
  held.endedAt !== null && held.endedAt + patienceMs < at;
