/**
 * Calls a tool: checks the arguments, looks for a kept answer, sends the request with the caller's credential, reads the
 * answer, and notes what it says about the credential.
 */
import { LRUCache } from 'lru-cache';
import type { ServiceDefinition } from '../../../../catalog/serviceDefinition.js';
import type { EgressResponse } from '../../../../egress/egressCall.js';
import type { EgressClient } from '../../../../egress/egressClient.js';
import { AppError } from '../../../../errors/appError.js';
import type { CredentialValues } from '../../../../services/credentialValues.js';
import type { ResolvedInstance } from '../../../../services/resolvedInstance.js';
import { toAnswerKey, type AnswerCache } from './answerCache.js';
import type { OutgoingRequest } from './requestPlan.js';
import { toAnswerEnd, toPassageEnd, type Circuits } from '../circuits.js';
import type { FairPlaces } from '../fairPlaces.js';
import { createRequestBudget } from '../requestBudget.js';
import { createRetryBudget, sendWithRetries } from './retryPolicy.js';
import type { ToolOutcome } from './toolOutcome.js';
import type { CredentialRenewal } from '../credentialRenewal.js';
import type { StateNotes } from '../stateNotes.js';
import type { ToolPlan } from './toolPlan.js';

/** Whose call it is, and with what. */
export interface CallTerms {
  readonly instance: ResolvedInstance;
  readonly values: CredentialValues;
}

/**
 * @throws AppError UPSTREAM_TIMEOUT, UPSTREAM_UNREACHABLE, UPSTREAM_FAILED, EGRESS_DENIED, SERVICE_SATURATED,
 * SERVICE_UNAVAILABLE (a circuit is open), RATE_LIMIT_EXCEEDED, CREDENTIAL_MISSING, INVALID_REQUEST (a stored value that no header can carry); or the signal's reason.
 */
export type CallTool = (
  plan: ToolPlan,
  given: unknown,
  terms: CallTerms,
  signal: AbortSignal,
) => Promise<ToolOutcome>;

const holdOffMs = 10_000;

export function createToolCaller(options: {
  readonly definition: Pick<ServiceDefinition, 'limits'>;
  readonly retry: NonNullable<ServiceDefinition['api']>['retry'];
  readonly egress: Pick<EgressClient, 'send'>;
  /** At the pooled connections. */
  readonly places: FairPlaces;
  readonly answers: AnswerCache;
  readonly circuits: Circuits;
  readonly notes: StateNotes;
  /** Null where no credential can be renewed without its owner. */
  readonly renewal: CredentialRenewal | null;
  /** Asks the service whether the credential still works; null for services whose 401 says so by itself. */
  readonly isStillAccepted: ((terms: CallTerms, signal: AbortSignal) => Promise<boolean>) | null;
}): CallTool {
  const { definition, retry, egress, places, answers, circuits, notes, renewal, isStillAccepted } = options;
  const maxBytes = definition.limits.maxResponseBytes;
  const budget = createRetryBudget();
  const takeRequest = createRequestBudget(definition.limits);
  const once = { ...retry, attempts: 1 };
  /** Users whose arguments took too long to check a moment ago: what may take long again is not tried (R28). */
  const tookTooLong = new LRUCache<string, true>({ max: 10_000, ttl: holdOffMs });

  const sendFromPlace: typeof sendOnce = async (plan, request, instance, leftMs, signal) => {
    const passage = circuits.enter(request.destination.origin, instance);
    try {
      takeRequest();
      const bounds = { maxBytes, totalTimeoutMs: leftMs };
      const response = await egress.send({ method: plan.method, ...request, ...bounds }, signal);
      passage.end(toAnswerEnd(response.status));
      return response;
    } catch (error) {
      passage.end(toPassageEnd(error));
      throw error;
    }
  };

  const sendOnce = async (
    plan: ToolPlan,
    request: OutgoingRequest,
    instance: ResolvedInstance,
    leftMs: number,
    signal: AbortSignal,
  ): Promise<EgressResponse> => {
    const place = places.enter(instance.userId, signal);
    if (place !== null) await place;
    try {
      return await sendFromPlace(plan, request, instance, leftMs, signal);
    } finally {
      places.leave(instance.userId);
    }
  };

  const exchange = async (
    plan: ToolPlan,
    request: OutgoingRequest,
    instance: ResolvedInstance,
    signal: AbortSignal,
  ): Promise<ToolOutcome> => {
    const { reader, pages } = plan.works();
    const deadline = performance.now() + plan.timeoutMs;
    const send = (one: OutgoingRequest): Promise<EgressResponse> =>
      sendWithRetries(
        (leftMs) => sendOnce(plan, one, instance, leftMs, signal),
        plan.isRepeatable ? retry : once,
        { budget, deadline, signal },
      );
    const first = await send(request);
    return pages === null ? reader.read(first) : pages.collect(request, first, send);
  };

  /** Some services say 403 for a bad credential as well as for a good one that may not do this. */
  const settle = async (
    outcome: ToolOutcome,
    terms: CallTerms,
    signal: AbortSignal,
  ): Promise<ToolOutcome> => {
    if (outcome.kind !== 'denied' || isStillAccepted === null) return outcome;
    return (await isStillAccepted(terms, signal)) ? outcome : { ...outcome, kind: 'credentialRefused' };
  };

  return async (plan, given, terms, signal) => {
    const { instance, values } = terms;
    const { check, build } = plan.works();
    const { userId } = instance;
    const checked = check(given, tookTooLong.has(userId));
    if (checked.kind === 'tooLong') {
      if (!tookTooLong.has(userId)) tookTooLong.set(userId, true);
      throw new AppError('RATE_LIMIT_EXCEEDED', 'the arguments of a call took too long to check', {
        publicDetail:
          'These arguments take too long to check against the schema of the tool. Send fewer of them.',
        retryAfterSeconds: holdOffMs / 1_000,
      });
    }
    if (checked.kind === 'wrong') return { kind: 'invalidArguments', problems: checked.problems };

    const key = plan.cacheTtlMs > 0 ? toAnswerKey(instance, plan.name, checked.given) : null;
    const kept = key === null ? undefined : answers.find(key);
    if (kept !== undefined) return kept;

    let request: OutgoingRequest;
    try {
      request = build(checked.given, values);
    } catch (error) {
      if (error instanceof AppError && error.code === 'INVALID_PARAMS') {
        return { kind: 'invalidArguments', problems: error.options.fields ?? [] };
      }
      throw error;
    }
    let outcome = await settle(await exchange(plan, request, instance, signal), terms, signal);
    let used = values;
    if (outcome.kind === 'credentialRefused' && renewal !== null) {
      // A request that was refused for its credential was not carried out, so that it may be sent again, once.
      const fresh = await renewal.renew(instance, values);
      if (fresh !== null) {
        signal.throwIfAborted();
        used = fresh;
        const again = await exchange(plan, build(checked.given, fresh), instance, signal);
        outcome = await settle(again, { instance, values: fresh }, signal);
      }
    }
    if (outcome.kind === 'answered') {
      notes.noteReady(atRevision(instance, used));
      if (key !== null) answers.keep(key, outcome, plan.cacheTtlMs);
    } else if (outcome.kind === 'credentialRefused') {
      notes.noteRefused(atRevision(instance, used), outcome.status);
    }
    return outcome;
  };
}

/** The instance under the credential that was used: it may have been renewed since the instance was resolved. */
function atRevision(instance: ResolvedInstance, { revision }: CredentialValues): ResolvedInstance {
  return revision === undefined || revision === instance.credentialRevision
    ? instance
    : { ...instance, credentialRevision: revision };
}
