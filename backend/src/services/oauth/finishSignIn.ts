/**
 * A browser comes back from the service, without a bearer credential (row I10). Its answer counts for the one who began
 * the sign-in and nobody else: by the state, by the cookie of the browser in which it was begun, and while that login
 * session lives. Whatever comes of it, the state is used up (RFC 9700 §4.7, §2.1; RFC 9207 for `iss`).
 */
import { timingSafeEqual } from 'node:crypto';
import type { ServiceDefinition } from '../../catalog/serviceDefinition.js';
import { withUser } from '../../database/withUser.js';
import { AppError, toAppError } from '../../errors/appError.js';
import { recordSignInOutcome, takeSignIn, type TakenSignIn } from '../../stores/oauthSignInsStore.js';
import { isAudited } from '../auditedError.js';
import { recordActorChange, type Actor } from '../changeAudit.js';
import { storeChecked } from '../instanceManager/authenticateInstance.js';
import { asSelf, getEnabledService } from '../instanceManager/instanceParts.js';
import { digestOf } from '../opaqueSecret.js';
import type { RequestOrigin } from '../requestOrigin.js';
import { isOAuthMethod, type OAuthMethod } from './grantEndpoint.js';
import { createOAuthEgress, toOAuthPolicy, type OAuthEgress } from './oauthEgress.js';
import { parseContext, type SignInContext } from './signInContext.js';
import { toDeclaredServer, type SignInServer } from './signInServer.js';
import type { SignInParts } from './signIns.js';
import { requestTokens, revokeToken, type GrantedTokens } from './tokenEndpoint.js';
import { toGrant, toGrantFields } from './tokenGrant.js';

/** The query that the service sent the browser back with (RFC 6749 §4.1.2). */
export interface SignInAnswer {
  readonly state?: string | undefined;
  readonly code?: string | undefined;
  readonly error?: string | undefined;
  readonly iss?: string | undefined;
}

export interface FinishedSignIn {
  /** Null when nobody knows the state; then there is nobody to tell either. */
  readonly id: string | null;
}

const codeForm = /^[\x20-\x7e]{1,4096}$/;

/**
 * Never throws for what the browser brought: the outcome is told to the one who began, by `SignIns.show`.
 * @param findBrowserSecret the cookie for the sign-in of that id.
 * @throws AppError DATABASE_UNAVAILABLE, AUDIT_UNAVAILABLE
 */
export async function finishSignIn(
  parts: SignInParts,
  answer: SignInAnswer,
  findBrowserSecret: (id: string) => string | undefined,
  origin: RequestOrigin,
): Promise<FinishedSignIn> {
  const { state } = answer;
  if (state === undefined || !/^[\w-]{43}$/.test(state)) return { id: null };
  const taken = await withUser(parts.pool, { userId: null, scope: 'self' }, (db) =>
    takeSignIn(db, digestOf(state)),
  );
  if (taken === null) return { id: null };
  const actor = toActor(taken, origin);
  const told = await settle(parts, actor, taken, answer, findBrowserSecret(taken.id)).then(
    (message) => ({ outcome: 'connected', errorCode: null, message }) as const,
    (thrown: unknown) => tellFailure(parts, actor, taken, thrown),
  );
  await asSelf(parts, actor, (db) => recordSignInOutcome(db, taken, told));
  return { id: taken.id };
}

/** @returns what the user is told. @throws AppError why it came to nothing. */
async function settle(
  parts: SignInParts,
  actor: Actor,
  taken: TakenSignIn,
  answer: SignInAnswer,
  browserSecret: string | undefined,
): Promise<string> {
  requireSamePerson(taken, browserSecret);
  const definition = getEnabledService(parts, taken.service, actor);
  const method = definition.credentials.methods.find(({ id }) => id === taken.method);
  if (method === undefined || !isOAuthMethod(method) || method.unavailableReason !== null) {
    throw invalid('the method is no longer offered', 'This way to connect is no longer offered.');
  }
  const context = await asSelf(parts, actor, async (db) =>
    parseContext(await parts.vault.openSignIn(db, taken, taken.sealedContext)),
  );
  const server = toServer(method, context);
  const code = readCode(answer, server, definition);
  await using egress = createOAuthEgress(toOAuthPolicy(definition));
  const tokens = await exchangeCode(parts, egress, definition, method, server, code, context);
  try {
    const found = method.type === 'oauth2' ? null : server;
    const grant = toGrant(parts.newId(), tokens, found === null ? null : toGrantServer(found), parts.now());
    const keepsRefresh = method.type !== 'oauth2' || method.oauth2.refresh;
    const fields = toGrantFields(keepsRefresh ? grant : { ...grant, refreshToken: null });
    const input = { methodId: method.id, fields, isCredential: true };
    const { message } = await storeChecked(parts, actor, taken, definition, input);
    return message;
  } catch (error) {
    // Nobody keeps what was granted, so it is given back.
    if (server.revocationUrl !== null) {
      const value = tokens.refreshToken ?? tokens.accessToken;
      const hint = tokens.refreshToken === null ? 'access_token' : 'refresh_token';
      const { client } = server.endpoint;
      await revokeToken(egress, { url: server.revocationUrl, client }, { value, hint });
    }
    throw error;
  }
}

/** @throws AppError SIGN_IN_INVALID */
function requireSamePerson(taken: TakenSignIn, browserSecret: string | undefined): void {
  if (taken.isExpired) {
    throw invalid('it is too old', 'Signing in took longer than 10 minutes. Begin again.');
  }
  // Without this, somebody could have another person sign in and get that person's access (07, login CSRF reversed).
  const isSameBrowser =
    browserSecret !== undefined && timingSafeEqual(digestOf(browserSecret), taken.browserDigest);
  if (!isSameBrowser) {
    throw invalid(
      'another browser came back',
      'The answer came from another browser than the one in which you began, so it was not used. If that was not you, somebody else tried to use your sign-in. Begin again.',
    );
  }
  if (!taken.isSessionLive || taken.userStatus !== 'active') {
    throw invalid('its session has ended', 'You signed out before it was finished. Begin again.');
  }
}

function toServer(method: OAuthMethod, { found }: SignInContext): SignInServer {
  if (method.type === 'oauth2') return toDeclaredServer(method.oauth2);
  if (found === null) throw new AppError('CREDENTIAL_UNREADABLE', 'the sign-in names no server');
  return found;
}

/** @throws AppError SIGN_IN_INVALID for an answer of another issuer, SIGN_IN_DENIED */
function readCode(answer: SignInAnswer, server: SignInServer, { title }: ServiceDefinition): string {
  const { iss, error, code } = answer;
  if (server.issuer !== null && (iss === undefined ? server.isIssuerSent : iss !== server.issuer)) {
    throw invalid(
      'the issuer is another one',
      'The answer came from another service than the one that was asked.',
    );
  }
  if (error !== undefined) {
    throw denied(
      'the service answered an error',
      error === 'access_denied'
        ? `${title} was not allowed to share your account: either you said no, or ${title} did.`
        : `${title} did not let you sign in${/^[a-z_]{1,64}$/.test(error) ? ` (${error})` : ''}.`,
    );
  }
  if (code === undefined || !codeForm.test(code)) {
    throw denied('no code', `${title} sent you back without an answer. Begin again.`);
  }
  return code;
}

async function exchangeCode(
  parts: SignInParts,
  egress: OAuthEgress,
  { name, title }: ServiceDefinition,
  method: OAuthMethod,
  { endpoint, resource, usesPkce, issuer }: SignInServer,
  code: string,
  { codeVerifier }: SignInContext,
): Promise<GrantedTokens> {
  const { redirectUri } = parts;
  const outcome = await requestTokens(egress, endpoint, {
    grant_type: 'authorization_code',
    code,
    redirect_uri: redirectUri,
    ...(usesPkce ? { code_verifier: codeVerifier } : {}),
    ...(resource === null ? {} : { resource }),
  });
  switch (outcome.kind) {
    case 'granted':
      return outcome.tokens;
    case 'refused':
      throw denied(outcome.code, `${title} did not accept the answer of the sign-in (${outcome.code}).`);
    case 'clientRefused':
      if (method.type === 'mcp-oauth' && issuer !== null) {
        const { createRegisteredClients } = await import('./registeredClients.js');
        await createRegisteredClients(parts).forget({ service: name, issuer, redirectUri });
      }
      throw denied(
        outcome.code,
        `${title} does not know this installation (${outcome.code}). ${
          method.type === 'mcp-oauth' ? 'Begin again.' : 'Ask an admin to check the client id and secret.'
        }`,
      );
    case 'unavailable':
      throw new AppError('UPSTREAM_UNREACHABLE', `the token endpoint: ${outcome.reason}`, {
        publicDetail: `${title} could not be asked for your access. Nothing was stored; begin again.`,
      });
  }
}

function toGrantServer({ endpoint, revocationUrl, resource }: SignInServer) {
  const { url: tokenEndpoint, client } = endpoint;
  return { tokenEndpoint, revocationEndpoint: revocationUrl, resource, client };
}

async function tellFailure(parts: SignInParts, actor: Actor, taken: TakenSignIn, thrown: unknown) {
  const error = toAppError(thrown);
  if (error.code === 'INTERNAL') parts.onFault(thrown);
  if (!isAudited(thrown)) {
    await asSelf(parts, actor, (db) =>
      recordActorChange(db, actor, {
        action: 'credential.sign_in_failed',
        target: { kind: 'service', id: taken.service },
        service: taken.service,
        outcome: error.code === 'SIGN_IN_INVALID' ? 'denied' : 'failure',
        errorCode: error.code,
        details: { label: taken.label, method: taken.method, signIn: taken.id },
      }),
    );
  }
  const message = error.options.publicDetail ?? error.form.title;
  return { outcome: 'failed', errorCode: error.code, message } as const;
}

function toActor(taken: TakenSignIn, { requestId, clientAddress }: RequestOrigin): Actor {
  const { userId, role, sessionId, authenticatedAt } = taken;
  return { userId, role, via: `session:${sessionId}`, authenticatedAt, requestId, clientAddress };
}

const invalid = (why: string, publicDetail: string): AppError =>
  new AppError('SIGN_IN_INVALID', `sign-in: ${why}`, { publicDetail });
const denied = (why: string, publicDetail: string): AppError =>
  new AppError('SIGN_IN_DENIED', `sign-in: ${why}`, { publicDetail });
