/** What a server asked during one call and has no answer to yet: kept until the client answers, or the call ends. */
import { AppError } from '../../../errors/appError.js';
import {
  isJsonObject,
  type JsonObject,
  type JsonRpcRequest,
  type JsonRpcResponse,
} from '../protocol/jsonRpc.js';
import { findMissingCapability, isAnswerTo, toInputRequest } from './translate/inputRequests.js';

interface Question {
  readonly request: JsonRpcRequest;
  readonly bytes: number;
  readonly resolve: (response: JsonRpcResponse) => void;
  readonly reject: (error: Error) => void;
}

const questionsMax = 32;
const questionBytesMax = 4 * 1024 * 1024;

export class OpenQuestions {
  readonly #questions = new Map<string, Question>();
  #asked = 0;
  #bytes = 0;

  get size(): number {
    return this.#questions.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Resolves with the client's answer, or with an error when there is no room for another question. */
  add(request: JsonRpcRequest): Promise<JsonRpcResponse> {
    const bytes = JSON.stringify(request).length;
    if (this.#questions.size >= questionsMax || this.#bytes + bytes > questionBytesMax)
      return Promise.resolve(toRefusal(request, -32603, 'too much is asked of the client at once'));
    return new Promise((resolve, reject) => {
      this.#asked += 1;
      this.#questions.set(`input-${this.#asked}`, { request, bytes, resolve, reject });
      this.#bytes += bytes;
    });
  }

  toInputRequests(): JsonObject {
    return Object.fromEntries(
      Array.from(this.#questions, ([key, { request }]) => [key, toInputRequest(request)]),
    );
  }

  /**
   * Hands the client's answers on; what was not answered, or not with an answer, stays open.
   * @throws AppError INVALID_PARAMS when they are no answers at all
   */
  takeAnswers(responses: unknown): void {
    if (responses !== undefined && !isJsonObject(responses)) {
      throw new AppError('INVALID_PARAMS', 'inputResponses is no object', {
        publicDetail: '"inputResponses" must be an object of answers by the keys of "inputRequests".',
      });
    }
    for (const [key, { request, resolve }] of Array.from(this.#questions)) {
      const answer = responses?.[key];
      if (!isAnswerTo(request.method, answer)) continue;
      this.#remove(key);
      resolve({ jsonrpc: '2.0', id: request.id, result: answer });
    }
  }

  /** Refuses what a client of these capabilities cannot be asked. @returns the first capability that it lacks */
  refuseUndeclared(declared: JsonObject): JsonObject | null {
    let lacked: JsonObject | null = null;
    for (const [key, { request, resolve }] of Array.from(this.#questions)) {
      const missing = findMissingCapability(request, declared);
      if (missing === null) continue;
      lacked ??= missing;
      this.#remove(key);
      resolve(toRefusal(request, -32601, 'the client did not declare this capability'));
    }
    return lacked;
  }

  /** Nobody will answer any more. */
  close(): void {
    for (const { reject } of this.#questions.values()) reject(new Error('the call is over'));
    this.#questions.clear();
    this.#bytes = 0;
  }

  #remove(key: string): void {
    this.#bytes -= this.#questions.get(key)?.bytes ?? 0;
    this.#questions.delete(key);
  }
}

export function toRefusal({ id }: JsonRpcRequest, code: number, message: string): JsonRpcResponse {
  return { jsonrpc: '2.0', id, error: { code, message } };
}
