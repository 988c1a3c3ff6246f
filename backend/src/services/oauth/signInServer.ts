/** The authorization server of one sign-in, whether the service's file declares it or discovery found it. */
import type { OAuth2Settings } from '../../catalog/oauth2Settings.js';
import { toDeclaredClient } from './grantEndpoint.js';
import type { TokenEndpoint } from './tokenEndpoint.js';

export interface SignInServer {
  readonly authorizationUrl: string;
  readonly endpoint: TokenEndpoint;
  readonly revocationUrl: string | null;
  /** What `iss` of the answer has to be (RFC 9207); null where nobody says. */
  readonly issuer: string | null;
  /** Whether an answer without `iss` is refused. */
  readonly isIssuerSent: boolean;
  /** Null: none is asked for. */
  readonly scope: string | null;
  /** RFC 8707; null where it is not said. */
  readonly resource: string | null;
  readonly usesPkce: boolean;
  /** Further parameters of the authorization request; none takes the place of one of ours. */
  readonly extra: Readonly<Record<string, string>>;
}

/** @throws AppError SERVICE_UNAVAILABLE when the client is not set. */
export function toDeclaredServer(settings: OAuth2Settings): SignInServer {
  const { scopes, scopeSeparator } = settings;
  return {
    authorizationUrl: settings.authorizationUrl,
    endpoint: {
      url: settings.tokenUrl,
      client: toDeclaredClient(settings),
      tokenPath: settings.tokenPath,
    },
    revocationUrl: settings.revocationUrl,
    issuer: settings.issuer,
    isIssuerSent: false,
    scope: scopes.length === 0 ? null : scopes.join(scopeSeparator),
    resource: null,
    usesPkce: settings.pkce,
    extra: settings.extraAuthParams,
  };
}

/** The address to which the browser is sent (RFC 6749 §4.1.1, RFC 7636 §4.3). */
export function toAuthorizationUrl(
  server: SignInServer,
  request: { readonly redirectUri: string; readonly state: string; readonly codeChallenge: string },
): string {
  const url = new URL(server.authorizationUrl);
  const own: Readonly<Record<string, string | null>> = {
    response_type: 'code',
    client_id: server.endpoint.client.id,
    redirect_uri: request.redirectUri,
    state: request.state,
    scope: server.scope,
    resource: server.resource,
    code_challenge: server.usesPkce ? request.codeChallenge : null,
    code_challenge_method: server.usesPkce ? 'S256' : null,
  };
  for (const [name, value] of Object.entries({ ...server.extra, ...own })) {
    if (value !== null) url.searchParams.set(name, value);
  }
  return url.href;
}
