/**
 * What a call's account has to know of an answer, told from its bytes: whether it is the response, a failure, a tool's
 * failure. Small ones are parsed, so that what is no response is found out; of large ones a few members are looked at.
 */
import type { CallOutcome } from '../../../../spool/callRecord.js';
import { isJsonObject, shapeOf, type JsonRpcResponse } from '../../protocol/jsonRpc.js';
import { findFirstOf, findMember } from '../../protocol/jsonScan.js';

export class AnswerFacts {
  readonly outcome: 'ok' | 'tool_error' | 'error' | 'refused';
  /** The JSON-RPC code of a failure. */
  readonly code: number | null;
  /** Why it was refused, where that has a name. */
  readonly errorCode: string | null;

  constructor(outcome: AnswerFacts['outcome'], code: number | null = null, errorCode: string | null = null) {
    this.outcome = outcome;
    this.code = code;
    this.errorCode = errorCode;
  }
}

const parsedBytesMax = 1_024;
const deciding = ['result', 'error', 'method'];
const toolErrorKey = Buffer.from('"isError"');
export const succeeded = new AnswerFacts('ok');
const toolFailed = new AnswerFacts('tool_error');

/** Null when the message is no response. */
export function readAnswerFacts(message: Buffer): AnswerFacts | null {
  if (message.length <= parsedBytesMax) return factsOf(parse(message));
  const first = findFirstOf(message, deciding);
  if (first === null || first.name === 'method') return null;
  if (first.name === 'error') return factsOf(parse(message));
  if (message.indexOf(toolErrorKey, first.start) < 0) return succeeded;
  const flag = findMember(message, 'isError', first.start);
  return flag !== null && message[flag.start] === t ? toolFailed : succeeded;
}

/** Whether it can be a message at all; of a large one only how it begins is looked at. */
export function isMessage(data: Buffer): boolean {
  if (data.length > parsedBytesMax) return data[0] === brace || data[0] === bracket;
  const value = parse(data);
  return typeof value === 'object' && value !== null;
}

/** The id of a message that is no response, where it asks for one; undefined for a notification. */
export function readQuestionId(message: Buffer): unknown {
  if (findFirstOf(message, ['id']) === null) return undefined;
  const value = parse(message);
  return isJsonObject(value) && shapeOf(value) === 'request' ? value['id'] : undefined;
}

/** The same of a message in pieces, which are put together only where a member may be hidden at a seam. */
export function readFactsInPieces(pieces: readonly Buffer[]): AnswerFacts | null {
  const [first, ...others] = pieces;
  if (first === undefined) return null;
  if (others.length === 0) return readAnswerFacts(first);
  const isPlain =
    first.length > parsedBytesMax &&
    findFirstOf(first, deciding)?.name === 'result' &&
    pieces.every((piece, at) => hasNoFlag(piece, pieces[at + 1]));
  return isPlain ? succeeded : readAnswerFacts(Buffer.concat(pieces));
}

function hasNoFlag(piece: Buffer, next: Buffer | undefined): boolean {
  if (piece.indexOf(toolErrorKey) >= 0) return false;
  if (next === undefined) return true;
  const margin = toolErrorKey.length;
  const seam = Buffer.concat([piece.subarray(-margin), next.subarray(0, margin)]);
  return seam.indexOf(toolErrorKey) < 0;
}

/** The first letter of `true`. */
const t = 0x74;
const brace = 0x7b;
const bracket = 0x5b;

function factsOf(message: unknown): AnswerFacts | null {
  if (shapeOf(message) !== 'response') return null;
  const response = message as JsonRpcResponse;
  if ('error' in response) return new AnswerFacts('error', response.error.code);
  return response.result['isError'] === true ? toolFailed : succeeded;
}

/** Undefined for what is no JSON. */
export function parse(message: Buffer): unknown {
  try {
    return JSON.parse(message.toString('utf8'));
  } catch {
    return undefined;
  }
}

export function parseResponse(message: Buffer): JsonRpcResponse | null {
  const value = parse(message);
  return isJsonObject(value) && shapeOf(value) === 'response' ? (value as unknown as JsonRpcResponse) : null;
}

export function toPassedOutcome(callId: string, { outcome, code, errorCode }: AnswerFacts): CallOutcome {
  if (code !== null) return { callId, outcome, jsonRpcCode: code };
  if (errorCode !== null) return { callId, outcome, errorCode };
  return outcome === 'refused' ? { callId, outcome } : { callId, outcome, isError: outcome === 'tool_error' };
}

export function toErrorType({ outcome, code }: AnswerFacts): string {
  if (code !== null) return String(code);
  return outcome === 'ok' ? '' : outcome;
}
