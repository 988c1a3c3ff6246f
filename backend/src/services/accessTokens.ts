/**
 * Access tokens: JWTs by RFC 9068 (`typ: at+jwt`), signed with ES256 and alive for ten minutes. They say who and in
 * which session; what the user may do is looked up on each request, so that a demotion counts at once.
 */
import jwt from 'jsonwebtoken';
import { AppError } from '../errors/appError.js';
import { jwtAlgorithm, type SigningKeys, type VerificationKeys } from './jwtKeys.js';

export const accessTokenSeconds = 600;
/** For clocks that differ (06 R16). */
export const leewaySeconds = 30;
const audience = 'portolan-api';
const type = 'at+jwt';

export interface AccessClaims {
  readonly userId: string;
  readonly sessionId: string;
}

export interface AccessTokens {
  sign(claims: AccessClaims): string;
  /** @throws AppError UNAUTHENTICATED for anything that is not a live access token of ours. */
  verify(text: string): AccessClaims;
}

export interface AccessTokensOptions {
  readonly keys: SigningKeys;
  /** The origin that issues and accepts them: `PUBLIC_URL`. */
  readonly issuer: string;
  /** Milliseconds since the epoch; of a clock that is never set back. */
  readonly now: () => number;
  readonly newId: () => string;
}

const uuidForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function createAccessTokens({ keys, issuer, now, newId }: AccessTokensOptions): AccessTokens {
  const nowSeconds = (): number => Math.floor(now() / 1_000);
  return {
    sign: ({ userId, sessionId }) =>
      jwt.sign({ sid: sessionId, iat: nowSeconds() }, keys.privateKey, {
        algorithm: jwtAlgorithm,
        keyid: keys.kid,
        header: { alg: jwtAlgorithm, typ: type },
        issuer,
        audience,
        subject: userId,
        jwtid: newId(),
        expiresIn: accessTokenSeconds,
      }),
    verify: (text) => {
      const { userId, sessionId } = verifyAccessToken(keys.verification, issuer, text, now());
      return { userId, sessionId };
    },
  };
}

/**
 * What an access token says, by public keys alone, as a service process checks it.
 * @param nowMs since the epoch, of a clock that is never set back.
 * @throws AppError UNAUTHENTICATED for anything that is not a live access token of ours.
 */
export function verifyAccessToken(
  keys: VerificationKeys,
  issuer: string,
  text: string,
  nowMs: number,
): AccessClaims & { readonly expiresAt: Date } {
  const nowSeconds = Math.floor(nowMs / 1_000);
  const { sub, sid, exp, iat, jti } = verifyWith(keys, text, issuer, nowSeconds);
  const isWhole =
    typeof sub === 'string' &&
    uuidForm.test(sub) &&
    typeof sid === 'string' &&
    uuidForm.test(sid) &&
    typeof jti === 'string' &&
    typeof exp === 'number' &&
    typeof iat === 'number' &&
    exp - iat <= accessTokenSeconds &&
    // Made while the clock was wrong, it would live until the clock has caught up.
    iat <= nowSeconds + leewaySeconds;
  if (!isWhole) throw refused('the claims are not those of an access token');
  return { userId: sub, sessionId: sid, expiresAt: new Date(exp * 1_000) };
}

/**
 * The key is chosen from our own ring by `kid`, and nothing else in the header is looked at: `jku`, `jwk`, `x5u` and
 * the like are never followed (07 B03). The algorithm is the key's, not the header's (07 B01).
 */
function verifyWith(
  keys: VerificationKeys,
  text: string,
  issuer: string,
  clockTimestamp: number,
): jwt.JwtPayload {
  const header = jwt.decode(text, { complete: true })?.header;
  const key = typeof header?.kid === 'string' ? keys.get(header.kid) : undefined;
  if (header?.typ !== type || key === undefined) throw refused('the header is not that of an access token');
  try {
    const claims = jwt.verify(text, key, {
      algorithms: [jwtAlgorithm],
      issuer,
      audience,
      clockTimestamp,
      clockTolerance: leewaySeconds,
    });
    if (typeof claims === 'string') throw refused('the payload is no object');
    return claims;
  } catch (thrown) {
    if (thrown instanceof AppError) throw thrown;
    throw refused('the signature, time, issuer or audience is wrong', thrown);
  }
}

function refused(why: string, cause?: unknown): AppError {
  return new AppError('UNAUTHENTICATED', `access token: ${why}`, {
    ...(cause === undefined ? {} : { cause }),
    publicDetail: 'The access token is not valid or has expired: refresh it, or sign in again.',
  });
}
