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
      'name' | 'era' | 'requestId' | 'clientAddress' | 'argumentsDigest' | 'argumentsBytes'
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
export type OpenCall = Pick<CallAuditRecord, 'callId' | 'instanceId' | 'userId' | 'service' | 'method'> &
  Partial<Pick<CallAuditRecord, 'name' | 'era' | 'requestId'>>;

export function toOpenCall(service: string, intent: CallIntent): OpenCall {
  const { callId, instanceId, userId, method, name, era, requestId } = intent;
  return {
    callId,
    instanceId,
    userId,
    service,
    method: toStorable(method),
    ...(name === undefined ? {} : { name: toStorable(name) }),
    ...(era === undefined ? {} : { era }),
    ...(requestId === undefined ? {} : { requestId: toStorable(requestId) }),
  };
}

export function encodeIntent(call: OpenCall, intent: CallIntent, occurredAt: string): string {
  const { clientAddress, argumentsDigest, argumentsBytes } = intent;
  return encodeLine({ phase: 'intent', occurredAt, ...call, clientAddress, argumentsDigest, argumentsBytes });
}

/** Also the whole record of a call that was refused: such a call has no intent, since nothing was to be contacted. */
export function encodeOutcome(
  call: OpenCall,
  outcome: CallOutcome,
  occurredAt: string,
  intent?: CallIntent,
): string {
  const seen = intent === undefined ? {} : { clientAddress: intent.clientAddress };
  return encodeLine({ phase: 'outcome', occurredAt, ...call, ...seen, ...outcome });
}

/**
 * A line that is never shipped: a call that was open when its file was begun. With them the last file of a process says
 * by itself what was still open.
 */
export function encodeCarried(call: OpenCall): string {
  return encodeLine({ carried: call });
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

function encodeLine(record: object): string {
  return `${JSON.stringify(record)}\n`;
}
