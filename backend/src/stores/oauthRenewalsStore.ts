/**
 * Whose turn it is to renew the access token of an instance, told to exactly one of all processes that ask (row I10). For
 * service processes: each is a SECURITY DEFINER function.
 */
import type { Queryable } from '../database/queryable.js';

export interface RenewalKey {
  /** The instance's uuid. */
  readonly id: string;
  readonly service: string;
  /** Of the credential that is to be renewed. */
  readonly revision: number;
  /** Names the turn; a new one for each. */
  readonly holder: string;
}

export type RenewalTurn =
  | {
      readonly kind: 'yours';
      /** The new record is sealed for this one. */
      readonly nextRevision: number;
      /** Somebody had the turn and never came back: the refresh token may be used up. */
      readonly wasCutOff: boolean;
    }
  /** It was renewed or replaced already: read it. */
  | { readonly kind: 'newer' }
  | { readonly kind: 'busy' | 'paused'; readonly waitMs: number }
  /** The authorization server refused this one for good. */
  | { readonly kind: 'refused' }
  /** There is no such credential in use. */
  | { readonly kind: 'gone' };

interface TurnRow {
  outcome: 'yours' | 'newer' | 'busy' | 'paused' | 'refused' | 'gone';
  next_revision: number | null;
  wait_ms: number | null;
  was_cut_off: boolean;
}

/** @param leaseMs after which the turn passes to another, whatever became of its holder. */
export async function beginRenewal(db: Queryable, key: RenewalKey, leaseMs: number): Promise<RenewalTurn> {
  const { rows } = await db.query<TurnRow>('select * from begin_oauth_renewal($1, $2, $3, $4, $5)', [
    key.id,
    key.service,
    key.revision,
    key.holder,
    leaseMs,
  ]);
  const row = rows[0];
  switch (row?.outcome) {
    case 'yours':
      return { kind: 'yours', nextRevision: row.next_revision ?? 0, wasCutOff: row.was_cut_off };
    case 'busy':
    case 'paused':
      return { kind: row.outcome, waitMs: row.wait_ms ?? 0 };
    case 'newer':
    case 'refused':
      return { kind: row.outcome };
    case 'gone':
    case undefined:
      return { kind: 'gone' };
  }
}

/**
 * Stores the renewed record, bound to the turn's `nextRevision`, in the place of the old one. False when the turn passed
 * to another, or the credential was replaced or deleted meanwhile.
 */
export async function finishRenewal(db: Queryable, key: RenewalKey, sealed: Buffer): Promise<boolean> {
  const { rows } = await db.query<{ isStored: boolean }>(
    'select finish_oauth_renewal($1, $2, $3, $4, $5) as "isStored"',
    [key.id, key.service, key.revision, key.holder, sealed],
  );
  return rows[0]?.isStored ?? false;
}

export interface RenewalFailure {
  /** For good: the instance's state says so with `cause`, and nobody asks again for this credential. */
  readonly isRefused: boolean;
  /** Until the next one may ask. */
  readonly retryMs: number;
  /** For the owner, in our own words. */
  readonly cause: string;
}

export async function failRenewal(db: Queryable, key: RenewalKey, failure: RenewalFailure): Promise<void> {
  await db.query('select fail_oauth_renewal($1, $2, $3, $4, $5, $6, $7)', [
    key.id,
    key.service,
    key.revision,
    key.holder,
    failure.isRefused,
    failure.retryMs,
    failure.cause,
  ]);
}
