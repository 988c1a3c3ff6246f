import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { JsonObject } from '../../../backend/src/mcp-servers/universal-mcp-server/protocol/jsonRpc.js';
import type { ProbeOutcome } from '../../../backend/src/mcp-servers/universal-mcp-server/upstream/upstream.js';
import {
  aKeyMethod,
  anApiService,
  aTool,
  openApi,
  termsOf,
  type OpenedApi,
} from '../../support/anApiService.js';
import {
  hang,
  json,
  redirect,
  reply,
  startRecordingUpstream,
  type RecordingUpstream,
} from '../../support/recordingUpstream.js';

describe('the probe of a credential', () => {
  let site: RecordingUpstream;
  const open: OpenedApi[] = [];
  beforeAll(async () => {
    site = await startRecordingUpstream();
  });
  afterAll(async () => {
    await site[Symbol.asyncDispose]();
  });
  beforeEach(() => site.clear());
  afterEach(async () => {
    for (const one of open.splice(0)) await one[Symbol.asyncDispose]();
  });

  async function probe(
    declared: JsonObject | undefined,
    terms = termsOf('alice'),
    signal?: AbortSignal,
  ): Promise<ProbeOutcome> {
    const method = declared === undefined ? aKeyMethod : { ...aKeyMethod, probe: declared };
    const api = { baseUrl: site.origin, tools: [aTool('get', { method: 'GET', path: '/' })] };
    const opened = await openApi(anApiService(api, { credentials: { methods: [method] } }));
    open.push(opened);
    return opened.upstream.probe(terms, signal ?? new AbortController().signal);
  }

  const declared = (): JsonObject => ({
    request: { url: `${site.origin}/me?full=1`, headers: { 'X-Token': { $userToken: '{{token}}' } } },
    identity: { id: '/id', label: '/names/0', avatarUrl: '/avatar' },
    reject: { '401': 'Notes did not accept this token.' },
  });

  it('I01 accepts what the service accepts, and says who it is', async () => {
    site.on('/me', json(200, { id: 7, names: ['@octocat'], avatar: 'https://img.example.com/7.png' }));
    expect(await probe(declared())).toEqual({
      outcome: 'accepted',
      identity: { id: '7', label: '@octocat', avatarUrl: 'https://img.example.com/7.png' },
    });
    expect(site.requests[0]).toMatchObject({ method: 'GET', target: '/me?full=1' });
    expect(site.requests[0]?.headers).toMatchObject({ 'x-token': 'key-of-alice' });
  });

  it('I01 shows no identity that is not there, and no image that is not https', async () => {
    site.on('/me', json(200, { id: null, names: [], avatar: 'javascript:alert(1)' }));
    expect(await probe(declared())).toEqual({ outcome: 'accepted' });
  });

  it('I01 rejects with the declared words, or plain ones', async () => {
    site.on('/me', json(401, {}), json(403, {}));
    expect(await probe(declared())).toEqual({
      outcome: 'rejected',
      reason: 'Notes did not accept this token.',
    });
    expect(await probe(declared())).toEqual({
      outcome: 'rejected',
      reason: 'The service did not accept the credential (status 403).',
    });
  });

  it('I01 looks at a place in the answer where the status says nothing', async () => {
    const slack = { ...declared(), expect: { status: [200], jsonPointer: '/ok', equals: true } };
    site.on('/me', json(200, { ok: false, error: 'invalid_auth' }), json(200, { ok: true, id: 'U1' }));
    expect(await probe(slack)).toMatchObject({ outcome: 'rejected' });
    expect(await probe(slack)).toEqual({ outcome: 'accepted', identity: { id: 'U1' } });
  });

  it('I01 sends a declared body', async () => {
    site.on('/me', json(200, {}));
    const { request } = declared();
    await probe({
      request: { ...(request as JsonObject), method: 'POST', body: { key: { $userToken: '{{token}}' } } },
    });
    expect(site.requests[0]).toMatchObject({ method: 'POST', body: '{"key":"key-of-alice"}' });
    expect(site.requests[0]?.headers['content-type']).toBe('application/json');
  });

  it.each([429, 500, 503])('holds status %i to be no verdict on the credential', async (status) => {
    site.on('/me', reply(status, ''));
    expect(await probe(declared())).toMatchObject({ outcome: 'unreachable' });
  });

  it('E04 takes a redirect for a refusal and does not follow it', async () => {
    await using other = await startRecordingUpstream();
    site.on('/me', redirect(302, `${other.origin}/`));
    expect(await probe(declared())).toMatchObject({ outcome: 'rejected' });
    expect(other.requests).toHaveLength(0);
  });

  it('R05 calls a service that hangs, or is not there, unreachable', async () => {
    site.on('/me', hang);
    expect(await probe({ ...declared(), timeoutMs: 200 })).toMatchObject({ outcome: 'unreachable' });
    const gone = await startRecordingUpstream();
    await gone[Symbol.asyncDispose]();
    expect(await probe({ request: { url: `${gone.origin}/me` } })).toMatchObject({ outcome: 'unreachable' });
  });

  it('E08 rejects a credential that the header cannot carry, without sending or quoting it', async () => {
    const outcome = await probe(declared(), termsOf('alice', 'canary\r\nx: y'));
    expect(outcome.outcome).toBe('rejected');
    expect(JSON.stringify(outcome)).not.toContain('canary');
    expect(site.requests).toHaveLength(0);
  });

  it('12.10 leaves a credential unverified when nothing is declared', async () => {
    expect(await probe(undefined)).toEqual({ outcome: 'unverified' });
    expect(site.requests).toHaveLength(0);
  });

  it('R23 ends with the signal', async () => {
    site.on('/me', hang);
    const stop = new AbortController();
    const asked = probe(declared(), termsOf('alice'), stop.signal);
    await site.until(() => site.requests.length === 1);
    stop.abort(new Error('enough'));
    await expect(asked).rejects.toThrow('enough');
  });
});
