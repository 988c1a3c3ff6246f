/**
 * The token and the revocation endpoint of an authorization server (RFC 6749 §3.2, RFC 7009), asked through the guarded
 * client. What they say is read strictly, and nothing of it is quoted in errors or logs but an error code of known form.
 */
import { followPointer, parseJsonPointer } from '../../catalog/jsonPointer.js';
import type { EgressResponse } from '../../egress/egressCall.js';
import { AppError } from '../../errors/appError.js';
import type { OAuthEgress } from './oauthEgress.js';

/** This installation, as one authorization server knows it. */
export interface OAuthClient {
  readonly id: string;
  /** Null for a public client. */
  readonly secret: string | null;
  readonly auth: 'client_secret_basic' | 'client_secret_post' | 'none';
}

export interface TokenEndpoint {
  readonly url: string;
  readonly client: OAuthClient;
  /** JSON pointer to the access token; refresh token and lifetime are its neighbours. */
  readonly tokenPath: string;
}

export interface GrantedTokens {
  readonly accessToken: string;
  readonly refreshToken: string | null;
  readonly expiresInSeconds: number | null;
  readonly scope: string | null;
}

export type TokenOutcome =
  | { readonly kind: 'granted'; readonly tokens: GrantedTokens }
  /** What was sent is not accepted, now and later: `code` is that of RFC 6749 §5.2 or the server's own. */
  | { readonly kind: 'refused'; readonly code: string }
  /** The server does not accept this installation; what the user gave may be good. */
  | { readonly kind: 'clientRefused'; readonly code: string }
  /** It says nothing about what was sent; another try makes sense after a while. */
  | { readonly kind: 'unavailable'; readonly reason: string; readonly retryAfterMs: number };

/** @param parameters beside the client's own, such as `grant_type` and `code`. Never throws but for the signal. */
export async function requestTokens(
  egress: OAuthEgress,
  { url, client, tokenPath }: TokenEndpoint,
  parameters: Readonly<Record<string, string>>,
  signal?: AbortSignal,
): Promise<TokenOutcome> {
  let answer: EgressResponse;
  try {
    answer = await postForm(egress, url, client, parameters, signal);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return { kind: 'unavailable', reason: error.code, retryAfterMs: shortPauseMs };
  }
  return readAnswer(answer, tokenPath);
}

/** Tells the server that a token is not needed any more; best effort (RFC 7009 §2.2: any 200 will do). */
export async function revokeToken(
  egress: OAuthEgress,
  { url, client }: Pick<TokenEndpoint, 'url' | 'client'>,
  token: { readonly value: string; readonly hint: 'refresh_token' | 'access_token' },
  signal?: AbortSignal,
): Promise<boolean> {
  try {
    const parameters = { token: token.value, token_type_hint: token.hint };
    const { status } = await postForm(egress, url, client, parameters, signal);
    return status >= 200 && status < 300;
  } catch {
    // The egress client's errors name no value; that it did not work is all that counts here.
    return false;
  }
}

const shortPauseMs = 5_000;
/** For a server that says no to something that no user can mend. */
const longPauseMs = 60_000;

/** Refusals of the grant itself: those of RFC 6749 and the words that some services use in their place. */
const refusals: ReadonlySet<string> = new Set([
  'invalid_grant',
  'access_denied',
  'interaction_required',
  'invalid_code',
  'code_already_used',
  'bad_verification_code',
  'invalid_refresh_token',
  'bad_refresh_token',
  'token_expired',
  'token_revoked',
  'expired_token',
  'invalid_target',
  'invalid_scope',
]);
const clientRefusals: ReadonlySet<string> = new Set([
  'invalid_client',
  'invalid_client_id',
  'bad_client_secret',
  'incorrect_client_credentials',
  'unauthorized_client',
]);

function postForm(
  egress: OAuthEgress,
  url: string,
  client: OAuthClient,
  parameters: Readonly<Record<string, string>>,
  signal?: AbortSignal,
): Promise<EgressResponse> {
  const form = new URLSearchParams(parameters);
  const headers: Record<string, string> = {
    accept: 'application/json',
    'content-type': 'application/x-www-form-urlencoded',
  };
  if (client.auth === 'client_secret_basic' && client.secret !== null) {
    // RFC 6749 §2.3.1: each half is form-encoded before they are joined.
    const pair = `${formEncode(client.id)}:${formEncode(client.secret)}`;
    headers['authorization'] = `Basic ${Buffer.from(pair, 'latin1').toString('base64')}`;
  } else {
    form.set('client_id', client.id);
    if (client.auth === 'client_secret_post' && client.secret !== null)
      form.set('client_secret', client.secret);
  }
  return egress.send({ method: 'POST', url, headers, body: form.toString() }, signal);
}

const formEncode = (text: string): string => new URLSearchParams({ '': text }).toString().slice(1);

function readAnswer(answer: EgressResponse, tokenPath: string): TokenOutcome {
  const { status } = answer;
  const document = parseObject(answer.body);
  const error = readErrorCode(document);
  if (status >= 200 && status < 300 && document !== null) {
    const tokens = readTokens(document, tokenPath);
    // Some services answer 200 with an error in it.
    if (tokens !== null && error === null) return { kind: 'granted', tokens };
  }
  if (error !== null && status < 500 && status !== 429) {
    if (refusals.has(error)) return { kind: 'refused', code: error };
    if (clientRefusals.has(error)) return { kind: 'clientRefused', code: error };
  }
  const isBusy = status === 429 || status >= 500;
  return {
    kind: 'unavailable',
    reason: error ?? `status ${status}`,
    retryAfterMs: isBusy ? readRetryAfterMs(answer) : longPauseMs,
  };
}

/** What goes into a header and a record has to be what RFC 6749 appendix A allows, and of sensible size. */
const tokenForm = /^[\x20-\x7e]{1,16384}$/;
const lifetimeSecondsMax = 10 * 365 * 86_400;

function readTokens(document: object, tokenPath: string): GrantedTokens | null {
  const pointer = parseJsonPointer(tokenPath);
  const accessToken = followPointer(document, pointer);
  if (typeof accessToken !== 'string' || !tokenForm.test(accessToken)) return null;
  const neighbours = followPointer(document, pointer.slice(0, -1));
  const read = (name: string): unknown =>
    followPointer(neighbours, [name]) ?? followPointer(document, [name]);
  const refreshToken = read('refresh_token');
  const expiresIn = Number(read('expires_in') ?? Number.NaN);
  const scope = read('scope');
  return {
    accessToken,
    refreshToken: typeof refreshToken === 'string' && tokenForm.test(refreshToken) ? refreshToken : null,
    expiresInSeconds: expiresIn > 0 && expiresIn <= lifetimeSecondsMax ? expiresIn : null,
    scope: typeof scope === 'string' && scope.length <= 4_096 ? scope : null,
  };
}

function readErrorCode(document: object | null): string | null {
  const error = followPointer(document, ['error']);
  return typeof error === 'string' && /^[a-z][a-z0-9_]{0,63}$/.test(error) ? error : null;
}

function readRetryAfterMs({ headers }: EgressResponse): number {
  const seconds = /^\d{1,5}$/.exec(headers['retry-after'] ?? '')?.[0];
  return seconds === undefined ? shortPauseMs : Math.min(Math.max(Number(seconds), 1), 300) * 1_000;
}

function parseObject(body: Buffer): object | null {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return typeof value === 'object' && value !== null ? value : null;
  } catch {
    return null;
  }
}
