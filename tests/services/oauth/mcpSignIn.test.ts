/**
 * Signing in with a remote MCP server (row I10, attack E10): discovery, registration and the whole way over HTTP, with a
 * real authorization server; and what a hostile server points to.
 */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { startAuthorizationServer, type AuthorizationServer } from '../../support/authorizationServer.js';
import { aBrowser } from '../../support/browser.js';
import { writeService } from '../../support/connectedSite.js';
import { waitUntil } from '../../support/eventually.js';
import { aFreePort } from '../../support/freePorts.js';
import { connectClient } from '../../support/mcpClients.js';
import { openMainApi, type Answer, type OpenedMainApi } from '../../support/mainApi.js';
import {
  json,
  reply,
  startRecordingUpstream,
  type RecordingUpstream,
} from '../../support/recordingUpstream.js';
import { startServiceProcess } from '../../support/spawnedService.js';

jest.setTimeout(60_000);

const resourceMetadata = '/.well-known/oauth-protected-resource';
const serverMetadata = '/.well-known/oauth-authorization-server';

describe('signing in with a remote MCP server', () => {
  const closers: (() => unknown)[] = [];
  let api: OpenedMainApi;
  let server: RecordingUpstream;
  let issuer: AuthorizationServer;
  /** Listens where only this machine's network would be; nobody may come. */
  let inner: { readonly origin: string; readonly hits: () => number };

  beforeAll(async () => {
    const port = await aFreePort();
    const publicUrl = `http://127.0.0.1:${port}`;
    api = await openMainApi({ port, env: { PUBLIC_URL: publicUrl }, limits: { authenticate: 1_000 } });
    closers.push(() => api[Symbol.asyncDispose]());
    server = await startRecordingUpstream();
    closers.push(() => server[Symbol.asyncDispose]());
    issuer = await startAuthorizationServer({ resources: [`${server.origin}/mcp`] });
    closers.push(() => issuer[Symbol.asyncDispose]());
    inner = await startInner(closers);
    writeService(api.connected.mcpPortsDir, 'board', {
      title: 'Board',
      kind: 'streamable-http',
      port: await aFreePort(),
      instancePrefix: 'brd',
      remote: {
        url: `${server.origin}/mcp`,
        auth: 'mcp-oauth',
        egress: { allowHosts: ['127.0.0.1'], allowPrivate: true },
      },
      credentials: {
        methods: [{ id: 'mcp', type: 'mcp-oauth', label: 'Sign in with Board', probe: { type: 'mcp' } }],
      },
    });
    api.connected.registry.reload();
  });
  afterAll(async () => {
    for (const close of closers.toReversed()) await close();
  });
  beforeEach(() => {
    server.clear();
    const challenge = `Bearer resource_metadata="${server.origin}${resourceMetadata}/mcp", scope="notes"`;
    server.on('/mcp', reply(401, '', { 'www-authenticate': challenge }));
    describeResource({ resource: `${server.origin}/mcp`, authorization_servers: [issuer.origin] });
  });

  const describeResource = (document: object): void =>
    server.on(`${resourceMetadata}/mcp`, json(200, document));

  /** The MCP server is its own authorization server, with this metadata. */
  const describeServer = (changes: object): void => {
    describeResource({ resource: `${server.origin}/mcp`, authorization_servers: [server.origin] });
    const { origin } = server;
    server.on(
      serverMetadata,
      json(200, {
        issuer: origin,
        authorization_endpoint: `${origin}/authorize`,
        token_endpoint: `${origin}/token`,
        registration_endpoint: `${origin}/register`,
        response_types_supported: ['code'],
        code_challenge_methods_supported: ['S256'],
        ...changes,
      }),
    );
    server.on('/register', json(201, { client_id: 'c1', redirect_uris: ['https://example.com'] }));
  };

  const start = async (): Promise<Answer> =>
    (await api.aPerson()).post('/api/v1/services/board/oauth/start', {});

  it('I10 finds the authorization server, registers once, and asks for the resource with PKCE', async () => {
    const first = await start();
    expect(first.status).toBe(200);
    const url = new URL(first.body.authorizationUrl);
    expect(url.origin).toBe(issuer.origin);
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      resource: `${server.origin}/mcp`,
      scope: 'notes offline_access',
      prompt: 'consent',
      code_challenge_method: 'S256',
      redirect_uri: `${api.url}/api/v1/oauth/callback`,
    });
    const again = await start();
    expect(new URL(again.body.authorizationUrl).searchParams.get('client_id')).toBe(
      url.searchParams.get('client_id'),
    );
    expect(issuer.requests.filter(({ route }) => route === '/reg')).toHaveLength(1);
    const root = await api.connected.site.db.superuser();
    const { rows } = await root.query<{ text: string }>(
      `select encode(sealed_client, 'escape') as text from oauth_clients where service = 'board'`,
    );
    expect(rows).toHaveLength(1);
    expect(rows[0]?.text).not.toContain(url.searchParams.get('client_id') ?? '');
  });

  it('I10 the answer is exchanged where it was asked for; a service that is away leaves nothing and gives it back', async () => {
    const person = await api.aPerson();
    const browser = aBrowser();
    const path = '/api/v1/services/board/oauth/start';
    const begun = await person.post(path, {});
    browser.keep(api.url + path, begun.headers);
    const before = issuer.requests.length;
    await browser.open(begun.body.authorizationUrl, (url) => url.includes('/#/'));
    const { body } = await person.get(`/api/v1/oauth/sign-ins/${begun.body.id}`);
    // Nothing listens on the port of the service's own process here.
    expect(body).toMatchObject({ status: 'failed', code: 'SERVICE_UNAVAILABLE' });
    expect(issuer.requests.slice(before).map(({ route, status }) => [route, status])).toEqual([
      ['/token', 200],
      ['/token/revocation', 200],
    ]);
    expect((await person.get('/api/v1/services/board/instance')).status).toBe(404);
  });

  it('I10 R20 the whole way: sign in, call through the instance URL, and go on after the token has ended', async () => {
    answerMcp(server, issuer);
    await using process = await startBoard(api);
    issuer.accessSeconds = 3;
    const person = await api.aPerson();
    const browser = aBrowser();
    const path = '/api/v1/services/board/oauth/start';
    const begun = await person.post(path, {});
    browser.keep(api.url + path, begun.headers);
    await browser.open(begun.body.authorizationUrl, (url) => url.includes('/#/'));
    const outcome = await person.get(`/api/v1/oauth/sign-ins/${begun.body.id}`);
    expect(outcome.body).toMatchObject({ status: 'connected' });
    const shown = await person.get('/api/v1/services/board/instance');
    const { pathname } = new URL(shown.body.instanceUrl);
    await using client = await connectClient('SDK v1', `http://127.0.0.1:${process.port}${pathname}`);
    expect(await client.callTool('whose')).toBe('ada');
    const token = server.requests.at(-1)?.headers.authorization?.replace('Bearer ', '') ?? '';
    issuer.accessSeconds = 3_600;
    await waitUntil('the token has ended', async () => (await issuer.ownerOf(token)) === null);
    const before = issuer.countRefreshes();
    expect(await client.callTool('whose')).toBe('ada');
    expect(issuer.countRefreshes() - before).toBe(1);
    // A 401 in the middle of its life.
    await issuer.spoil(server.requests.at(-1)?.headers.authorization?.replace('Bearer ', '') ?? '');
    expect(await client.callTool('whose')).toBe('ada');
    expect(issuer.countRefreshes() - before).toBe(2);
  });

  const refused = { status: 502, body: { code: 'EGRESS_DENIED' } };

  it.each([
    ['another loopback address', () => `${inner.origin}/meta`],
    ['the metadata address', () => 'http://169.254.169.254/latest/meta-data'],
    ['a private network', () => 'https://10.0.0.1/meta'],
    ['localhost by name', () => `http://localhost:${new URL(inner.origin).port}/meta`],
  ])('E10 resource metadata at %s is not fetched', async (_what, target) => {
    const challenge = `Bearer resource_metadata="${target()}"`;
    server.on('/mcp', reply(401, '', { 'www-authenticate': challenge }));
    expect(await start()).toMatchObject(refused);
    expect(inner.hits()).toBe(0);
  });

  it.each([
    ['another loopback address', () => inner.origin],
    ['a private network', () => 'https://192.168.0.1'],
    ['localhost by name', () => 'https://localhost'],
    ['no web address', () => 'file:///etc/passwd'],
  ])('E10 an authorization server at %s is not asked', async (_what, target) => {
    describeResource({ resource: `${server.origin}/mcp`, authorization_servers: [target()] });
    const answer = await start();
    expect([answer.status, ['EGRESS_DENIED', 'UPSTREAM_FAILED'].includes(answer.body.code)]).toEqual([
      502,
      true,
    ]);
    expect(inner.hits()).toBe(0);
  });

  it.each(['authorization_endpoint', 'token_endpoint', 'registration_endpoint', 'revocation_endpoint'])(
    'E10 an internal %s is refused, and nobody is sent or asked there',
    async (endpoint) => {
      describeServer({ [endpoint]: `${inner.origin}/steal` });
      expect(await start()).toMatchObject(refused);
      expect(inner.hits()).toBe(0);
      expect(server.requests.filter(({ target }) => target === '/register')).toEqual([]);
    },
  );

  it('E10 a redirect of metadata to an internal address is not followed', async () => {
    server.on(`${resourceMetadata}/mcp`, reply(302, '', { location: `${inner.origin}/meta` }));
    expect((await start()).status).toBe(502);
    expect(inner.hits()).toBe(0);
  });

  it.each([
    ['that calls itself by another name', { issuer: 'https://evil.example' }],
    ['without PKCE', { code_challenge_methods_supported: ['plain'] }],
  ])('I10 an authorization server %s is not used', async (_what, changes) => {
    describeServer(changes);
    expect(await start()).toMatchObject({ status: 502, body: { code: 'UPSTREAM_FAILED' } });
  });

  it('I10 metadata of another resource is not used', async () => {
    describeResource({ resource: 'https://other.example/mcp', authorization_servers: [issuer.origin] });
    expect(await start()).toMatchObject({ status: 502, body: { code: 'UPSTREAM_FAILED' } });
  });
});

/** An MCP server of the legacy era that answers those whom the authorization server knows, and challenges the others. */
function answerMcp(server: RecordingUpstream, issuer: AuthorizationServer): void {
  const challenge = `Bearer resource_metadata="${server.origin}${resourceMetadata}/mcp", scope="notes"`;
  server.on('/mcp', (response, request) => {
    const token = request.headers.authorization?.replace('Bearer ', '') ?? '';
    void issuer.ownerOf(token).then((owner) => {
      if (owner === null) return reply(401, '', { 'www-authenticate': challenge })(response, request);
      if (request.method !== 'POST') return reply(405, '')(response, request);
      const { id, method } = JSON.parse(request.body) as { id?: number; method: string };
      if (id === undefined) return reply(202, '')(response, request);
      return json(200, { jsonrpc: '2.0', id, ...toMcpAnswer(method, owner) })(response, request);
    });
  });
}

function toMcpAnswer(method: string, owner: string): object {
  switch (method) {
    case 'initialize':
      return {
        result: {
          protocolVersion: '2025-06-18',
          capabilities: { tools: {} },
          serverInfo: { name: 'board', version: '1' },
        },
      };
    case 'tools/list':
      return { result: { tools: [{ name: 'whose', inputSchema: { type: 'object' } }] } };
    case 'tools/call':
      return { result: { content: [{ type: 'text', text: owner }] } };
    default:
      return { error: { code: -32601, message: 'Method not found' } };
  }
}

/** The service's own process, on the port that its file names. */
async function startBoard({ connected }: OpenedMainApi) {
  const stateDir = mkdtempSync(join(tmpdir(), 'portolan-board-'));
  mkdirSync(join(stateDir, 'database-urls'));
  writeFileSync(join(stateDir, 'database-urls', 'service'), connected.site.db.urls.service.reveal());
  writeFileSync(join(stateDir, 'keyring.json'), connected.site.ring);
  writeFileSync(join(stateDir, 'jwt-public.json'), connected.jwtPublicText);
  writeFileSync(join(stateDir, 'metrics-token'), 'metrics-token-of-the-test');
  const { mcpPortsDir, registry } = connected;
  const port = registry.find('board')?.port ?? 0;
  const started = await startServiceProcess({ stateDir, mcpPortsDir, service: 'board', port });
  return {
    port,
    async [Symbol.asyncDispose]() {
      await started[Symbol.asyncDispose]();
      rmSync(stateDir, { recursive: true, force: true });
    },
  };
}

async function startInner(closers: (() => unknown)[]) {
  let hits = 0;
  const listener = createServer((_request, response) => {
    hits += 1;
    response.end('{}');
  });
  listener.listen(0, '127.0.0.2');
  await once(listener, 'listening');
  closers.push(() => {
    listener.closeAllConnections();
    listener.close();
  });
  return { origin: `http://127.0.0.2:${(listener.address() as AddressInfo).port}`, hits: () => hits };
}
