/** Puts the renewal of access tokens of one service together: its turns in the database, its way out to the endpoints. */
import { randomUUID } from 'node:crypto';
import type { ServiceDefinition } from '../../catalog/serviceDefinition.js';
import type { DatabasePool } from '../../database/pool.js';
import type { TokenRenewal, TokenRenewalOptions } from '../../services/oauth/tokenRenewal.js';
import { isSignIn } from '../../services/setupInstructions.js';
import { beginRenewal, failRenewal, finishRenewal } from '../../stores/oauthRenewalsStore.js';

export type RenewalParts = Pick<
  TokenRenewalOptions,
  'setup' | 'opener' | 'lookup' | 'changes' | 'spool' | 'log' | 'now'
> & {
  readonly definition: ServiceDefinition;
  readonly pool: DatabasePool;
};

/** Null for a service to which nobody signs in; the code is loaded for the others only. */
export async function openTokenRenewal({ pool, ...parts }: RenewalParts): Promise<TokenRenewal | null> {
  const { definition } = parts;
  if (!definition.credentials.methods.some(isSignIn)) return null;
  const [{ createTokenRenewal }, { createOAuthEgress, toOAuthPolicy }] = await Promise.all([
    import('../../services/oauth/tokenRenewal.js'),
    import('../../services/oauth/oauthEgress.js'),
  ]);
  return createTokenRenewal({
    ...parts,
    turns: {
      begin: (key, leaseMs) => beginRenewal(pool, key, leaseMs),
      finish: (key, sealed) => finishRenewal(pool, key, sealed),
      fail: (key, failure) => failRenewal(pool, key, failure),
    },
    egress: createOAuthEgress(toOAuthPolicy(definition)),
    newId: randomUUID,
  });
}
