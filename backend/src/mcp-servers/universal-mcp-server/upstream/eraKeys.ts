/**
 * Names for the era registry: an upstream and an authorization context as keyed digests, so that the database holds no
 * address, no command line and nothing that tells two tenants of one upstream apart by guessing.
 */
import { LRUCache } from 'lru-cache';
import type { ResolvedInstance } from '../../../services/resolvedInstance.js';
import { eraDigest } from '../../../vault/eraDigest.js';
import type { VaultGate } from '../../../services/vaultKeys.js';
import type { EraKey } from './eraRegistry.js';

type KeyedInstance = Pick<
  ResolvedInstance,
  'id' | 'credentialRevision' | 'ownRevision' | 'overridesRevision' | 'service'
>;

export interface EraKeys {
  /** @param url the endpoint as rendered for this instance; its query and fragment do not count. */
  ofUrl(url: string, instance: KeyedInstance): EraKey;
  /** @param version of the package that the command runs, or null when it is not known. */
  ofCommand(
    command: { readonly command: string; readonly args: readonly string[]; readonly version: string | null },
    instance: KeyedInstance,
  ): EraKey;
}

/** `keys` throws SEALED while the vault is, and so do the functions then. */
export function createEraKeys(vault: Pick<VaultGate, 'keys'>): EraKeys {
  // One object for equal keys, and no digest on the common path of a call.
  const made = new LRUCache<string, EraKey>({ max: 20_000 });
  const keyOf = (upstream: string, instance: KeyedInstance): EraKey => {
    const authorization = authorizationOf(instance);
    const name = `${authorization}\0${upstream}`;
    const found = made.get(name);
    if (found !== undefined) return found;
    const { audit } = vault.keys().system;
    const key = {
      upstream: eraDigest(audit, 'upstream', upstream),
      authorization: eraDigest(audit, 'authorization', authorization),
    };
    made.set(name, key);
    return key;
  };
  return {
    ofUrl(url, instance) {
      const end = url.search(/[?#]/);
      return keyOf(`url\0${end === -1 ? url : url.slice(0, end)}`, instance);
    },
    ofCommand: ({ command, args, version }, instance) =>
      keyOf(JSON.stringify(['command', command, args, version]), instance),
  };
}

/** One context for all where nothing of a user's goes upstream; one for each revision of a shared credential. */
function authorizationOf({ id, credentialRevision, ownRevision, overridesRevision }: KeyedInstance): string {
  if (overridesRevision === 0 && credentialRevision === 0) return 'none';
  if (overridesRevision === 0 && ownRevision !== undefined) return `shared\0${credentialRevision}`;
  return `instance\0${id}\0${credentialRevision}\0${overridesRevision}`;
}
