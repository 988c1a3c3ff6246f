/**
 * The records of a call's audit and their form in a spool file: one JSON object a line, exactly as PostgreSQL is to get
 * it, but for the position, which follows from where the line lies.
 */
import type { CallAuditRecord } from '../stores/callAuditStore.js';

/** What is known before an upstream is contacted. Service, phase and time are added by the spool. */
export type CallIntent = Pick<CallAuditRecord, 'callId' | 'instanceId' | 'userId' | 'method'> &
  Partial<
    Pick<
      CallAuditRecord,
      | 'name'
      | 'era'
      | 'requestId'
      | 'clientAddress'
      | 'argumentsDigest'
      | 'argumentsBytes'
      | 'argumentsSealed'
    >
  >;

/** How a call with an intent came out; the spool adds who and what from the intent. */
export type CallOutcome = Pick<CallAuditRecord, 'callId'> &
  Required<Pick<CallAuditRecord, 'outcome'>> &
  Partial<
    Pick<
      CallAuditRecord,
      'httpStatus' | 'jsonRpcCode' | 'isError' | 'errorCode' | 'durationMs' | 'resultBytes'
    >
  >;

/** What stays in memory of a call under way, to say in its outcome whose it was. */
export interface OpenCall {
  readonly callId: string;
  /** Who and what, as JSON members without the braces: encoded once, they stand in every line about the call. */
  readonly members: string;
}

type Identified = Omit<
  CallIntent,
  'clientAddress' | 'argumentsDigest' | 'argumentsBytes' | 'argumentsSealed'
>;

export function toOpenCall(service: string, identified: Identified): OpenCall {
  const { callId, instanceId, userId, method, name, era, requestId } = identified;
  const members = {
    callId,
    instanceId,
    userId,
    service,
    method: toStorable(method),
    name: name === undefined ? undefined : toStorable(name),
    era,
    requestId: requestId === undefined ? undefined : toStorable(requestId),
  };
  return { callId, members: JSON.stringify(members).slice(1, -1) };
}

export function encodeIntent({ members }: OpenCall, intent: CallIntent, occurredAt: string): string {
  const { clientAddress, argumentsDigest, argumentsBytes, argumentsSealed } = intent;
  const more = encodeMore({ clientAddress, argumentsDigest, argumentsBytes, argumentsSealed });
  return `{"phase":"intent","occurredAt":"${occurredAt}",${members}${more}}\n`;
}

/** Also the whole record of a call that was refused: such a call has no intent, since nothing was to be contacted. */
export function encodeOutcome(
  { members }: OpenCall,
  how: Omit<CallOutcome, 'callId'>,
  occurredAt: string,
  clientAddress?: string,
): string {
  const { outcome, httpStatus, jsonRpcCode, isError, errorCode, resultBytes } = how;
  const durationMs = how.durationMs === undefined ? undefined : toReal(how.durationMs);
  const result = { outcome, httpStatus, jsonRpcCode, isError, errorCode, durationMs, resultBytes };
  const more = encodeMore({ clientAddress, ...result });
  return `{"phase":"outcome","occurredAt":"${occurredAt}",${members}${more}}\n`;
}

/**
 * The line of a record as the database has it, without its end: what its MAC is over. It is the line that was written,
 * as long as what is written comes back from the columns as it went in; a test holds that.
 */
export function encodeRecord(record: CallAuditRecord): string {
  const call = toOpenCall(record.service, record);
  const isIntent = record.phase === 'intent';
  // What such a record never holds was put there by somebody else, and nothing that was signed says it.
  if ((isIntent ? outcomeMembers : intentMembers).some((member) => record[member] !== undefined)) return '';
  const line = isIntent
    ? encodeIntent(call, record, record.occurredAt)
    : encodeOutcome(call, { ...record, outcome: record.outcome! }, record.occurredAt, record.clientAddress);
  return line.slice(0, -1);
}

const intentMembers = ['argumentsDigest', 'argumentsBytes', 'argumentsSealed'] as const;
const outcomeMembers = [
  'outcome',
  'httpStatus',
  'jsonRpcCode',
  'isError',
  'errorCode',
  'durationMs',
  'resultBytes',
] as const;

/**
 * A line that is never shipped: a call that was open when its file was begun. With them the last file of a process says
 * by itself what was still open.
 */
export function encodeCarried({ members }: OpenCall): string {
  return `{"carried":{${members}}}\n`;
}

/** The first characters of a line that is shipped; carried ones begin otherwise. */
export const shippedLineStart = '{"phase":';

const freeTextCharactersMax = 256;
const unstorable = /\0|\p{Surrogate}/gu;

/**
 * Text that a stranger chose, in a form that PostgreSQL's jsonb takes: no NUL, no lone surrogate, bounded. One name that
 * it refuses would hold up every record behind it.
 */
function toStorable(text: string): string {
  return text.slice(0, freeTextCharactersMax).replace(unstorable, '\ufffd');
}

/** PostgreSQL keeps durations as `real`, which holds every whole number up to 2^24 and some above. */
function toReal(value: number): number {
  return Number.isInteger(value) ? Math.fround(value) : value;
}

/** Further members behind others; what is undefined is left out. */
function encodeMore(members: object): string {
  const text = JSON.stringify(members);
  return text === '{}' ? '' : `,${text.slice(1, -1)}`;
}
