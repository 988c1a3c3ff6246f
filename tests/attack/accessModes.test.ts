/**
 * Instances that want more than their URL (05, "Access modes"): every transport and route of the service's port, with
 * every bearer credential that is not the right one. Nothing may be contacted for any of them.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import jwt from 'jsonwebtoken';
import { withUser } from '../../backend/src/database/withUser.js';
import { createBearerKey } from '../../backend/src/services/bearerKeys.js';
import { createApiKey } from '../../backend/src/stores/apiKeysStore.js';
import { digestOf } from '../../backend/src/services/opaqueSecret.js';
import {
  aSession,
  anAccessKey,
  bearing,
  endSession,
  revokeKey,
  setAccessOf,
} from '../support/accessTerms.js';
import { anApiService, aTool } from '../support/anApiService.js';
import { waitUntil } from '../support/eventually.js';
import { initialize, modern, openEvents, send, type RawRequest } from '../support/mcpHttp.js';
import { json, startRecordingUpstream, type RecordingUpstream } from '../support/recordingUpstream.js';
import { openUniversalServer, type InstanceUrl, type UniversalServer } from '../support/universalServer.js';

const readOnly = { annotations: { readOnlyHint: true } };

/** Each transport and route of the port, as somebody sends it who took part in it before. */
const requests = (
  session: Readonly<Record<string, string>>,
): Readonly<Record<string, [string, RawRequest]>> => {
  const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'get_file', arguments: {} } };
  const stream = { ...session, accept: 'text/event-stream' };
  return {
    'a modern call': ['', modern('tools/call', { name: 'get_file', arguments: {} })],
    'a modern stream': [
      '/mcp',
      modern('subscriptions/listen', { notifications: { toolsListChanged: true } }),
    ],
    'a legacy initialize': ['', { body: { jsonrpc: '2.0', id: 1, method: 'initialize', params: {} } }],
    'a legacy call': ['/mcp', { headers: session, body: call }],
    'a legacy batch': ['', { headers: session, body: [call, { ...call, id: 2 }] }],
    'a legacy answer': ['', { headers: session, body: { jsonrpc: '2.0', id: 1, result: {} } }],
    'a GET stream': ['', { method: 'GET', headers: stream }],
    'a stream that is taken up again': ['', { method: 'GET', headers: { ...stream, 'last-event-id': '1' } }],
    'the end of a session': ['', { method: 'DELETE', headers: session }],
    'an HTTP+SSE stream': ['/sse', { method: 'GET', headers: stream }],
    'a message of HTTP+SSE': ['/message?sessionId=x', { body: call }],
    'a REST call': ['/get-file', { method: 'GET' }],
    'another method': ['', { method: 'PUT', body: call }],
  };
};

describe('an instance that wants a bearer credential', () => {
  let notes: RecordingUpstream;
  let server: UniversalServer;
  let alice: InstanceUrl;
  let goodKey: string;
  /** By what it is; each is refused with that status. */
  const wrong = new Map<string, { readonly header?: string; readonly status: number }>();

  beforeAll(async () => {
    notes = await startRecordingUpstream();
    notes.on('/files', json(200, { name: 'a drawing' }));
    const tools = [aTool('get_file', { method: 'GET', path: '/files' }, readOnly)];
    const definition = anApiService({ baseUrl: notes.origin, tools });
    server = await openUniversalServer({ definition });
    alice = await server.aUrl({ fields: { token: 'key-of-alice' } });
    const other = await server.aUrl({ owner: alice.owner, label: 'other', fields: { token: 'x' } });
    const mallory = await server.site.aUser();
    await setAccessOf(server, alice, { accessMode: 'url+token' });
    await setAccessOf(server, other, { accessMode: 'url+token' });
    goodKey = (await anAccessKey(server, alice)).key;

    const revoked = await anAccessKey(server, alice);
    await revokeKey(server, alice, revoked);
    const ended = await anAccessKey(server, alice, new Date(Date.now() - 1_000));
    const loggedOut = await aSession(server, alice.owner);
    await endSession(server, alice.owner, loggedOut);
    const personal = createBearerKey(randomBytes);
    await withUser(server.site.api, { userId: alice.owner, scope: 'self' }, (db) =>
      createApiKey(db, {
        id: randomUUID(),
        userId: alice.owner,
        name: 'personal',
        hint: personal.hint,
        digest: digestOf(personal.key),
        expiresAt: null,
      }),
    );
    const good = (await aSession(server, alice.owner)).accessToken;
    const claims = jwt.decode(good) as jwt.JwtPayload;
    const forge = (header: object, changes: object = {}, key: jwt.Secret = server.signingKeys.privateKey) =>
      jwt.sign({ ...claims, ...changes }, key, {
        algorithm: 'ES256',
        header: { alg: 'ES256', typ: 'at+jwt', kid: server.signingKeys.kid, ...header },
      });
    const unsigned = `${Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')}.${good.split('.')[1]}.`;
    const second = Math.floor(Date.now() / 1_000);
    const bearers: Record<string, string> = {
      'a key that nobody has': createBearerKey(randomBytes).key,
      'a key with a typo': `${goodKey.slice(0, -1)}${goodKey.endsWith('0') ? '1' : '0'}`,
      'a key of another instance': (await anAccessKey(server, other)).key,
      'a revoked key': revoked.key,
      'a key that ended': ended.key,
      'the instance id': alice.instanceId,
      'a personal API key of the owner': personal.key,
      'an access token of an ended session': loggedOut.accessToken,
      'B01 an unsigned access token': unsigned,
      'B02 an access token that ended': forge({}, { iat: second - 700, exp: second - 100 }),
      'B02 one for another audience': forge({}, { aud: 'mcp-notes' }),
      'B02 an internal call': forge({ typ: 'internal+jwt' }),
      'B03 one of another kid': forge({ kid: '../jwt-keys' }),
    };
    for (const [name, bearer] of Object.entries(bearers))
      wrong.set(name, { header: `Bearer ${bearer}`, status: 401 });
    wrong.set('no credential', { status: 401 });
    wrong.set('another scheme', {
      header: `Basic ${Buffer.from(`a:${goodKey}`).toString('base64')}`,
      status: 401,
    });
    wrong.set('an access token of somebody else', {
      header: `Bearer ${(await aSession(server, mallory)).accessToken}`,
      status: 403,
    });
    notes.clear();
  }, 60_000);
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await notes[Symbol.asyncDispose]();
  });

  it('A03 B01 B02 B03 B04 turns every wrong credential away on every transport and route, with one answer, and contacts nobody', async () => {
    const { headers } = await initialize(alice.url, {}, bearing(goodKey));
    const { authorization, ...session } = headers as Record<string, string>;
    expect(authorization).toBe(bearing(goodKey).authorization);
    notes.clear();
    // From an address each, for one that is wrong too often is only told to wait.
    let host = 0;
    for (const [what, [path, request]] of Object.entries(requests(session))) {
      const bodies = new Set<string>();
      for (const [credential, { header, status }] of wrong) {
        host += 1;
        const answer = await send(`${alice.url}${path}`, {
          ...request,
          localAddress: `127.1.${host >> 7}.${(host & 127) + 1}`,
          headers: { ...request.headers, ...(header === undefined ? {} : { authorization: header }) },
        });
        expect({ what, credential, status: answer.status }).toEqual({ what, credential, status });
        const challenge = answer.headers['www-authenticate'];
        // A client that is told of metadata, or of a scope, begins a sign-in by OAuth.
        expect(String(challenge)).not.toMatch(/resource_metadata|scope|authorization_uri/);
        expect(challenge === undefined).toBe(status === 403);
        expect(answer.text).not.toContain(alice.instanceId);
        if (status === 401 && header?.startsWith('Bearer')) bodies.add(answer.text);
      }
      expect({ what, bodies: bodies.size }).toEqual({ what, bodies: 1 });
    }
    expect(notes.requests).toEqual([]);
    // All of them are told to the owner, and none as a call.
    const superuser = await server.site.db.superuser();
    await waitUntil('all refusals are in the audit', async () => {
      const { rows } = await superuser.query<{ outcome: string; n: number }>(
        `select outcome, count(*)::int as n from audit_calls
         where instance_id = $1 and user_id = $2 and error_code like any (array['BEARER%', 'ACCESS%']) group by 1`,
        [alice.id, alice.owner],
      );
      return rows.length === 1 && rows[0]?.outcome === 'refused' && rows[0].n === host;
    });
  }, 120_000);

  it('D07 lets the right key and the owner’s access token in on every transport and route, and passes neither on', async () => {
    const { accessToken } = await aSession(server, alice.owner);
    for (const bearer of [goodKey, accessToken]) {
      const { headers: session } = await initialize(alice.url, {}, bearing(bearer));
      for (const [what, [path, request]] of Object.entries(requests(session))) {
        const headers = { ...request.headers, ...bearing(bearer) };
        const reader = await openEvents(`${alice.url}${path}`, { ...request, headers });
        expect({ what, isIn: ![401, 403].includes(reader.status) }).toEqual({ what, isIn: true });
        reader.close();
      }
    }
    expect(notes.requests.length).toBeGreaterThan(0);
    for (const { headers } of notes.requests) {
      expect(headers.authorization).toBe('Bearer key-of-alice');
      expect(JSON.stringify(headers)).not.toContain(goodKey);
    }
  });

  it('asks for nothing where the URL is enough, whatever comes with it', async () => {
    const bob = await server.aUrl({ fields: { token: 'key-of-bob' } });
    const { headers: session } = await initialize(bob.url);
    for (const header of [undefined, `Bearer ${createBearerKey(randomBytes).key}`]) {
      for (const [what, [path, request]] of Object.entries(requests(session))) {
        const headers = { ...request.headers, ...(header === undefined ? {} : { authorization: header }) };
        const reader = await openEvents(`${bob.url}${path}`, { ...request, headers });
        expect({ what, isIn: ![401, 403].includes(reader.status) }).toEqual({ what, isIn: true });
        reader.close();
      }
    }
  });
});
