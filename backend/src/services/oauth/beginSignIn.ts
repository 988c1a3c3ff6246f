/**
 * Sends a user to the service to sign in there (row I10). What ties the answer to the one who asked is made here: a state
 * that is kept as a digest, a cookie that only this browser has, the login session, and a sealed PKCE verifier.
 */
import { createHash } from 'node:crypto';
import type { ServiceDefinition } from '../../catalog/serviceDefinition.js';
import { AppError } from '../../errors/appError.js';
import { insertSignIn } from '../../stores/oauthSignInsStore.js';
import { recordActorChange, type Actor } from '../changeAudit.js';
import { asSelf, getEnabledService, type InstanceName } from '../instanceManager/instanceParts.js';
import { createOpaqueSecret, digestOf } from '../opaqueSecret.js';
import { sessionIdOf } from '../sessions.js';
import { isSignIn } from '../setupInstructions.js';
import { isOAuthMethod, usualTokenPath, type OAuthMethod } from './grantEndpoint.js';
import { createOAuthEgress, toOAuthPolicy } from './oauthEgress.js';
import { toContextFields } from './signInContext.js';
import { toAuthorizationUrl, toDeclaredServer, type SignInServer } from './signInServer.js';
import type { SignInParts } from './signIns.js';

export interface BegunSignIn {
  readonly id: string;
  readonly authorizationUrl: string;
  readonly expiresAt: Date;
  /** For a cookie of the browser that asks; it has to come back with it. */
  readonly browserSecret: string;
}

export const signInMinutesMax = 10;
const signInsKeptMax = 20;

/**
 * @throws AppError SERVICE_UNKNOWN, SERVICE_UNAVAILABLE, INVALID_REQUEST for a method that is no sign-in, ACCESS_DENIED
 * for a personal API key, EGRESS_DENIED, UPSTREAM_UNREACHABLE, UPSTREAM_TIMEOUT, UPSTREAM_FAILED, SEALED.
 */
export async function beginSignIn(
  parts: SignInParts,
  actor: Actor,
  name: InstanceName,
  methodId?: string,
): Promise<BegunSignIn> {
  const sessionId = sessionIdOf(actor);
  parts.vault.requireOpen();
  const definition = getEnabledService(parts, name.service, actor);
  const method = findSignInMethod(definition, methodId);
  const server =
    method.type === 'oauth2' ? toDeclaredServer(method.oauth2) : await findServer(parts, definition);

  const id = parts.newId();
  const state = createOpaqueSecret(parts.randomBytes);
  const browserSecret = createOpaqueSecret(parts.randomBytes);
  const codeVerifier = createOpaqueSecret(parts.randomBytes);
  const expiresAt = new Date(parts.now() + signInMinutesMax * 60_000);
  const context = { codeVerifier, found: method.type === 'oauth2' ? null : server };
  await asSelf(parts, actor, async (db) => {
    const row = { id, userId: actor.userId };
    const sealedContext = await parts.vault.sealSignIn(db, row, toContextFields(context));
    const signIn = {
      ...row,
      ...name,
      sessionId,
      method: method.id,
      sealedContext,
      expiresAt,
      stateDigest: digestOf(state),
      browserDigest: digestOf(browserSecret),
    };
    await insertSignIn(db, signIn, signInsKeptMax);
    await recordActorChange(db, actor, {
      action: 'credential.sign_in_begun',
      target: { kind: 'service', id: name.service },
      service: name.service,
      details: { label: name.label, method: method.id, signIn: id },
    });
  });
  const codeChallenge = createHash('sha256').update(codeVerifier).digest('base64url');
  const request = { redirectUri: parts.redirectUri, state, codeChallenge };
  return { id, authorizationUrl: toAuthorizationUrl(server, request), expiresAt, browserSecret };
}

function findSignInMethod({ name, credentials }: ServiceDefinition, methodId?: string): OAuthMethod {
  const refuse = (message: string): never => {
    throw new AppError('INVALID_REQUEST', `no sign-in with ${name}`, {
      publicDetail: message,
      fields: [{ pointer: '/method', message }],
    });
  };
  const methods = credentials.methods.filter(isSignIn);
  const usable = methods.filter(({ unavailableReason }) => unavailableReason === null);
  const meant =
    methodId === undefined
      ? (usable.find(({ recommended }) => recommended) ?? usable[0] ?? methods[0])
      : credentials.methods.find(({ id }) => id === methodId);
  if (meant === undefined || !isOAuthMethod(meant)) return refuse('is no sign-in with the service itself');
  return meant.unavailableReason === null ? meant : refuse(meant.unavailableReason);
}

/** Loaded with the first sign-in that needs it: most services are found in their file. */
async function findServer(parts: SignInParts, definition: ServiceDefinition): Promise<SignInServer> {
  const { discoverServer, revocationEndpointOf } = await import('./mcpDiscovery.js');
  const { createRegisteredClients } = await import('./registeredClients.js');
  const serverUrl = definition.remote?.url;
  if (typeof serverUrl !== 'string') throw new AppError('CONFIG_INVALID', 'a sign-in without a fixed URL');
  const policy = toOAuthPolicy(definition);
  await using egress = createOAuthEgress(policy);
  const found = await discoverServer(serverUrl, egress, policy);
  const { metadata, issuer } = found;
  const key = { service: definition.name, issuer, redirectUri: parts.redirectUri };
  const client = await createRegisteredClients(parts).get(key, metadata, egress);
  const asksConsent = found.scope?.split(' ').includes('offline_access') === true;
  return {
    authorizationUrl: metadata.authorization_endpoint,
    endpoint: { url: metadata.token_endpoint, client, tokenPath: usualTokenPath },
    revocationUrl: revocationEndpointOf(metadata),
    issuer: metadata.issuer,
    isIssuerSent: found.isIssuerSent,
    scope: found.scope,
    resource: found.resource,
    usesPkce: true,
    // OpenID Connect Core §11: access without the user is granted only where consent is asked for.
    extra: asksConsent ? { prompt: 'consent' } : {},
  };
}
