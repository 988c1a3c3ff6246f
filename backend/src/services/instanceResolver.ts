/**
 * From an instance id to the instance, on each call: parse, checksum, keyed lookup, active or not, asked from where it may
 * be. What is kept between
 * calls is sealed rows, for 5 s at most, and only while the LISTEN connection that would void them is up (05,
 * "Resolving on each call"; 12.17).
 */
import { LRUCache } from 'lru-cache';
import { toAppError, type AppError } from '../errors/appError.js';
import type { WrappedDataKey } from '../stores/instanceLookupStore.js';
import type { AccessMode } from '../stores/instancesStore.js';
import { lookupDigest, parseInstanceId } from '../vault/instanceId.js';
import type { ResolvedInstance } from './resolvedInstance.js';
import type { VaultGate } from './vaultKeys.js';

/** What the database knows of an instance; whatever is secret in it is sealed. */
export interface SealedInstance extends ResolvedInstance {
  /** False when the instance is paused or its owner disabled. */
  readonly isActive: boolean;
  /** When it ends, or the rotated URL by which it was found: of the monotonic clock in ms; `Infinity` for no end. */
  readonly endsAtMs: number;
  /** What a caller needs besides the URL. */
  readonly accessMode: AccessMode;
  /** Tells whether it may be used from an address; null when it may from anywhere. */
  readonly isFrom: ((address: string) => boolean) | null;
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
  /** Asked for from an address that its owner did not list: for the caller it is unknown, for the audit it is not. */
  | { readonly kind: 'outside'; readonly instance: SealedInstance }
  /** It cannot be told now: the database is away or the vault is sealed. */
  | { readonly kind: 'unavailable'; readonly error: AppError };

export interface InstanceResolver extends Disposable {
  /** Never throws. The text is what stood in the path, byte for byte; the address is the client's, null if unknown. */
  resolve(instanceIdText: string, service: string, address?: string | null): Promise<Resolution>;
  /** From wherever it is asked for. Never throws. */
  resolveById(
    id: string,
    service: string,
    options?: { readonly staged: boolean },
  ): Promise<Exclude<Resolution, { kind: 'outside' }>>;
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

  /** What is kept and must not be served takes the time of an id that nobody has, with its query (A01). */
  const asIfUnknown = async (refusal: Resolution, digest: Buffer, service: string): Promise<Resolution> => {
    const nobodys = Buffer.from(digest);
    nobodys[0] = (nobodys[0] ?? 0) ^ 1;
    await lookup.byDigest(nobodys, service);
    return refusal;
  };

  return {
    async resolve(instanceIdText, service, address = null) {
      const name = `${service}/${instanceIdText}`;
      const known = changes.isUp ? named.get(name) : undefined;
      try {
        if (known !== undefined) {
          const { system } = vault.keys();
          const resolution = toResolution(known, service, address);
          if (resolution.kind === 'found') return resolution;
          parseInstanceId(instanceIdText);
          return await asIfUnknown(resolution, lookupDigest(system.lookup, instanceIdText), service);
        }
        if (parseInstanceId(instanceIdText) === null) return { kind: 'unknown' };
        const digest = lookupDigest(vault.keys().system.lookup, instanceIdText);
        const key = `${service}/${digest.toString('latin1')}`;
        const kept = changes.isUp ? rows.get(key) : undefined;
        // No longer than the row itself; 0 would be for ever.
        if (kept !== undefined) named.set(name, kept, { ttl: Math.max(1, rows.getRemainingTTL(key)) });
        if (kept === undefined) return toResolution(await fetchRow(key, digest, service), service, address);
        const resolution = toResolution(kept, service, address);
        return resolution.kind === 'found' ? resolution : await asIfUnknown(resolution, digest, service);
      } catch (error) {
        return { kind: 'unavailable', error: toAppError(error) };
      }
    },
    async resolveById(id, service, { staged } = { staged: false }) {
      try {
        vault.keys();
        const row = await lookup.byId(id, service, { staged });
        return isUsable(row, service) ? { kind: 'found', instance: row } : { kind: 'unknown' };
      } catch (error) {
        return { kind: 'unavailable', error: toAppError(error) };
      }
    },
    [Symbol.dispose]() {
      stop();
      rows.clear();
      named.clear();
    },
  };
}

function toResolution(row: SealedInstance | null, service: string, address: string | null): Resolution {
  if (!isUsable(row, service)) return { kind: 'unknown' };
  const isInside = row.isFrom === null || (address !== null && row.isFrom(address));
  return { kind: isInside ? 'found' : 'outside', instance: row };
}

function isUsable(row: SealedInstance | null, service: string): row is SealedInstance {
  return (
    row?.isActive === true &&
    row.service === service &&
    (row.endsAtMs === Infinity || row.endsAtMs > performance.now())
  );
}
