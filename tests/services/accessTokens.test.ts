/** Access tokens: only what this installation signed, as an access token, lately, is one. */
import {
  createHmac,
  createPublicKey,
  generateKeyPairSync,
  randomUUID,
  sign,
  type KeyObject,
} from 'node:crypto';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import jwt from 'jsonwebtoken';
import { accessTokenSeconds, createAccessTokens } from '../../backend/src/services/accessTokens.js';
import { signInternalCall, verifyInternalCall } from '../../backend/src/services/internalCalls.js';
import {
  newJwtKeysFiles,
  parseSigningKeys,
  parseVerificationKeys,
} from '../../backend/src/services/jwtKeys.js';

const issuer = 'https://ports.example.com';
const files = newJwtKeysFiles(randomUUID);
const keys = parseSigningKeys(files.privateText);
const tokens = createAccessTokens({ keys, now: Date.now, issuer, newId: randomUUID });
const claims = { userId: randomUUID(), sessionId: randomUUID() };

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const nowSeconds = (): number => Math.floor(Date.now() / 1000);

interface Change {
  readonly header?: Record<string, unknown>;
  readonly payload?: Record<string, unknown>;
  readonly key?: KeyObject;
}

/** A token that is right but for what is changed, signed by hand so that no library stands in the way. */
function aToken({ header = {}, payload = {}, key = keys.privateKey }: Change = {}): string {
  const iat = nowSeconds();
  const signed = [
    encode({ alg: 'ES256', typ: 'at+jwt', kid: keys.kid, ...header }),
    encode({
      sub: claims.userId,
      sid: claims.sessionId,
      jti: randomUUID(),
      iss: issuer,
      aud: 'portolan-api',
      iat,
      exp: iat + 60,
      ...payload,
    }),
  ].join('.');
  const signature = sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}

const refusal = expect.objectContaining({ code: 'UNAUTHENTICATED' });

function expectRefused(token: string): void {
  expect(() => tokens.verify(token)).toThrow(refusal);
}

describe('access tokens', () => {
  it('are what RFC 9068 asks for, and tell who and which session', () => {
    const token = tokens.sign(claims);
    expect(tokens.verify(token)).toEqual(claims);
    expect(tokens.verify(aToken())).toEqual(claims);
    const { header, payload } = jwt.decode(token, { complete: true })!;
    expect(header).toMatchObject({ alg: 'ES256', typ: 'at+jwt', kid: keys.kid });
    const body = payload as jwt.JwtPayload;
    expect(Object.keys(body).sort()).toEqual(['aud', 'exp', 'iat', 'iss', 'jti', 'sid', 'sub']);
    expect(body.exp! - body.iat!).toBe(accessTokenSeconds);
    expect(accessTokenSeconds).toBeLessThanOrEqual(600);
  });

  it('B01 are refused unsigned, or signed with the public key as an HMAC key', () => {
    const [, payload] = aToken().split('.') as [string, string];
    for (const alg of ['none', 'None', 'nOnE']) {
      const header = encode({ alg, typ: 'at+jwt', kid: keys.kid });
      expectRefused(`${header}.${payload}.`);
      expectRefused(`${header}.${payload}.${aToken().split('.')[2]}`);
    }
    const publicKey = createPublicKey(keys.privateKey);
    for (const secret of [
      publicKey.export({ type: 'spki', format: 'pem' }),
      publicKey.export({ type: 'spki', format: 'der' }),
      JSON.stringify(publicKey.export({ format: 'jwk' })),
    ]) {
      const signed = `${encode({ alg: 'HS256', typ: 'at+jwt', kid: keys.kid })}.${payload}`;
      expectRefused(`${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`);
    }
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    expect(() => tokens.verify(aToken({ key: other }))).toThrow(refusal);
    const token = aToken();
    for (const at of [5, token.indexOf('.') + 5, token.lastIndexOf('.') + 5]) {
      expectRefused(token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1));
    }
  });

  it('B02 are refused for another audience or issuer, too old, too early, too long-lived or incomplete', () => {
    const now = nowSeconds();
    for (const payload of [
      { aud: 'mcp-notes' },
      { aud: undefined },
      { iss: 'https://evil.example' },
      { iss: undefined },
      { exp: now - 31, iat: now - 60 },
      { nbf: now + 60 },
      { exp: now + 86_400 },
      { exp: undefined },
      { sub: undefined },
      { sub: 'admin' },
      { sid: undefined },
      { sid: "' or 1=1 --" },
      { jti: undefined },
    ]) {
      expectRefused(aToken({ payload }));
    }
    for (const typ of ['JWT', 'rt+jwt', 'internal+jwt', undefined])
      expectRefused(aToken({ header: { typ } }));
    // The leeway of 30 s is for clocks that differ.
    expect(tokens.verify(aToken({ payload: { exp: now - 20, iat: now - 80 } }))).toEqual(claims);
    expectRefused(randomUUID());
    expectRefused('a.b.c');
    expectRefused('');
  });

  it('B02 are told apart from internal calls, both ways', () => {
    const instanceId = randomUUID();
    const internal = signInternalCall(keys, { service: 'notes', instanceId });
    expectRefused(internal);
    const verification = parseVerificationKeys(files.publicText);
    expect(verifyInternalCall(verification, internal, 'notes')).toEqual({ instanceId });
    expect(() => verifyInternalCall(verification, tokens.sign(claims), 'notes')).toThrow('internal call');
  });

  it('B03 take their key from the ring by kid and from nowhere else; nothing is fetched', async () => {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url ?? '');
      response.end(JSON.stringify({ keys: [] }));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
    const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const jwk = own.publicKey.export({ format: 'jwk' });
    for (const kid of [
      '../../../dev/null',
      "x' union select",
      '',
      '__proto__',
      'constructor',
      undefined,
      1,
      null,
      ['a'],
    ]) {
      expectRefused(aToken({ header: { kid }, key: own.privateKey }));
      expectRefused(aToken({ header: { kid } }));
    }
    for (const header of [{ jku: url }, { x5u: url }, { jwk }, { x5c: [url] }, { jwk, kid: undefined }]) {
      expectRefused(aToken({ header, key: own.privateKey }));
    }
    server.close();
    await once(server, 'close');
    expect(asked).toEqual([]);
  });
});
