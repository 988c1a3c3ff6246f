/**
 * Keeps what is open under a grant true to it: an answer that came with an access key or an access token is cut once the
 * key is revoked, its session has ended or its time is up (A04, B04). Changes are heard of at once; all the same each grant
 * is asked about every 2 s while something is open under it, since one may be revoked in the moment in which it is used.
 * What nobody can tell of for 5 s is cut as well (R26).
 */
import { UnderWay } from '../lifecycle/underWay.js';
import type { Grant, InstanceAccess } from './instanceAccess.js';
import type { ChangeSource } from './instanceResolver.js';
import { createRecheckRounds } from './recheckRounds.js';

/** Something open under a grant. */
export interface HeldByGrant {
  readonly grant: Grant;
  /** Called once, when it may not stay open. */
  cut(): void;
}

export interface GrantWatch extends Disposable {
  /** Whoever closes what is open by itself calls the returned function. */
  hold(held: HeldByGrant): () => void;
  readonly size: number;
}

export interface GrantWatchOptions {
  readonly access: Pick<InstanceAccess, 'isLive'>;
  readonly changes: ChangeSource;
  readonly roundMs?: number;
  /** How old the last certain answer may be before it is asked for again, and before what is open is cut. */
  readonly certainMsMax?: number;
  readonly uncertainMsMax?: number;
  /** How late an end may be noticed, in ms. */
  readonly sweepMs?: number;
}

interface Held extends HeldByGrant {
  certainAt: number;
}

const heldPlace = Symbol('held by a grant');

export function createGrantWatch(options: GrantWatchOptions): GrantWatch {
  const { access, changes, roundMs = 1_000, certainMsMax = 1_500 } = options;
  const { uncertainMsMax = 5_000, sweepMs = 500 } = options;
  const all = new UnderWay<Held>(heldPlace);

  const cut = (held: Held): void => {
    if (all.delete(held)) held.cut();
  };

  /** One question for all that is open under a grant. */
  const check = async (grant: Grant): Promise<boolean> => {
    const askedAt = performance.now();
    const isLive = await access.isLive(grant).catch(() => null);
    const isSame = (held: Held): boolean =>
      held.grant.via === grant.via && held.grant.instanceId === grant.instanceId;
    for (const held of [...all].filter(isSame)) {
      if (isLive === true) held.certainAt = askedAt;
      else if (isLive === false || performance.now() - held.certainAt > uncertainMsMax) cut(held);
    }
    return isLive !== null;
  };

  const grantsOf = (some: Iterable<Held>): Grant[] => {
    const byName = new Map([...some].map(({ grant }) => [`${grant.via} ${grant.instanceId}`, grant]));
    return [...byName.values()];
  };

  const rounds = createRecheckRounds<Grant>({
    changes,
    items: () => grantsOf(all),
    isConcerned: ({ instanceId, userId }, change) =>
      (change.kind === 'instance' && change.instanceId === instanceId) ||
      (change.kind === 'user' && change.userId === userId),
    check,
    roundMs,
  });

  const sweep = setInterval(() => {
    const now = performance.now();
    const aged: Held[] = [];
    for (const held of all) {
      if (held.grant.endsAtMs <= now) cut(held);
      else if (now - held.certainAt > certainMsMax) aged.push(held);
    }
    if (aged.length > 0) rounds.recheck(grantsOf(aged));
  }, sweepMs).unref();

  return {
    hold(held) {
      const one: Held = { grant: held.grant, cut: () => held.cut(), certainAt: performance.now() };
      all.add(one);
      rounds.begin();
      return () => void all.delete(one);
    },
    get size() {
      return all.size;
    },
    [Symbol.dispose]() {
      clearInterval(sweep);
      rounds[Symbol.dispose]();
    },
  };
}
