/** What is open upstream while its access token is renewed, or replaced by that of another sign-in (rows I10 and R20). */
import { randomUUID } from 'node:crypto';
import { describe, expect, it, jest } from '@jest/globals';
import { withUser } from '../../../backend/src/database/withUser.js';
import { createCredentialVault } from '../../../backend/src/services/credentialVault.js';
import { toGrant, toGrantFields } from '../../../backend/src/services/oauth/tokenGrant.js';
import {
  promoteStagedCredential,
  stageCredential,
} from '../../../backend/src/stores/instanceCredentialsStore.js';
import { beginRenewal, finishRenewal } from '../../../backend/src/stores/oauthRenewalsStore.js';
import { aRemoteService } from '../../support/aRemoteUpstream.js';
import { waitUntil } from '../../support/eventually.js';
import { openLegacyHttpServer } from '../../support/legacyHttpServer.js';
import { initialize, modern, send, textOf } from '../../support/mcpHttp.js';
import { openUniversalServer } from '../../support/universalServer.js';

jest.setTimeout(60_000);

const method = {
  id: 'sign-in',
  type: 'oauth2',
  label: 'Sign in',
  oauth2: {
    authorizationUrl: 'http://127.0.0.1:4999/auth',
    tokenUrl: 'http://127.0.0.1:4999/token',
    clientId: 'portolan',
    clientSecret: 'canary',
    scopes: ['notes'],
  },
  probe: { type: 'mcp' },
};

/** Of a sign-in, an hour before its end. */
const grantOf = (grantId: string, accessToken: string) => {
  const tokens = { accessToken, refreshToken: 'refresh', expiresInSeconds: 3_600, scope: null };
  return toGrantFields(toGrant(grantId, tokens, null, Date.now()));
};

/** An instance whose token is `first`, of the grant `one`, before a legacy server. */
async function openSignedIn(remote: { readonly session?: 'per-instance' } = {}) {
  const upstream = await openLegacyHttpServer();
  const settings = { protocol: 'legacy', ...remote };
  const definition = aRemoteService(upstream.url, settings, { credentials: { methods: [method] } });
  const server = await openUniversalServer({ definition });
  const { site } = server;
  const { url, id, owner } = await server.aUrl({
    method: 'sign-in',
    fields: Object.fromEntries(grantOf('one', 'first')),
  });
  const row = { id, userId: owner };
  const asOwner = <T>(work: Parameters<typeof withUser<T>>[2]): Promise<T> =>
    withUser(site.api, { userId: owner, scope: 'self' }, work);
  const seal = (fields: ReturnType<typeof grantOf>): Promise<Buffer> =>
    asOwner((client) =>
      createCredentialVault(site.vault).sealFields(client, row, 'sealed_credential', 2, fields),
    );
  const call = (name: string) => send(url, modern('tools/call', { name, arguments: {} }));
  return {
    upstream,
    url,
    call,
    /** As the process does whose turn it is. */
    async renew(): Promise<void> {
      const db = site.db.pool('service');
      const key = { id, service: definition.name, revision: 1, holder: randomUUID() };
      expect(await beginRenewal(db, key, 30_000)).toMatchObject({ kind: 'yours', nextRevision: 2 });
      expect(await finishRenewal(db, key, await seal(grantOf('one', 'second')))).toBe(true);
    },
    /** As the main API does after another sign-in. */
    async replace(): Promise<void> {
      const sealed = await seal(grantOf('two', 'second'));
      await asOwner(async (client) => {
        await stageCredential(client, row, { method: method.id, revision: 2, sealed });
        await promoteStagedCredential(client, row, { revision: 2, state: 'ready', identityLabel: null });
      });
    },
    /** Resolves when messages carry the second token. */
    reachSecond: (): Promise<void> =>
      waitUntil('the second token is used', async () => textOf(await call('caller')) === 'Bearer second'),
    sessionsSeen: (): unknown[] => [
      ...new Set(upstream.of('tools/call').map(({ headers }) => headers['mcp-session-id'])),
    ],
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

describe('an access token that is renewed', () => {
  it.each([{}, { session: 'per-instance' } as const])(
    'I10 R20 lets a call in flight of a modern client end well, in the same session upstream: %j',
    async (remote) => {
      await using site = await openSignedIn(remote);
      const waiting = site.call('wait');
      await waitUntil('the call is upstream', () => site.upstream.of('tools/call').length === 1);
      await site.renew();
      await site.reachSecond();
      site.upstream.release();
      expect(textOf(await waiting)).toBe('released');
      expect(site.sessionsSeen()).toHaveLength(1);
      expect(site.upstream.of('initialize')).toHaveLength(1);
      const [first] = site.upstream.of('tools/call');
      expect(first?.headers.authorization).toBe('Bearer first');
    },
  );

  it('I10 leaves a shared session open to clients that come with the new one', async () => {
    await using site = await openSignedIn({ session: 'per-instance' });
    expect(textOf(await site.call('caller'))).toBe('Bearer first');
    await site.renew();
    await site.reachSecond();
    const late = await initialize(site.url);
    expect(textOf(await late.call('caller'))).toBe('Bearer second');
    expect(site.sessionsSeen()).toHaveLength(1);
  });

  it('I10 leaves the session and the stream of a client that passes open', async () => {
    await using site = await openSignedIn();
    const client = await initialize(site.url);
    const stream = await client.stream();
    await waitUntil('the stream is upstream', () => site.upstream.streams === 1);
    expect(textOf(await client.call('caller'))).toBe('Bearer first');
    await site.renew();
    await waitUntil(
      'the second token is used',
      async () => textOf(await client.call('caller')) === 'Bearer second',
    );
    expect(site.sessionsSeen()).toHaveLength(1);
    await site.upstream.tell('notifications/tools/list_changed');
    expect((await stream.next())?.method).toBe('notifications/tools/list_changed');
    stream.close();
  });
});

describe('an access token of another sign-in', () => {
  it.each([{}, { session: 'per-instance' } as const])(
    'R20 ends what was open with the one before: %j',
    async (remote) => {
      await using site = await openSignedIn(remote);
      const waiting = site.call('wait');
      await waitUntil('the call is upstream', () => site.upstream.of('tools/call').length === 1);
      await site.replace();
      expect((await waiting).json.error).toMatchObject({ code: expect.any(Number) });
      await site.reachSecond();
      const [first, second] = site.sessionsSeen();
      expect(second).toBeDefined();
      expect(second).not.toBe(first);
      // Nobody's first token is used in the session of the second.
      const inSecond = site.upstream.exchanged.filter(({ headers }) => headers['mcp-session-id'] === second);
      expect(new Set(inSecond.map(({ headers }) => headers.authorization))).toEqual(
        new Set(['Bearer second']),
      );
    },
  );
});
