/** What may be said of one call, one sighting, one answer, by what the journal knows: the invariants c, d, e, f and h. */
import { surelyHeld, surelyOver, type Call, type Journal, type Tenant } from './journal.js';
import { tenantOf, type Sighting } from './recordingServices.js';

/** A revoked, rotated or paused instance serves nothing after this (07 A04). */
export const revocationMs = 2_000;
/** A change this near leaves a call's fate open: sessions are begun anew, streams end. */
const changeMs = 5_000;

/**
 * @param slackMs what the harness itself was late by, at the worst: two clocks are compared that are one, over a loop that
 * may have been busy.
 */
export function checkSighting(journal: Journal, sighting: Sighting, slackMs: number): void {
  const call = journal.calls.get(sighting.call);
  if (call === undefined) {
    journal.report('b', `an upstream saw a call that no client made: ${sighting.call}`, { at: sighting.at });
    return;
  }
  const { tenant } = call;
  if (sighting.service !== tenant.service)
    journal.report('c', `the upstream of ${sighting.service} saw a call of ${tenant.service}`, {
      at: sighting.at,
      call,
    });
  const credential = tenant.credentials.find(({ value }) => value === sighting.credential);
  if (credential === undefined) {
    const whose =
      sighting.credential === '' ? 'without a credential' : `with one of ${tenantOf(sighting.credential)}`;
    journal.report('c', `a call of ${tenant.tag} came ${whose}`, { at: sighting.at, call });
  } else if (credential.sentAt > sighting.at) {
    journal.report('c', 'a credential was seen before it was given', { at: sighting.at, call });
  } else if (surelyOver(credential, sighting.at, revocationMs + slackMs)) {
    const ms = sighting.at - (credential.endedAt ?? 0);
    journal.report('c', `a credential was used ${ms} ms after it was replaced`, { at: sighting.at, call });
  }
  checkAuthority(journal, call, sighting.at, revocationMs + slackMs, 'reached its upstream');
}

/** Nothing is served by a URL that is over, nor while the instance is paused. */
function checkAuthority(journal: Journal, call: Call, at: number, patienceMs: number, what: string): void {
  if (surelyOver(call.url, at, patienceMs)) {
    const ms = at - (call.url.endedAt ?? 0);
    journal.report('d', `a call ${what} ${ms} ms after its URL was over`, { at, call });
  }
  for (const pause of call.tenant.pauses) {
    if (pause.knownAt === null || pause.knownAt + patienceMs >= at) continue;
    if (pause.endSentAt === null || pause.endSentAt > at)
      journal.report('d', `a call ${what} ${at - pause.knownAt} ms after its instance was paused`, {
        at,
        call,
      });
  }
}

/** Called when a call has ended. */
export function checkAnswer(journal: Journal, call: Call, slackMs: number): void {
  const { answer, tenant, startedAt } = call;
  const endedAt = call.endedAt ?? Date.now();
  if (answer === null) return;
  journal.count(describe(call));
  if (answer.kind === 'no-end')
    return journal.report('f', `a call of ${call.client} had no end after ${endedAt - startedAt} ms`, {
      call,
    });
  if (answer.kind === 'vanished') return;
  if (answer.kind === 'answered') {
    const said = parse(answer.text);
    if (said.call !== call.id)
      journal.report('c', `answered with another call's answer: ${answer.text.slice(0, 80)}`, { call });
    if (tenantOf(String(said.credential)) !== tenant.tag)
      journal.report('c', `answered with what is of ${tenantOf(String(said.credential))}`, { call });
    // What was under way when the URL ended may still be answered; what began after it may not.
    return checkAuthority(journal, call, startedAt, revocationMs + slackMs, 'was begun and answered');
  }
  const form = refusalOf(answer);
  if (!allowedRefusals.has(form))
    return journal.report('f', `answered with ${form}: ${textOf(answer)}`, { call });
  const faults = journal.faultsDuring(startedAt - slackMs, endedAt, tenant.service);
  if (faults.length > 0 || !call.isExpected || isUnsettled(call, startedAt, endedAt)) return;
  journal.report('h', `a call of ${call.client} failed with nothing in its way: ${form} ${textOf(answer)}`, {
    at: endedAt,
    call,
  });
}

/** A conversation that was not begun: how it was refused has to be one of the ways that there are. */
export function checkOpening(journal: Journal, tenant: Tenant, answer: NonNullable<Call['answer']>): void {
  if (answer.kind === 'vanished') return;
  const isRefusal = answer.kind !== 'answered' && answer.kind !== 'no-end';
  const form = isRefusal ? refusalOf(answer) : answer.kind;
  journal.count(`${tenant.service}: not opened, ${form}`);
  if (isRefusal && !allowedRefusals.has(form))
    journal.report('f', `a conversation was refused with ${form}: ${textOf(answer)}`, { tenant });
}

/** The owner is changing the instance, just did, or does not know what came of it. */
export function isUnsettled(
  { tenant, url }: Pick<Call, 'tenant' | 'url'>,
  from: number,
  to: number,
): boolean {
  return (
    tenant.doubts > 0 ||
    tenant.lastChangedAt + changeMs > from ||
    !surelyHeld(url, from, to) ||
    tenant.pauses.some(({ sentAt, endedAt }) => sentAt <= to && (endedAt === null || endedAt >= from))
  );
}

/** Whether the tenant's last URL surely works now. */
export const isSettled = (tenant: Tenant): boolean => {
  const url = tenant.urls.at(-1);
  const now = Date.now();
  return url !== undefined && !isUnsettled({ tenant, url }, now, now);
};

const allowedRefusals: ReadonlySet<string> = new Set([
  'HTTP 404',
  'HTTP 429',
  'HTTP 502',
  'HTTP 503',
  'HTTP 504',
  'network',
  'tool error',
  // "Internal error" by the specification: title and reason tell which of our codes it is.
  'JSON-RPC -32603',
  // The session ended, and is to be begun anew.
  'JSON-RPC -32001',
  'JSON-RPC -32000',
]);

type Refusal = Exclude<NonNullable<Call['answer']>, { kind: 'answered' | 'vanished' | 'no-end' }>;

function refusalOf(answer: Refusal): string {
  switch (answer.kind) {
    case 'status':
      return `HTTP ${answer.status}`;
    case 'rpc-error':
      return `JSON-RPC ${answer.code}`;
    case 'tool-error':
      return 'tool error';
    case 'network':
      return 'network';
  }
}

const textOf = ({ text }: Refusal): string => text.replaceAll(/\s+/g, ' ').slice(0, 160);

function describe({ answer, tenant }: Call): string {
  const { service } = tenant;
  if (answer === null || answer.kind === 'answered') return `${service}: answered`;
  if (answer.kind === 'vanished' || answer.kind === 'no-end') return `${service}: ${answer.kind}`;
  return `${service}: ${refusalOf(answer)} ${textOf(answer).slice(0, 60)}`.trim();
}

function parse(text: string): { call?: string; credential?: string } {
  try {
    const said: unknown = JSON.parse(text);
    return typeof said === 'object' && said !== null ? said : {};
  } catch {
    return {};
  }
}
