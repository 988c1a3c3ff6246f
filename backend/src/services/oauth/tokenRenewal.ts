/**
 * Keeps access tokens good (row I10, R20): renews ahead of their end and after a 401, once however many calls and
 * processes ask. The process whose turn it is asks the token endpoint and seals what it gets; all others read that. A
 * refresh token that rotates is stored before anything is called with its access token. What is lost when a process dies
 * between the endpoint's answer and the commit is that answer: the old refresh token is tried once more when the turn has
 * run out, and if the service no longer takes it, the owner is told to sign in again, and why.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import { AppError } from '../../errors/appError.js';
import type { RenewalKey } from '../../stores/oauthRenewalsStore.js';
import type { CredentialValues } from '../credentialValues.js';
import type { ChangeSource, SealedInstance } from '../instanceResolver.js';
import type { ResolvedInstance } from '../resolvedInstance.js';
import { toRenewal, type SetupInstructions } from '../setupInstructions.js';
import { findOAuthMethod, readNewer, renewInTurn, type Renewed, type TurnParts } from './renewInTurn.js';

export interface TokenRenewal extends AsyncDisposable {
  /**
   * The values of a call: at once unless the access token is about to end.
   * @throws AppError as `CredentialOpener.open`; EXPIRED_CREDENTIALS when the service renews it no more,
   * UPSTREAM_UNREACHABLE when it has ended and cannot be renewed now.
   */
  openValues(this: void, instance: SealedInstance): CredentialValues | Promise<CredentialValues>;
  /**
   * After a 401: values that are newer than the used ones, or null when there are none to be had. `used` are those that
   * the service refused; without them those of the instance's own revision are meant. Never throws.
   */
  renew(this: void, instance: ResolvedInstance, used?: CredentialValues): Promise<CredentialValues | null>;
}

export interface TokenRenewalOptions extends TurnParts {
  readonly setup: SetupInstructions;
  readonly changes: ChangeSource;
}

/** Three times what the token endpoint may take: a holder that is alive has given its turn back long before. */
export const leaseMs = 30_000;
const waitMsMax = leaseMs + 5_000;
const askAgainMs = 250;
/** How long a result other than a renewal is taken as it was. */
const refusedMs = 30_000;
/** How long after a 401 has led to a renewal another 401 leads to none: the fault lies elsewhere then. */
const forcedMs = 30_000;

export function createTokenRenewal(options: TokenRenewalOptions): TokenRenewal {
  const { definition, opener, turns, egress, changes, log, now, newId } = options;
  const { name: service } = definition;
  const underWay = new Map<string, Promise<Renewed>>();
  const verdicts = new LRUCache<string, Renewed>({ max: 5_000 });
  /** Instance → the revision that was renewed because of a 401. */
  const forced = new LRUCache<string, number>({ max: 5_000, ttl: forcedMs });

  /** One attempt for everybody in this process. */
  const renewOnce = (instance: ResolvedInstance, revision: number): Promise<Renewed> => {
    const key = `${instance.id}/${revision}`;
    const verdict = verdicts.get(key);
    if (verdict !== undefined) return Promise.resolve(verdict);
    const known = underWay.get(key);
    if (known !== undefined) return known;
    const attempt = takeTurn(instance, revision)
      .then((outcome) => {
        const keptMs = outcome.kind === 'later' ? Math.max(1, outcome.retryMs) : refusedMs;
        if (outcome.kind === 'later' || outcome.kind === 'refused')
          verdicts.set(key, outcome, { ttl: keptMs });
        return outcome;
      })
      .finally(() => underWay.delete(key));
    underWay.set(key, attempt);
    return attempt;
  };

  const takeTurn = async (instance: ResolvedInstance, revision: number): Promise<Renewed> => {
    const until = performance.now() + waitMsMax;
    for (;;) {
      const key: RenewalKey = { id: instance.id, service, revision, holder: newId() };
      const turn = await turns.begin(key, leaseMs);
      switch (turn.kind) {
        case 'yours':
          return await renewInTurn(options, key, turn);
        case 'newer':
          return await readNewer(options, key);
        case 'refused':
        case 'gone':
          return { kind: turn.kind };
        case 'paused':
          return { kind: 'later', retryMs: turn.waitMs };
        case 'busy':
          if (performance.now() > until) return { kind: 'later', retryMs: askAgainMs };
          await changeOf(changes, instance.id, Math.min(turn.waitMs + 1, askAgainMs));
      }
    }
  };

  const openRenewed = async (
    instance: SealedInstance,
    values: CredentialValues,
    expiresAt: number,
  ): Promise<CredentialValues> => {
    const outcome = await renewOnce(instance, instance.credentialRevision).catch(
      (error: unknown): Renewed => {
        if (!(error instanceof AppError) || now() >= expiresAt) throw error;
        return { kind: 'later', retryMs: askAgainMs };
      },
    );
    switch (outcome.kind) {
      case 'renewed':
        return outcome.values;
      case 'refused':
        throw toExpired(options);
      case 'gone':
      case 'later':
        if (now() < expiresAt) return values;
        if (outcome.kind === 'gone') throw toExpired(options);
        throw new AppError('UPSTREAM_UNREACHABLE', 'an access token has ended and cannot be renewed now', {
          publicDetail: `${definition.title} does not renew its access at the moment. Nothing was called; try again in a minute.`,
          retryAfterSeconds: Math.max(1, Math.ceil(outcome.retryMs / 1_000)),
        });
    }
  };

  return {
    openValues(instance) {
      const values = opener.open(instance);
      const { renewal } = values;
      if (renewal === undefined || now() < renewal.dueAt) return values;
      return openRenewed(instance, values, renewal.expiresAt);
    },
    async renew(instance, used) {
      if (findOAuthMethod(definition, instance) === null) return null;
      const revision = used?.revision ?? instance.credentialRevision;
      if (revision > (forced.get(instance.id) ?? Number.POSITIVE_INFINITY)) return null;
      forced.set(instance.id, revision);
      try {
        const outcome = await renewOnce(instance, revision);
        return outcome.kind === 'renewed' ? outcome.values : null;
      } catch (error) {
        log.warn('a refused access token could not be renewed', { instance: instance.id, error });
        return null;
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.allSettled(underWay.values());
      await egress[Symbol.asyncDispose]();
    },
  };
}

function toExpired({ definition, setup }: Pick<TokenRenewalOptions, 'definition' | 'setup'>): AppError {
  return new AppError('EXPIRED_CREDENTIALS', `${definition.name} renews the access token no more`, {
    publicDetail: `${definition.title} no longer accepts the stored sign-in. ${toRenewal(definition, setup)}.`,
    extensions: { reconnectUrl: setup.consoleUrl },
  });
}

/** Resolves when the instance changed, or after that time. */
async function changeOf(changes: ChangeSource, instanceId: string, afterMs: number): Promise<void> {
  const heard = new AbortController();
  const stop = changes.onChange((change) => {
    if (change.kind !== 'instance' || change.instanceId === instanceId) heard.abort();
  });
  try {
    await sleep(afterMs, undefined, { signal: heard.signal }).catch(() => undefined);
  } finally {
    stop();
  }
}
