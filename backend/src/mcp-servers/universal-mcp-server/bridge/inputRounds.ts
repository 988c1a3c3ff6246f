/**
 * A request of a legacy client to a modern upstream, which asks by answering `input_required`: each question goes to the
 * client as a real request on its call's own stream, then the call is made again with the answers and with the upstream's
 * state as it came (MCP 2026-07-28, "Multi Round-Trip Requests"). All within the one call that the client made: its end
 * and its deadline end the rounds, and nothing is kept for later.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../../../errors/appError.js';
import { abortable } from '../protocol/abortable.js';
import type { JsonObject, JsonRpcNotification, JsonRpcRequest } from '../protocol/jsonRpc.js';
import type { ClientTerms, RequestListener, UpstreamConnection } from '../upstream/upstream.js';
import {
  mayRequireInput,
  missingCapabilityOf,
  parseInputRequired,
  toHaltedAnswer,
  toLegacyError,
  toLegacyNotification,
  toLegacyQuestion,
  toLegacyResult,
  toMissingCapabilityAnswer,
  toRetry,
  type Answer,
  type Question,
} from './translate/legacyToModern.js';

export interface RoundsContext {
  readonly upstream: Pick<UpstreamConnection, 'request'>;
  readonly client: ClientTerms;
  readonly newId: () => string;
}

/** More than anybody would answer for one call; an upstream that asks on is broken. */
const roundsMax = 10;
const questionsMax = 16;
/** Before an attempt that no answer slowed down: the upstream only asked to be called again. */
const pauseMs = 250;

/**
 * @param request under its envelope. @param listener hears and answers in the legacy era's words.
 * @throws what the upstream connection throws; the signal's reason.
 */
export async function runRounds(
  { upstream, client, newId }: RoundsContext,
  request: JsonRpcRequest,
  listener: RequestListener,
  signal: AbortSignal,
): Promise<Answer> {
  const { method } = request;
  const heard = new HeardListener(listener);
  let attempt = request;
  for (let round = 0; round <= roundsMax; round += 1) {
    heard.beginRound(round);
    const response = await upstream.request(attempt, heard, signal).catch((error: unknown) => {
      throw round === 0 ? error : toBegun(error);
    });
    if ('error' in response) return toLegacyError(request, response.error);
    const { result } = response;
    const { resultType = 'complete' } = result;
    if (resultType === 'complete') return { result: toLegacyResult(method, result) };
    const asked =
      resultType === 'input_required' && mayRequireInput(method) ? parseInputRequired(result) : null;
    if (asked === null || asked.questions.length > questionsMax) return misunderstood;
    const { questions, requestState } = asked;
    const missing = questions
      .map((question) => missingCapabilityOf(question, client.capabilities))
      .filter((name) => name !== null);
    if (missing.length > 0) return toMissingCapabilityAnswer(method, [...new Set(missing)]);
    if (questions.length === 0) await delay(pauseMs, undefined, { signal }).catch(() => undefined);
    signal.throwIfAborted();
    const answers = await askAll(questions, client.protocolVersion, listener, newId, signal);
    if (typeof answers === 'string') return toHaltedAnswer(method, -32603, answers);
    attempt = { ...toRetry(request, answers, requestState), id: newId() };
  }
  const message = `The server behind still wanted input after ${roundsMax} rounds of it.`;
  return toHaltedAnswer(method, -32603, message);
}

/** What was answered in part never counts as what never left: nobody may send all of it again. */
function toBegun(error: unknown): unknown {
  if (!(error instanceof AppError) || error.code !== 'UPSTREAM_UNREACHABLE') return error;
  return new AppError('UPSTREAM_FAILED', 'the upstream was lost between two rounds', { cause: error });
}

const misunderstood: Answer = {
  error: { code: -32603, message: 'The server behind answered in a form that is not understood.' },
};

/** The answers by the upstream's names for its questions, or why there are none. */
async function askAll(
  questions: readonly Question[],
  revision: string,
  listener: RequestListener,
  newId: () => string,
  signal: AbortSignal,
): Promise<JsonObject | string> {
  const refusals: string[] = [];
  const answers = await Promise.all(
    questions.map(async (question) => {
      const request = {
        jsonrpc: '2.0' as const,
        id: newId(),
        ...toLegacyQuestion(question, revision, newId),
      };
      try {
        const response = await abortable(listener.onServerRequest(request), signal);
        if (!('error' in response)) return [question.key, response.result] as const;
        refusals.push(`${question.method}: ${response.error.message}`);
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof AppError) throw error;
        refusals.push(`${question.method}: the client is gone`);
      }
      return null;
    }),
  );
  if (refusals.length > 0) {
    return `The server behind asked the client something and got no answer (${refusals.join('; ')}).`;
  }
  return Object.fromEntries(answers.filter((answer) => answer !== null));
}

/**
 * What belongs to the call, over all rounds. A new attempt may count its progress from the beginning, while the client was
 * promised that it grows, so what does not grow is left out.
 */
class HeardListener implements RequestListener {
  readonly #listener: RequestListener;
  #isRetry = false;
  #highest = -Infinity;

  constructor(listener: RequestListener) {
    this.#listener = listener;
  }

  beginRound(round: number): void {
    this.#isRetry = round > 0;
  }

  onNotification(notification: JsonRpcNotification): void {
    if (notification.method === 'notifications/progress') {
      const progress = Number(notification.params?.['progress']);
      if (this.#isRetry && progress <= this.#highest) return;
      this.#highest = Math.max(this.#highest, progress);
    }
    const shown = toLegacyNotification(notification);
    if (shown !== null) this.#listener.onNotification(shown);
  }

  /** A modern server sends no requests; one that does is told so. */
  onServerRequest({ id }: JsonRpcRequest) {
    const error = { code: -32601, message: 'this revision has no requests of servers' };
    return Promise.resolve({ jsonrpc: '2.0' as const, id, error });
  }
}
