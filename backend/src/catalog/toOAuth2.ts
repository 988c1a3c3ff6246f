/** The sign-in with a service itself, as its file declares it: complete, its URLs checked, and why it cannot be used here. */
import type { OAuth2Config } from './configSchema/credentialSchemas.js';
import type { ConfigReading } from './configReading.js';
import type { RemoteDefinition } from './mcpServerDefinitions.js';
import type { OAuth2Settings } from './oauth2Settings.js';
import type { CredentialScope, EgressPolicy, MethodType } from './serviceDefinition.js';
import { checkUrl } from './urlChecks.js';

export function toOAuth2(
  config: OAuth2Config,
  pointer: string,
  { allowPrivate }: EgressPolicy,
  reading: ConfigReading,
): OAuth2Settings {
  const hosts = new Set<string>();
  for (const name of ['authorizationUrl', 'tokenUrl', 'revocationUrl'] as const) {
    const text = config[name];
    if (text === undefined) continue;
    const verdict = checkUrl(text, { allowPrivate });
    if ('message' in verdict) reading.refuse(`${pointer}/${name}`, verdict.message);
    // The browser goes to the first one, and this installation to the others.
    else if (name !== 'authorizationUrl') hosts.add(verdict.url.hostname);
  }
  return {
    authorizationUrl: config.authorizationUrl,
    tokenUrl: config.tokenUrl,
    revocationUrl: config.revocationUrl ?? null,
    issuer: config.issuer ?? null,
    clientId: reading.toText(config.clientId, `${pointer}/clientId`),
    clientSecret:
      config.clientSecret === undefined
        ? null
        : reading.toText(config.clientSecret, `${pointer}/clientSecret`),
    clientAuth: config.clientAuth,
    scopes: config.scopes,
    optionalScopes: config.optionalScopes,
    scopeSeparator: config.scopeSeparator,
    pkce: config.pkce,
    extraAuthParams: config.extraAuthParams,
    tokenPath: config.tokenPath,
    refresh: config.refresh,
    egress: { allowHosts: [...hosts], allowPrivate },
  };
}

/** Why a method that sends its user to the service cannot be used here, in words for users; null when it can. */
export function whyNoSignIn(
  type: MethodType,
  settings: OAuth2Settings | null,
  around: { readonly scope: CredentialScope; readonly remote: Pick<RemoteDefinition, 'url'> | null },
): string | null {
  if (type !== 'oauth2' && type !== 'mcp-oauth') return null;
  if (around.scope === 'shared') {
    return 'Signing in with the service gives a credential of one person, which cannot be shared.';
  }
  if (type === 'mcp-oauth') {
    return typeof around.remote?.url === 'string'
      ? null
      : 'The address of this service differs between users, so that nobody can sign in beforehand.';
  }
  if (settings === null || settings.clientId === null || settings.clientId === '') {
    return 'An admin has to register this installation with the service first, and to set its client id.';
  }
  switch (settings.clientAuth) {
    case 'private_key_jwt':
      return 'The service asks for a key of this installation (private_key_jwt), which it does not have.';
    case 'none':
      return settings.pkce ? null : 'Without a client secret the service has to allow PKCE.';
    case 'client_secret_basic':
    case 'client_secret_post':
      return settings.clientSecret === null || settings.clientSecret === ''
        ? 'An admin has to set the client secret of this installation first.'
        : null;
  }
}
