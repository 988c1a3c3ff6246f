/**
 * How the main API proves itself to a service process: a JWT of ten seconds for one service and one instance, signed with
 * the key ring of access tokens and told apart from those by `typ` and audience (12.10). The service process holds public
 * keys only.
 */
import jwt from 'jsonwebtoken';
import { AppError } from '../errors/appError.js';
import { jwtAlgorithm, type SigningKeys, type VerificationKeys } from './jwtKeys.js';

export interface InternalCall {
  readonly service: string;
  /** The instance's uuid, or that of the settings whose shared credential is meant. */
  readonly instanceId: string;
}

const type = 'internal+jwt';
const issuer = 'portolan-main-api';
const lifeSeconds = 10;
const toAudience = (service: string): string => `mcp-${service}`;

export function signInternalCall(keys: SigningKeys, { service, instanceId }: InternalCall): string {
  return jwt.sign({}, keys.privateKey, {
    algorithm: jwtAlgorithm,
    keyid: keys.kid,
    header: { alg: jwtAlgorithm, typ: type },
    issuer,
    audience: toAudience(service),
    subject: instanceId,
    expiresIn: lifeSeconds,
  });
}

/**
 * Gives the instance that a call to this service is for. The key is chosen by `kid` from our own ring, the algorithm is
 * the key's; both programs run on one machine, so the clock has no leeway.
 * @throws AppError UNAUTHENTICATED
 */
export function verifyInternalCall(
  keys: VerificationKeys,
  bearerToken: string,
  service: string,
): Pick<InternalCall, 'instanceId'> {
  const header = jwt.decode(bearerToken, { complete: true })?.header;
  const key = typeof header?.kid === 'string' ? keys.get(header.kid) : undefined;
  if (key === undefined || header?.typ !== type) throw refused('its header is not that of an internal call');
  let claims: string | jwt.JwtPayload;
  try {
    claims = jwt.verify(bearerToken, key, {
      algorithms: [jwtAlgorithm],
      issuer,
      audience: toAudience(service),
    });
  } catch (cause) {
    throw refused('its signature, time or audience is wrong', cause);
  }
  if (typeof claims === 'string' || typeof claims.sub !== 'string') throw refused('it names no instance');
  return { instanceId: claims.sub };
}

function refused(why: string, cause?: unknown): AppError {
  return new AppError('UNAUTHENTICATED', `internal call: ${why}`, cause === undefined ? {} : { cause });
}
