import { randomUUID } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import jwt from 'jsonwebtoken';
import { createAccessTokens } from '../../backend/src/services/accessTokens.js';
import { signInternalCall, verifyInternalCall } from '../../backend/src/services/internalCalls.js';
import {
  newJwtKeysFiles,
  parseSigningKeys,
  parseVerificationKeys,
} from '../../backend/src/services/jwtKeys.js';

const files = newJwtKeysFiles(randomUUID);
const signing = parseSigningKeys(files.privateText);
const verification = parseVerificationKeys(files.publicText);
const call = { service: 'notes', instanceId: randomUUID() };
const refused = expect.objectContaining({ code: 'UNAUTHENTICATED' });

describe('internal calls', () => {
  it('I01 names the instance that the main API signed for, to that service only', () => {
    const signed = signInternalCall(signing, call);
    expect(verifyInternalCall(verification, signed, 'notes')).toEqual({ instanceId: call.instanceId });
    expect(() => verifyInternalCall(verification, signed, 'other')).toThrow(refused);
  });

  it('B01 B02 B03 refuses what was signed otherwise, is over, is an access token, or brings a key of its own', () => {
    const { privateKey, kid } = signing;
    const publicPem = verification.get(kid)!.export({ type: 'spki', format: 'pem' });
    const header = { typ: 'internal+jwt', alg: 'ES256' } as const;
    const claims = { issuer: 'portolan-main-api', audience: 'mcp-notes', subject: call.instanceId };
    const other = parseSigningKeys(newJwtKeysFiles(randomUUID).privateText);
    const payload = Buffer.from(JSON.stringify({ sub: call.instanceId })).toString('base64url');
    const none = Buffer.from(JSON.stringify({ ...header, alg: 'none', kid })).toString('base64url');
    const forged = [
      `${none}.${payload}.`,
      jwt.sign({}, publicPem, {
        ...claims,
        algorithm: 'HS256',
        keyid: kid,
        header: { ...header, alg: 'HS256' },
      }),
      jwt.sign({}, privateKey, { ...claims, algorithm: 'ES256', keyid: kid, header, expiresIn: -1 }),
      jwt.sign({}, privateKey, { ...claims, algorithm: 'ES256', keyid: kid, header, notBefore: 60 }),
      jwt.sign({}, privateKey, { ...claims, issuer: 'other', algorithm: 'ES256', keyid: kid, header }),
      jwt.sign({}, other.privateKey, { ...claims, algorithm: 'ES256', keyid: kid, header }),
      jwt.sign({}, other.privateKey, { ...claims, algorithm: 'ES256', keyid: '../jwt-keys.json', header }),
      jwt.sign({}, other.privateKey, {
        ...claims,
        algorithm: 'ES256',
        keyid: kid,
        header: { ...header, jku: 'http://127.0.0.1:9/keys' } as unknown as jwt.JwtHeader,
      }),
      createAccessTokens({
        keys: signing,
        now: Date.now,
        issuer: 'http://localhost:8080',
        newId: randomUUID,
      }).sign({
        userId: randomUUID(),
        sessionId: randomUUID(),
      }),
      'not a token',
      '',
    ];
    for (const one of forged) expect(() => verifyInternalCall(verification, one, 'notes')).toThrow(refused);
  });
});
