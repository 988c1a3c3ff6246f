/**
 * One turn at renewing the access token of an instance: the token endpoint is asked once, and what it grants is sealed and
 * committed in the place of the old record before anybody uses it. A turn that comes to nothing is given back with what is
 * to be made of it: later, or never again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceDefinition } from '../../catalog/serviceDefinition.js';
import type { CallSpool } from '../../spool/callSpool.js';
import type { RenewalFailure, RenewalKey, RenewalTurn } from '../../stores/oauthRenewalsStore.js';
import type { Logger } from '../../telemetry/logger.js';
import type { CredentialOpener } from '../credentialOpener.js';
import type { CredentialValues } from '../credentialValues.js';
import type { InstanceLookup, SealedInstance } from '../instanceResolver.js';
import type { ResolvedInstance } from '../resolvedInstance.js';
import { isOAuthMethod, toGrantEndpoint, type OAuthMethod } from './grantEndpoint.js';
import type { OAuthEgress } from './oauthEgress.js';
import { requestTokens, type TokenOutcome } from './tokenEndpoint.js';
import { toRenewedGrant, type TokenGrant } from './tokenGrant.js';

export interface RenewalTurns {
  begin(key: RenewalKey, leaseMs: number): Promise<RenewalTurn>;
  finish(key: RenewalKey, sealed: Buffer): Promise<boolean>;
  fail(key: RenewalKey, failure: RenewalFailure): Promise<void>;
}

export interface TurnParts {
  readonly definition: Pick<ServiceDefinition, 'name' | 'title' | 'credentials'>;
  readonly opener: Pick<CredentialOpener, 'open' | 'openGrant' | 'sealGrant'>;
  readonly lookup: Pick<InstanceLookup, 'byId'>;
  readonly turns: RenewalTurns;
  readonly egress: OAuthEgress;
  readonly spool: Pick<CallSpool, 'intent' | 'outcome'>;
  readonly log: Pick<Logger, 'warn' | 'error'>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly newId: () => string;
}

export type Renewed =
  | { readonly kind: 'renewed'; readonly values: CredentialValues }
  /** Somebody has to sign in again. */
  | { readonly kind: 'refused' }
  | { readonly kind: 'later'; readonly retryMs: number }
  /** The credential was taken away or replaced by one of another kind. */
  | { readonly kind: 'gone' };

/**
 * Asks the token endpoint and stores what it grants, or gives the turn back.
 * @throws AppError AUDIT_UNAVAILABLE, DATABASE_UNAVAILABLE, CREDENTIAL_UNREADABLE, SEALED
 */
export async function renewInTurn(
  parts: TurnParts,
  key: RenewalKey,
  { nextRevision, wasCutOff }: Extract<RenewalTurn, { kind: 'yours' }>,
): Promise<Renewed> {
  const { definition, opener, lookup, turns, log, now } = parts;
  const giveBack = async (failure: RenewalFailure): Promise<void> => {
    try {
      await turns.fail(key, failure);
    } catch (error) {
      // The turn passes by itself when its time is up.
      log.warn('the turn to renew a token could not be given back', { instance: key.id, error });
    }
  };
  try {
    const sealed = await lookup.byId(key.id, key.service, { staged: false });
    const method = findOAuthMethod(definition, sealed);
    if (sealed === null || method === null || sealed.credentialRevision !== key.revision) {
      await giveBack({ isRefused: false, retryMs: 0, cause: '' });
      return { kind: 'gone' };
    }
    const grant = opener.openGrant(sealed);
    const outcome = await ask(parts, sealed, method, grant);
    if (outcome.kind === 'granted') {
      const renewed = toRenewedGrant(grant, outcome.tokens, now());
      const record = opener.sealGrant(sealed, nextRevision, renewed);
      const isStored = await storePatiently(parts, () => turns.finish(key, record));
      if (!isStored) return await readNewer(parts, key);
      const fresh = { ...sealed, credentialRevision: nextRevision, sealedCredential: record };
      return { kind: 'renewed', values: opener.open(fresh) };
    }
    if (outcome.kind === 'unavailable' || (outcome.kind === 'clientRefused' && method.type === 'oauth2')) {
      const retryMs = outcome.kind === 'unavailable' ? outcome.retryAfterMs : clientPauseMs;
      log.warn('an access token could not be renewed now', {
        instance: key.id,
        errorCode: toCode(outcome),
      });
      await giveBack({ isRefused: false, retryMs, cause: '' });
      return { kind: 'later', retryMs };
    }
    log.warn('an access token is renewed no more', { instance: key.id, errorCode: toCode(outcome) });
    await giveBack({ isRefused: true, retryMs: 0, cause: wasCutOff ? causes.cutOff : causes.ended });
    return { kind: 'refused' };
  } catch (error) {
    await giveBack({ isRefused: false, retryMs: failurePauseMs, cause: '' });
    throw error;
  }
}

/** What somebody else has stored meanwhile. */
export async function readNewer(
  { lookup, opener }: TurnParts,
  { id, service, revision }: RenewalKey,
): Promise<Renewed> {
  const sealed = await lookup.byId(id, service, { staged: false });
  if (sealed === null || !sealed.isActive || sealed.credentialRevision <= revision) return { kind: 'gone' };
  return { kind: 'renewed', values: opener.open(sealed) };
}

export function findOAuthMethod(
  { credentials }: Pick<ServiceDefinition, 'credentials'>,
  instance: Pick<ResolvedInstance, 'credentialMethod'> | null,
): OAuthMethod | null {
  const method = credentials.methods.find(({ id }) => id === instance?.credentialMethod);
  return method !== undefined && isOAuthMethod(method) ? method : null;
}

/** The use of a refresh token is audited like a call. */
async function ask(
  { spool, egress, newId }: TurnParts,
  { id, userId }: SealedInstance,
  method: OAuthMethod,
  grant: TokenGrant,
): Promise<TokenOutcome> {
  if (grant.refreshToken === null) return { kind: 'refused', code: 'no_refresh_token' };
  const callId = newId();
  const startedAt = performance.now();
  await spool.intent({ callId, instanceId: id, userId, method: 'renewal' });
  const { resource, ...endpoint } = toGrantEndpoint(method, grant);
  const outcome = await requestTokens(egress, endpoint, {
    grant_type: 'refresh_token',
    refresh_token: grant.refreshToken,
    ...(resource === null ? {} : { resource }),
  });
  const durationMs = Math.round(performance.now() - startedAt);
  const isGood = outcome.kind === 'granted';
  spool.outcome({
    callId,
    outcome: isGood ? 'ok' : 'error',
    durationMs,
    ...(isGood ? {} : { errorCode: outcome.kind === 'unavailable' ? 'UNREACHABLE' : 'REJECTED' }),
  });
  return outcome;
}

async function storePatiently({ log }: TurnParts, store: () => Promise<boolean>): Promise<boolean> {
  const until = performance.now() + storeMsMax;
  for (;;) {
    try {
      return await store();
    } catch (error) {
      if (performance.now() > until) {
        log.error('a renewed token could not be stored and is lost', { error });
        throw error;
      }
      await sleep(storeAgainMs);
    }
  }
}

/** How long storing is tried: what was granted exists nowhere else. */
const storeMsMax = 60_000;
const storeAgainMs = 250;
const clientPauseMs = 60_000;
const failurePauseMs = 5_000;

const causes = {
  ended: 'The service no longer renews the access that was granted: sign in again.',
  cutOff:
    'This installation was cut off while it renewed the access, and the service does not do it a second time: sign in again.',
};

function toCode(outcome: Exclude<TokenOutcome, { kind: 'granted' }>): string {
  return outcome.kind === 'unavailable' ? outcome.reason : outcome.code;
}
