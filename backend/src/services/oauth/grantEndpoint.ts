/** Where a grant is renewed and revoked: as the service's file says, or as discovery found when it was given. */
import type { CredentialMethod } from '../../catalog/serviceDefinition.js';
import type { OAuth2Settings } from '../../catalog/oauth2Settings.js';
import { AppError } from '../../errors/appError.js';
import type { OAuthClient, TokenEndpoint } from './tokenEndpoint.js';
import type { TokenGrant } from './tokenGrant.js';

/** A method by which a user signs in with the service itself. */
export type OAuthMethod = CredentialMethod &
  (
    | { readonly type: 'oauth2'; readonly oauth2: OAuth2Settings }
    | { readonly type: 'mcp-oauth'; readonly oauth2: null }
  );

export interface GrantEndpoint extends TokenEndpoint {
  readonly revocationUrl: string | null;
  /** RFC 8707; null where it is not said. */
  readonly resource: string | null;
}

export function isOAuthMethod(method: CredentialMethod): method is OAuthMethod {
  return method.type === 'mcp-oauth' || (method.type === 'oauth2' && method.oauth2 !== null);
}

export const usualTokenPath = '/access_token';

/** @throws AppError CREDENTIAL_UNREADABLE for a grant of another method. */
export function toGrantEndpoint(method: OAuthMethod, grant: Pick<TokenGrant, 'server'>): GrantEndpoint {
  if (method.type === 'oauth2') {
    const { tokenUrl, revocationUrl, tokenPath } = method.oauth2;
    return {
      url: tokenUrl,
      revocationUrl,
      tokenPath,
      client: toDeclaredClient(method.oauth2),
      resource: null,
    };
  }
  if (grant.server === null) throw new AppError('CREDENTIAL_UNREADABLE', 'the grant names no server');
  const { tokenEndpoint, revocationEndpoint, client, resource } = grant.server;
  return {
    url: tokenEndpoint,
    revocationUrl: revocationEndpoint,
    tokenPath: usualTokenPath,
    client,
    resource,
  };
}

/** @throws AppError SERVICE_UNAVAILABLE when it is not set, so that the method is not available. */
export function toDeclaredClient({ clientId, clientSecret, clientAuth }: OAuth2Settings): OAuthClient {
  if (clientId === null || clientAuth === 'private_key_jwt') {
    throw new AppError('SERVICE_UNAVAILABLE', 'the client of a sign-in is not set');
  }
  return { id: clientId, secret: clientSecret, auth: clientAuth };
}
