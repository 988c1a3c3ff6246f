/**
 * The ring of keys that access tokens and internal calls are signed with: ES256 (RFC 7518 §3.4), one of them signing,
 * all of them verifying. The private file holds JSON Web Keys (RFC 7517) with `state: signing | verifying`; the public
 * one is a JWK set of the same `kid`s, which is all that service processes ever read.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { AppError } from '../errors/appError.js';
import { ringHoldsKey, type KeyRing } from '../vault/keyRing.js';
import { findKeyWeakness } from '../vault/weakKey.js';

export const jwtAlgorithm = 'ES256';

export interface SigningKeys {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly verification: VerificationKeys;
}

/** Public keys by `kid`. */
export type VerificationKeys = ReadonlyMap<string, KeyObject>;

const base64urlOf32Bytes = z.string().regex(/^[A-Za-z0-9_-]{43}$/);
const kid = z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/);
const publicJwk = z.object({
  kty: z.literal('EC'),
  crv: z.literal('P-256'),
  x: base64urlOf32Bytes,
  y: base64urlOf32Bytes,
  kid,
  alg: z.literal(jwtAlgorithm),
  use: z.literal('sig'),
});
const privateFile = z.strictObject({
  keys: z
    .array(publicJwk.extend({ d: base64urlOf32Bytes, state: z.enum(['signing', 'verifying']) }))
    .min(1)
    .max(16),
});
const publicFile = z.strictObject({ keys: z.array(z.strictObject(publicJwk.shape)).min(1).max(16) });

/** Both files of a new installation: one signing key, whose `kid` begins with what it is for. */
export function newJwtKeysFiles(
  newId: () => string,
  use: 'jwt' | 'audit' = 'jwt',
): {
  readonly privateText: string;
  readonly publicText: string;
} {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x, y, d } = privateKey.export({ format: 'jwk' });
  const shared = {
    kty: 'EC',
    crv: 'P-256',
    x,
    y,
    kid: `${use}-${newId().slice(0, 8)}`,
    alg: jwtAlgorithm,
    use: 'sig',
  };
  return {
    privateText: `${JSON.stringify({ keys: [{ ...shared, d, state: 'signing' }] }, null, 2)}\n`,
    publicText: `${JSON.stringify({ keys: [shared] }, null, 2)}\n`,
  };
}

/** @throws AppError CONFIG_INVALID that says what is wrong with the file, never with what value. */
export function loadSigningKeys(path: string): SigningKeys {
  return parseSigningKeys(readKeysFile(path));
}

/** @throws AppError CONFIG_INVALID */
export function loadVerificationKeys(path: string): VerificationKeys {
  return parseVerificationKeys(readKeysFile(path));
}

export function parseSigningKeys(text: string): SigningKeys {
  const { keys } = parseWith(privateFile, text);
  const signing = keys.filter(({ state }) => state === 'signing');
  const [current] = signing;
  if (current === undefined || signing.length > 1) throw unusable('exactly one key has to be signing');
  for (const key of keys) {
    const weakness = findKeyWeakness(Buffer.from(key.d, 'base64url'));
    if (weakness !== null) throw unusable(`the key ${key.kid} is not fit for use: ${weakness}`);
  }
  const privateKeys = keys.map((key) => [key.kid, importKey(key.kid, () => privateKeyOf(key))] as const);
  const verification = new Map(privateKeys.map(([id, privateKey]) => [id, createPublicKey(privateKey)]));
  if (verification.size < keys.length) throw unusable('a kid is there twice');
  return { kid: current.kid, privateKey: privateKeys.find(([id]) => id === current.kid)![1], verification };
}

export function parseVerificationKeys(text: string): VerificationKeys {
  const { keys } = parseWith(publicFile, text);
  const found = new Map(
    keys.map(
      (key) =>
        [key.kid, importKey(key.kid, () => createPublicKey({ key: toJwk(key), format: 'jwk' }))] as const,
    ),
  );
  if (found.size < keys.length) throw unusable('a kid is there twice');
  return found;
}

/**
 * Refuses a start in which one secret has two uses: a KEK that is a JWT key as well (07 B08).
 * @throws AppError CONFIG_INVALID
 */
export function refuseSharedKeys(keys: SigningKeys, ring: KeyRing): void {
  const { d } = keys.privateKey.export({ format: 'jwk' });
  const scalar = Buffer.from(d ?? '', 'base64url');
  const isShared = ringHoldsKey(ring, scalar);
  scalar.fill(0);
  if (isShared)
    throw unusable(
      'the signing key is a key of the key ring (KEYRING_FILE) as well; each needs a key of its own',
    );
}

/** OpenSSL takes `d` and the point as they are given, so whether they belong together shows in a signature only. */
function privateKeyOf(key: z.output<typeof publicJwk> & { readonly d: string }): KeyObject {
  const privateKey = createPrivateKey({ key: { ...toJwk(key), d: key.d }, format: 'jwk' });
  const publicKey = createPublicKey({ key: toJwk(key), format: 'jwk' });
  const message = Buffer.from(key.kid);
  if (!verify('sha256', message, publicKey, sign('sha256', message, privateKey))) {
    throw unusable(`the halves of ${key.kid} do not belong together`);
  }
  return privateKey;
}

function toJwk({ kty, crv, x, y }: z.output<typeof publicJwk>): JsonWebKey {
  return { kty, crv, x, y };
}

function importKey(id: string, load: () => KeyObject): KeyObject {
  try {
    return load();
  } catch (thrown) {
    if (thrown instanceof AppError) throw thrown;
    throw unusable(`${id} is no point of P-256`);
  }
}

function readKeysFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new AppError('CONFIG_INVALID', `cannot read the JWT keys at ${path}; run the set-up first`, {
      cause,
    });
  }
}

function parseWith<S extends z.ZodType>(schema: S, text: string): z.output<S> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text, so it does not travel as a cause.
    throw unusable('the file is not JSON');
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const places = parsed.error.issues.map(({ path }) => `/${path.join('/')}`).join(', ');
  throw unusable(`the file has wrong members at ${places}`);
}

function unusable(fault: string): AppError {
  return new AppError('CONFIG_INVALID', `JWT keys (PORTOLAN_STATE_DIR/jwt-keys.json): ${fault}`);
}
