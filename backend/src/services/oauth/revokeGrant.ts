/**
 * Gives back what a service granted when its owner takes the credential away (RFC 7009). Best effort: what is deleted here
 * is deleted whether the service hears of it or not, and the service is told only once the deletion is committed.
 */
import type { ServiceRegistry } from '../../catalog/serviceRegistry.js';
import type { Queryable } from '../../database/queryable.js';
import { AppError } from '../../errors/appError.js';
import { readSealedCredential } from '../../stores/instanceProbesStore.js';
import type { Instance } from '../../stores/instancesStore.js';
import type { CredentialVault } from '../credentialVault.js';
import { isOAuthMethod, toGrantEndpoint } from './grantEndpoint.js';
import { createOAuthEgress, toOAuthPolicy } from './oauthEgress.js';
import { revokeToken } from './tokenEndpoint.js';
import { parseGrant } from './tokenGrant.js';

/** Tells the service; never throws. */
export type RevokeGrant = () => Promise<void>;

const nothingToRevoke: RevokeGrant = async () => undefined;

/** Reads, in the transaction of the deletion, what there is to give back. Never throws for what cannot be opened. */
export async function prepareRevocation(
  { registry, vault }: { readonly registry: ServiceRegistry; readonly vault: CredentialVault },
  db: Queryable,
  instance: Instance,
): Promise<RevokeGrant> {
  const definition = registry.find(instance.service);
  const method = definition?.credentials.methods.find(({ id }) => id === instance.credentialMethod);
  if (definition === null || method === undefined || !isOAuthMethod(method)) return nothingToRevoke;
  const stored = await readSealedCredential(db, instance);
  if (stored === null) return nothingToRevoke;
  try {
    const { revision, sealed } = stored;
    const grant = parseGrant(await vault.openFields(db, instance, 'sealed_credential', revision, sealed));
    const { revocationUrl, client } = toGrantEndpoint(method, grant);
    if (revocationUrl === null) return nothingToRevoke;
    const { refreshToken, accessToken } = grant;
    return async () => {
      await using egress = createOAuthEgress(toOAuthPolicy(definition));
      const endpoint = { url: revocationUrl, client };
      const deadline = AbortSignal.timeout(revocationMsMax);
      if (refreshToken !== null) {
        await revokeToken(egress, endpoint, { value: refreshToken, hint: 'refresh_token' }, deadline);
      }
      await revokeToken(egress, endpoint, { value: accessToken, hint: 'access_token' }, deadline);
    };
  } catch (error) {
    // A record that nobody can open, or a client that is set no more, keeps nobody from disconnecting.
    if (error instanceof AppError && unreadable.has(error.code)) return nothingToRevoke;
    throw error;
  }
}

/** The owner waits for it. */
const revocationMsMax = 5_000;

const unreadable: ReadonlySet<string> = new Set(['CREDENTIAL_UNREADABLE', 'SEALED', 'SERVICE_UNAVAILABLE']);
