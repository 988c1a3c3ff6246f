/** REST calls and the missing credential of an `api` service through a whole universal server. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { anApiService, aTool } from '../../support/anApiService.js';
import { callAuditOf } from '../../support/callAudit.js';
import { waitUntil } from '../../support/eventually.js';
import { initialize, modern, send } from '../../support/mcpHttp.js';
import { json, startRecordingUpstream, type RecordingUpstream } from '../../support/recordingUpstream.js';
import { openUniversalServer, revokeInstance, type UniversalServer } from '../../support/universalServer.js';

const get = (url: string) => send(url, { method: 'GET', headers: { accept: 'application/json' } });
const adminsOwn = 'the-admins-own-key';

describe('an api service at its port', () => {
  let notes: RecordingUpstream;
  let server: UniversalServer;

  beforeAll(async () => {
    notes = await startRecordingUpstream();
    notes.on('/files/12345', json(200, { name: 'a drawing' }));
    const read = {
      annotations: { readOnlyHint: true },
      inputSchema: { type: 'object', required: ['id'], properties: { id: { type: 'string' } } },
    };
    const definition = anApiService(
      {
        baseUrl: notes.origin,
        egress: { allowPrivate: true },
        tools: [
          aTool('get_file', { method: 'GET', path: '/files/{id}' }, read),
          aTool('delete_file', { method: 'DELETE', path: '/files/{id}' }, { inputSchema: read.inputSchema }),
        ],
      },
      { adminConfig: { token: adminsOwn } },
    );
    server = await openUniversalServer({ definition });
  });
  beforeEach(() => notes.clear());
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await notes[Symbol.asyncDispose]();
  });

  it('U09 I05 answers get-file/12345 with the user’s own credential, audited; an unknown instance is 401', async () => {
    const alice = await server.aUrl({ fields: { token: 'key-of-alice' } });
    const answer = await get(`${alice.url}/get-file/12345`);
    expect([answer.status, answer.json]).toEqual([
      200,
      { status: 200, data: { name: 'a drawing' }, userId: alice.owner },
    ]);
    expect(notes.requests.map(({ method, target }) => `${method} ${target}`)).toEqual(['GET /files/12345']);
    expect(notes.requests[0]?.headers.authorization).toBe('Bearer key-of-alice');
    await waitUntil('the call is audited', async () => (await callAuditOf(server, alice.id)).length === 2);
    expect(await callAuditOf(server, alice.id)).toMatchObject([
      { phase: 'intent', method: 'rest', name: 'get_file' },
      { phase: 'outcome', outcome: 'ok' },
    ]);

    expect((await get(`${alice.url}/delete-file/12345`)).status).toBe(403);
    expect((await send(`${alice.url}/get-file/12345`, { body: {} })).status).toBe(405);
    await revokeInstance(server, alice);
    await waitUntil('the URL is dead', async () => (await get(`${alice.url}/get-file/12345`)).status === 401);
    const refused = await get(`${alice.url}/get-file/12345`);
    expect(refused.json).toMatchObject({ status: 401, code: 'INVALID_INSTANCE' });
    expect(notes.requests.filter(({ method }) => method !== 'GET')).toEqual([]);
  });

  it('A09 I07 without a credential says how to set it up, and the admin’s never leaves', async () => {
    const bob = await server.aUrl();
    const problem = await get(`${bob.url}/get-file/12345`);
    expect([problem.status, problem.json.code]).toEqual([401, 'CREDENTIAL_MISSING']);
    const session = await initialize(bob.url);
    const call = await session.call('get_file', { id: '12345' });
    expect([call.status, call.json.result.isError]).toEqual([200, true]);
    expect(call.text).toContain('http');
    const listed = await send(bob.url, modern('tools/list'));
    expect(listed.json.result.tools.map(({ name }: { name: string }) => name)).toEqual(['connect_notes']);
    expect(notes.requests).toEqual([]);
    for (const { text } of [problem, call, listed]) expect(text).not.toContain(adminsOwn);
  });
});
