/**
 * The circuits of a service's upstreams (06, "Defaults"): one for each instance and one for each host behind. A host that
 * is down is left alone instead of holding every caller's slot to its deadline, and one instance whose calls alone fail
 * (a tool that never ends, a credential that makes the service fall over) is stopped without harm to the others.
 *
 * Only the service's own faults count: connections that fail, statuses of 5xx, deadlines, answers that break off. What a
 * credential or a request deserved (4xx) is a good answer. A host that is well costs one look-up a call.
 */
import { ConsecutiveBreaker } from 'cockatiel';
import { LRUCache } from 'lru-cache';
import { AnswerTooLarge } from '../../../egress/decodeBody.js';
import { AppError } from '../../../errors/appError.js';
import type { ResolvedInstance } from '../../../services/resolvedInstance.js';
import { Circuit, type CircuitRule } from './circuit.js';

/** How a request came out, as far as the circuit asks. */
export type PassageEnd =
  | 'answered'
  /** No connection was made, so that it was nothing about this caller. */
  | 'unreachable'
  /** 5xx, deadline, reset, an answer that is none. */
  | 'failed'
  /** The caller went away, or we refused it ourselves: it says nothing of the upstream. */
  | 'abandoned';

export interface Passage {
  /** Has to be called; only the first time counts. */
  end(how: PassageEnd): void;
}

export interface Circuits {
  /**
   * Asked before each request leaves.
   * @throws AppError SERVICE_UNAVAILABLE with the time until a trial, when the circuit of the host or the instance is open
   */
  enter(origin: string, of: Pick<ResolvedInstance, 'id' | 'userId'>): Passage;
  /** Circuits that let nothing through now. */
  readonly openCount: number;
}

export interface CircuitLimits {
  /** Consecutive faults of one instance's requests. */
  readonly instanceFaults: number;
  /** Consecutive connections to a host that failed. */
  readonly hostUnreachable: number;
  /** Consecutive faults of a host, of any kind, over at least two users: nobody closes a host to others alone. */
  readonly hostFaults: number;
  readonly pauseMs: number;
  readonly pauseMsMax: number;
}

export const circuitDefaults: CircuitLimits = {
  instanceFaults: 5,
  hostUnreachable: 5,
  hostFaults: 10,
  pauseMs: 5_000,
  pauseMsMax: 60_000,
};

const circuitsMax = 10_000;

interface OwnCircuit {
  readonly circuit: Circuit;
  /** Where its requests went last. */
  origin: string;
}

interface HostCircuit {
  readonly circuit: Circuit;
  readonly rule: HostRule;
}

export function createCircuits({
  limits = circuitDefaults,
  now = () => performance.now(),
}: {
  readonly limits?: CircuitLimits;
  /** Milliseconds of a monotonic clock. */
  readonly now?: () => number;
} = {}): Circuits {
  const { pauseMs, pauseMsMax } = limits;
  // Only who had a fault since the last good answer is in here.
  const hosts = new LRUCache<string, HostCircuit>({ max: circuitsMax });
  const instances = new LRUCache<string, OwnCircuit>({ max: circuitsMax });

  const onAnswered = (origin: string, instanceId: string, hostTrial: Circuit | null): void => {
    instances.delete(instanceId);
    hosts.delete(origin);
    if (hostTrial === null) return;
    // The host is back: nobody waits for a pause that it was to blame for.
    for (const [id, own] of Array.from(instances.entries())) if (own.origin === origin) instances.delete(id);
  };

  const onHostFault = (origin: string, userId: string, how: 'unreachable' | 'failed'): void => {
    let host = hosts.get(origin);
    if (host === undefined) {
      const rule = new HostRule(limits);
      host = { rule, circuit: new Circuit({ rule, pauseMs, pauseMsMax, now }) };
      hosts.set(origin, host);
    }
    host.rule.note(how, userId);
    host.circuit.record('failed');
  };

  const onOwnFault = (origin: string, instanceId: string): void => {
    let own = instances.get(instanceId);
    if (own === undefined) {
      const rule = new ConsecutiveBreaker(limits.instanceFaults);
      own = { origin, circuit: new Circuit({ rule, pauseMs, pauseMsMax, now }) };
      instances.set(instanceId, own);
    }
    own.origin = origin;
    own.circuit.record('failed');
  };

  return {
    enter(origin, { id: instanceId, userId }) {
      const host = hosts.get(origin)?.circuit;
      const own = instances.get(instanceId)?.circuit;
      if (host !== undefined) refuseWhileOpen(host, 'host');
      if (own !== undefined) refuseWhileOpen(own, 'instance');
      const hostTrial = host?.isClosed === false ? host : null;
      const ownTrial = own?.isClosed === false ? own : null;
      hostTrial?.beginTrial();
      ownTrial?.beginTrial();
      let isEnded = false;
      return {
        end(how) {
          if (isEnded) return;
          isEnded = true;
          // A connection that failed was nothing about this caller.
          ownTrial?.endTrial(how === 'unreachable' ? 'abandoned' : how);
          hostTrial?.endTrial(how === 'unreachable' ? 'failed' : how);
          if (how === 'abandoned') return;
          if (how === 'answered') return onAnswered(origin, instanceId, hostTrial);
          if (hostTrial === null) onHostFault(origin, userId, how);
          if (ownTrial === null && how === 'failed') onOwnFault(origin, instanceId);
        },
      };
    },
    get openCount() {
      const all = [...hosts.values(), ...instances.values()];
      return all.filter(({ circuit }) => !circuit.isClosed).length;
    },
  };
}

/** How a request came out that was refused with this error, or none at all. */
export function toPassageEnd(error: unknown): PassageEnd {
  if (!(error instanceof AppError)) return 'abandoned';
  if (error instanceof AnswerTooLarge) return 'answered';
  if (error.code === 'UPSTREAM_UNREACHABLE') return 'unreachable';
  return error.code === 'UPSTREAM_TIMEOUT' || error.code === 'UPSTREAM_FAILED' ? 'failed' : 'abandoned';
}

/** A status is an answer, whatever it says of the request, unless it says that the server is at fault. */
export const toAnswerEnd = (status: number): PassageEnd => (status >= 500 ? 'failed' : 'answered');

function refuseWhileOpen({ waitMs }: Circuit, whose: 'host' | 'instance'): void {
  if (waitMs === 0) return;
  throw new AppError('SERVICE_UNAVAILABLE', `the circuit of the ${whose} is open`, {
    publicDetail:
      whose === 'host'
        ? 'The service behind is not answering at the moment and is left alone for a while. Nothing was sent to it.'
        : 'The last calls of this instance all failed at the service behind, which is left alone for a while. Nothing was sent to it.',
    retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1_000)),
  });
}

/** Faults that only one user meets are that user's; a host that takes no connection is down for all. */
class HostRule implements CircuitRule {
  readonly #limits: CircuitLimits;
  readonly #users = new Set<string>();
  #unreachable = 0;
  #faults = 0;

  constructor(limits: CircuitLimits) {
    this.#limits = limits;
  }

  note(how: 'unreachable' | 'failed', userId: string): void {
    this.#unreachable = how === 'unreachable' ? this.#unreachable + 1 : 0;
    this.#faults += 1;
    if (this.#users.size < 2) this.#users.add(userId);
  }

  success(): void {
    this.#unreachable = 0;
    this.#faults = 0;
    this.#users.clear();
  }

  failure(): boolean {
    const { hostUnreachable, hostFaults } = this.#limits;
    return this.#unreachable >= hostUnreachable || (this.#faults >= hostFaults && this.#users.size >= 2);
  }
}
