import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import jwt from 'jsonwebtoken';
import { signInternalCall } from '../../../backend/src/services/internalCalls.js';
import { newJwtKeysFiles, parseSigningKeys } from '../../../backend/src/services/jwtKeys.js';
import { anApiService, aKeyMethod, aTool } from '../../support/anApiService.js';
import { callAuditOf } from '../../support/callAudit.js';
import { waitUntil } from '../../support/eventually.js';
import { send, type RawAnswer } from '../../support/mcpHttp.js';
import { json, startRecordingUpstream, type RecordingUpstream } from '../../support/recordingUpstream.js';
import {
  openUniversalServer,
  type InstanceUrl,
  type UniversalServer,
} from '../../support/universalServer.js';

describe('12.10 the internal endpoint that probes a credential', () => {
  let upstream: RecordingUpstream;
  let server: UniversalServer;
  let alice: InstanceUrl;

  beforeAll(async () => {
    upstream = await startRecordingUpstream();
    const probe = {
      request: { path: '/me', headers: { authorization: { $userToken: 'Bearer {{token}}' } } },
      identity: { label: '/login' },
      reject: { '401': 'Notes did not accept this key.' },
    };
    const definition = anApiService(
      { baseUrl: upstream.origin, tools: [aTool('get', { method: 'GET', path: '/' })] },
      { credentials: { methods: [{ ...aKeyMethod, probe }] } },
    );
    server = await openUniversalServer({ definition });
    alice = await server.aUrl({ fields: { token: 'key-of-alice' } });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await upstream[Symbol.asyncDispose]();
  });
  beforeEach(() => upstream.clear());

  const probe = (id: string, authorization: string | null, method = 'POST'): Promise<RawAnswer> =>
    send(`${server.origin}/internal/v1/instances/${id}/probe`, {
      method,
      headers: authorization === null ? {} : { authorization },
      ...(method === 'POST' ? { body: { staged: false } } : {}),
    });
  const tell = (authorization: string | null, collection = 'instances', method = 'POST') =>
    send(`${server.origin}/internal/v1/${collection}/${alice.id}/changed`, {
      method,
      headers: authorization === null ? {} : { authorization },
    });
  const signed = (claims: { service?: string; instanceId?: string } = {}): string =>
    `Bearer ${signInternalCall(server.signingKeys, { service: 'notes', instanceId: alice.id, ...claims })}`;
  /** Signed with the right key, but for what the test changes. */
  const forged = (changes: jwt.SignOptions, header: Partial<jwt.JwtHeader> = {}): string => {
    const { kid, privateKey } = server.signingKeys;
    const text = jwt.sign({}, privateKey, {
      algorithm: 'ES256',
      keyid: kid,
      header: { alg: 'ES256', typ: 'internal+jwt', ...header },
      issuer: 'portolan-main-api',
      audience: 'mcp-notes',
      subject: alice.id,
      expiresIn: 10,
      ...changes,
    });
    return `Bearer ${text}`;
  };

  it('12.10 probes with the instance’s own credential when the main API asks, and audits it', async () => {
    upstream.on('/me', json(200, { login: 'alice' }), json(401, {}));
    const accepted = await probe(alice.id, signed());
    expect([accepted.status, accepted.json]).toEqual([
      200,
      { outcome: 'accepted', identity: { label: 'alice' } },
    ]);
    expect(upstream.requests[0]?.headers.authorization).toBe('Bearer key-of-alice');
    expect((await probe(alice.id, signed())).json).toEqual({
      outcome: 'rejected',
      reason: 'Notes did not accept this key.',
    });
    // What the forger of the tests below signs would pass, were nothing changed.
    upstream.on('/me', json(200, {}));
    expect((await probe(alice.id, forged({}))).status).toBe(200);
    await waitUntil('each probe has its intent and outcome', async () => {
      const rows = (await callAuditOf(server, alice.id)).filter(({ method }) => method === 'probe');
      return rows.length === 6;
    });
  });

  it.each<[string, () => string | null]>([
    ['nothing', () => null],
    ['no bearer', () => 'Basic YTpi'],
    ['text that is no JWT', () => 'Bearer x.y.z'],
    ['another service’s audience', () => signed({ service: 'other' })],
    ['another instance', () => signed({ instanceId: randomUUID() })],
    ['an hour that is over', () => forged({ expiresIn: -1 })],
    ['a time that is to come', () => forged({ notBefore: 60 })],
    ['another issuer', () => forged({ issuer: 'somebody' })],
    ['the type of an access token', () => forged({}, { typ: 'at+jwt' })],
    ['a key that is not in the ring', () => forged({ keyid: 'unknown' })],
    [
      'the right key id over a key of their own',
      () => {
        const own = parseSigningKeys(newJwtKeysFiles(randomUUID).privateText);
        const keys = { ...own, kid: server.signingKeys.kid };
        return `Bearer ${signInternalCall(keys, { service: 'notes', instanceId: alice.id })}`;
      },
    ],
    [
      'no signature at all',
      () => {
        const [header, payload] = signed().slice(7).split('.');
        const none = { ...JSON.parse(Buffer.from(header ?? '', 'base64url').toString()), alg: 'none' };
        return `Bearer ${Buffer.from(JSON.stringify(none)).toString('base64url')}.${payload}.`;
      },
    ],
  ])('12.10 refuses %s with 401 and contacts nobody', async (_what, authorization) => {
    const answer = await probe(alice.id, authorization());
    expect([answer.status, answer.json.code]).toEqual([401, 'UNAUTHENTICATED']);
    expect(answer.text).not.toContain(alice.id);
    expect(upstream.requests).toHaveLength(0);
  });

  it('A04 hears that an instance was changed from the main API alone, and of that instance alone', async () => {
    expect((await tell(signed())).status).toBe(204);
    for (const refused of [null, signed({ instanceId: randomUUID() }), signed({ service: 'other' })])
      expect((await tell(refused)).status).toBe(401);
    expect((await tell(signed(), 'instances', 'GET')).status).toBe(404);
    expect((await tell(signed(), 'shared-credentials')).status).toBe(404);
  });

  it('12.10 knows an instance only as the service it is of, and only by POST', async () => {
    const strange = randomUUID();
    expect((await probe(strange, signed({ instanceId: strange }))).status).toBe(404);
    const { site } = server;
    const elsewhere = await site.anInstance({ owner: await site.aUser(), service: 'other', prefix: 'oth' });
    expect((await probe(elsewhere.id, signed({ instanceId: elsewhere.id }))).status).toBe(404);
    expect((await probe(alice.id, signed(), 'GET')).status).toBe(404);
    expect((await probe('not-a-uuid', signed())).status).toBe(404);
    expect(upstream.requests).toHaveLength(0);
  });
});
