/**
 * From an instance id to the instance, on each call: parse, checksum, keyed lookup, active or not. What is kept between
 * calls is sealed rows, for 5 s at most, and only while the LISTEN connection that would void them is up (05,
 * "Resolving on each call"; 12.17).
 */
import { LRUCache } from 'lru-cache';
import { toAppError, type AppError } from '../errors/appError.js';
import type { WrappedDataKey } from '../stores/instanceLookupStore.js';
import { lookupDigest, parseInstanceId } from '../vault/instanceId.js';
import type { ResolvedInstance } from './resolvedInstance.js';
import type { VaultGate } from './vaultKeys.js';

/** What the database knows of an instance; whatever is secret in it is sealed. */
export interface SealedInstance extends ResolvedInstance {
  /** False when the instance is paused or its owner disabled. */
  readonly isActive: boolean;
  /** The instance's own end, or that of a rotated URL by which it was found. */
  readonly expiresAt: Date | null;
  readonly sealedCredential: Buffer | null;
  readonly sealedOverrides: Buffer | null;
  /** Every wrapped DEK of the owner; a sealed record names the one that it needs. */
  readonly dataKeys: readonly WrappedDataKey[];
  /** Set when `sealedCredential` is one that an admin shares: the row that it is sealed for, and the system's DEKs. */
  readonly sharedRow?: { readonly id: string; readonly dataKeys: readonly WrappedDataKey[] };
}

export interface InstanceLookup {
  byDigest(digest: Buffer, service: string): Promise<SealedInstance | null>;
  /** `staged`: with the credential that is being probed in place of the one in use. */
  byId(id: string, service: string, options: { readonly staged: boolean }): Promise<SealedInstance | null>;
}

/** Tells what changed elsewhere; `database/listen.ts` over PostgreSQL's NOTIFY. */
export interface ChangeSource {
  readonly isUp: boolean;
  onChange(listener: (change: InstanceChange) => void): () => void;
}

export type InstanceChange =
  | { readonly kind: 'instance'; readonly instanceId: string }
  | { readonly kind: 'user'; readonly userId: string }
  /** An admin's settings of a service, or of all of them (null). */
  | { readonly kind: 'service'; readonly service: string | null }
  /** The connection was lost or is back: anything may have changed meanwhile. */
  | { readonly kind: 'unknown' };

export type Resolution =
  | { readonly kind: 'found'; readonly instance: SealedInstance }
  /** Never existed, revoked, paused, expired, of another service, or its owner is disabled: nobody may tell which. */
  | { readonly kind: 'unknown' }
  /** It cannot be told now: the database is away or the vault is sealed. */
  | { readonly kind: 'unavailable'; readonly error: AppError };

export interface InstanceResolver extends Disposable {
  /** Never throws. The text is what stood in the path, byte for byte. */
  resolve(instanceIdText: string, service: string): Promise<Resolution>;
  resolveById(id: string, service: string, options?: { readonly staged: boolean }): Promise<Resolution>;
}

export interface InstanceResolverOptions {
  readonly vault: VaultGate;
  readonly lookup: InstanceLookup;
  readonly changes: ChangeSource;
  readonly entriesMax?: number;
}

const rowAgeMsMax = 5_000;

export function createInstanceResolver(options: InstanceResolverOptions): InstanceResolver {
  const { vault, lookup, changes, entriesMax = 20_000 } = options;
  const keysOfInstance = new Map<string, Set<string>>();
  const rows = new LRUCache<string, SealedInstance>({
    max: entriesMax,
    ttl: rowAgeMsMax,
    dispose: (row, key) => {
      const keys = keysOfInstance.get(row.id);
      keys?.delete(key);
      if (keys?.size === 0) keysOfInstance.delete(row.id);
    },
  });
  /**
   * The same rows by what stood in the path, for as long: an HMAC costs a tenth of a call. It is emptied with every change,
   * so that a revoked id takes as long as an unknown one (A01).
   */
  const named = new LRUCache<string, SealedInstance>({ max: entriesMax, ttl: rowAgeMsMax });
  const pending = new Map<string, Promise<SealedInstance | null>>();
  /** Grows with each change heard of, so that an answer asked for before it is not kept after it. */
  let generation = 0;

  const stop = changes.onChange((change) => {
    generation += 1;
    pending.clear();
    named.clear();
    switch (change.kind) {
      case 'instance':
        for (const key of Array.from(keysOfInstance.get(change.instanceId) ?? [])) rows.delete(key);
        return;
      case 'user':
        for (const [key, row] of Array.from(rows.entries()))
          if (row.userId === change.userId) rows.delete(key);
        return;
      case 'service':
        for (const [key, row] of Array.from(rows.entries()))
          if (change.service === null || row.service === change.service) rows.delete(key);
        return;
      case 'unknown':
        rows.clear();
    }
  });

  const fetchRow = (key: string, digest: Buffer, service: string): Promise<SealedInstance | null> => {
    const known = pending.get(key);
    if (known !== undefined) return known;
    const asked = generation;
    const answer = lookup.byDigest(digest, service).then((row) => {
      if (row?.isActive === true && changes.isUp && asked === generation) {
        rows.set(key, row);
        keysOfInstance.set(row.id, (keysOfInstance.get(row.id) ?? new Set()).add(key));
      }
      return row;
    });
    pending.set(key, answer);
    const settle = (): void => void (pending.get(key) === answer && pending.delete(key));
    answer.then(settle, settle);
    return answer;
  };

  return {
    async resolve(instanceIdText, service) {
      const name = `${service}/${instanceIdText}`;
      const known = changes.isUp ? named.get(name) : undefined;
      try {
        if (known !== undefined) {
          vault.keys();
          return toResolution(known, service);
        }
        if (parseInstanceId(instanceIdText) === null) return { kind: 'unknown' };
        const digest = lookupDigest(vault.keys().system.lookup, instanceIdText);
        const key = `${service}/${digest.toString('latin1')}`;
        const kept = changes.isUp ? rows.get(key) : undefined;
        // No longer than the row itself; 0 would be for ever.
        if (kept !== undefined) named.set(name, kept, { ttl: Math.max(1, rows.getRemainingTTL(key)) });
        return toResolution(kept ?? (await fetchRow(key, digest, service)), service);
      } catch (error) {
        return { kind: 'unavailable', error: toAppError(error) };
      }
    },
    async resolveById(id, service, { staged } = { staged: false }) {
      return guarded(async () => {
        vault.keys();
        return toResolution(await lookup.byId(id, service, { staged }), service);
      });
    },
    [Symbol.dispose]() {
      stop();
      rows.clear();
      named.clear();
    },
  };
}

async function guarded(find: () => Promise<Resolution>): Promise<Resolution> {
  try {
    return await find();
  } catch (error) {
    return { kind: 'unavailable', error: toAppError(error) };
  }
}

function toResolution(row: SealedInstance | null, service: string): Resolution {
  const isUsable =
    row?.isActive === true &&
    row.service === service &&
    (row.expiresAt === null || row.expiresAt.getTime() > Date.now());
  return isUsable ? { kind: 'found', instance: row } : { kind: 'unknown' };
}
