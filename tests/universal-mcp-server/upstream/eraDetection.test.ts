/** Which era is spoken with real servers of each, how often they are asked, and what is remembered (spec 04). */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { McpServer as ServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler, McpServer as ServerV2 } from '@modelcontextprotocol/server';
import type { Era } from '../../../backend/src/mcp-servers/universal-mcp-server/protocol/revisions.js';
import { aRemoteService } from '../../support/aRemoteUpstream.js';
import { waitUntil } from '../../support/eventually.js';
import { initialize, modern, send, textOf } from '../../support/mcpHttp.js';
import { openUniversalServer, type UniversalServer } from '../../support/universalServer.js';

type Handler = (request: IncomingMessage, response: ServerResponse, body: unknown) => Promise<unknown>;

const info = { name: 'which', version: '1' };
const answer = async () => ({ content: [{ type: 'text' as const, text: 'here' }] });

/** Each request has its own server, as the SDK serves without sessions. */
const legacyOnly: Handler = async (request, response, body) => {
  const server = new ServerV1(info);
  server.registerTool('which', {}, answer);
  const transport = new StreamableHTTPServerTransport();
  await server.connect(transport);
  await transport.handleRequest(request, response, body);
};
const ofV2 = (legacy: 'reject' | 'stateless'): Handler => {
  const handle = toNodeHandler(
    createMcpHandler(
      () => {
        const server = new ServerV2(info);
        server.registerTool('which', {}, answer);
        return server;
      },
      { legacy },
    ),
  );
  return async (request, response, body) => handle(request as Parameters<typeof handle>[0], response, body);
};
const servers = { legacyOnly, modernOnly: ofV2('reject'), dual: ofV2('stateless') };

interface Site extends AsyncDisposable {
  readonly url: string;
  /** Methods that came, each with the era of its headers or body. */
  readonly methods: string[];
  readonly seen: { readonly method: string; readonly era: Era }[];
  handler: Handler;
  /** Answers everything with this status while it is set. */
  status: number | null;
}

async function openSite(handler: Handler): Promise<Site> {
  const seen: Site['seen'][number][] = [];
  const http = createServer((request, response) => {
    void (async () => {
      let text = '';
      for await (const chunk of request) text += String(chunk);
      const body: unknown = text === '' ? undefined : JSON.parse(text);
      if (site.status !== null) return void response.writeHead(site.status).end();
      if (body !== undefined) {
        const { method } = body as { method: string };
        seen.push({ method, era: request.headers['mcp-method'] === undefined ? 'legacy' : 'modern' });
      }
      await site.handler(request, response, body);
    })().catch(() => response.destroy());
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const site: Site = {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`,
    handler,
    status: null,
    seen,
    get methods() {
      return seen.map(({ method }) => method);
    },
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      http.close();
      await once(http, 'close');
    },
  };
  return site;
}

const callModern = async (url: string) => send(url, modern('tools/call', { name: 'which', arguments: {} }));
const callLegacy = async (url: string) => (await initialize(url)).call('which');
const callers = { modern: callModern, legacy: callLegacy };

async function verdictsOf({ site }: UniversalServer) {
  const superuser = await site.db.superuser();
  const { rows } = await superuser.query<Record<string, unknown>>('select * from era_verdicts');
  return rows;
}

describe.each(['legacyOnly', 'modernOnly', 'dual'] as const)('a server that is %s', (kind) => {
  it.each(['legacy', 'modern'] as const)(
    'U04 answers a %s client, and is asked nothing after a restart',
    async (era) => {
      await using site = await openSite(servers[kind]);
      await using server = await openUniversalServer({ definition: aRemoteService(site.url) });
      const { url } = await server.aUrl({ fields: { token: 't' } });
      expect(textOf(await callers[era](url))).toBe('here');
      expect(textOf(await callers[era](url))).toBe('here');
      await waitUntil('the verdict is kept', async () => (await verdictsOf(server)).length === 1);
      await server.restart();
      site.seen.length = 0;
      expect(textOf(await callers[era](url))).toBe('here');
      const spoken: Era = kind === 'dual' ? era : kind === 'legacyOnly' ? 'legacy' : 'modern';
      expect(new Set(site.seen.map((one) => one.era))).toEqual(new Set([spoken]));
      // What is left is the conversation itself, and each of its steps once.
      expect(site.methods.filter((method) => method === 'initialize')).toHaveLength(
        spoken === 'legacy' ? 1 : 0,
      );
      expect(site.methods.filter((method) => method === 'tools/call')).toHaveLength(1);
      const questions = site.methods.filter((method) => method === 'server/discover');
      // A modern server behind a legacy client is met by discovering it, as a conversation with it begins.
      expect(questions).toHaveLength(spoken === 'modern' && era === 'legacy' ? 1 : 0);
    },
  );
});

describe('what is no evidence of an era', () => {
  it.each([401, 403, 429, 500, 503])(
    'a status of %i leaves no verdict, and the next call asks',
    async (status) => {
      await using site = await openSite(servers.dual);
      await using server = await openUniversalServer({ definition: aRemoteService(site.url) });
      const { url } = await server.aUrl({ fields: { token: 't' } });
      site.status = status;
      const failed = await callModern(url);
      expect(failed.json.error ?? failed.json.result.isError).toBeTruthy();
      expect(await verdictsOf(server)).toEqual([]);
      site.status = null;
      expect(textOf(await callModern(url))).toBe('here');
      expect(site.seen.every(({ era }) => era === 'modern')).toBe(true);
      expect(site.methods).toContain('server/discover');
    },
  );
});

describe('a verdict through the instance URL', () => {
  it.each([
    ['legacyOnly', 'modernOnly', 'modern'],
    ['modernOnly', 'legacyOnly', 'legacy'],
    ['legacyOnly', 'modernOnly', 'legacy'],
    ['modernOnly', 'legacyOnly', 'modern'],
  ] as const)('%s that becomes %s is asked anew, for a %s client', async (before, after, era) => {
    await using site = await openSite(servers[before]);
    await using server = await openUniversalServer({ definition: aRemoteService(site.url) });
    const { url } = await server.aUrl({ fields: { token: 't' } });
    expect(textOf(await callers[era](url))).toBe('here');
    site.handler = servers[after];
    // The call that finds out may fail: its server knows no such method.
    await callers[era](url).catch(() => null);
    await waitUntil('the new verdict is kept', async () => {
      const [verdict] = await verdictsOf(server);
      return verdict?.['speaks_modern'] === (after === 'modernOnly');
    });
    expect(textOf(await callers[era](url))).toBe('here');
  });

  it('belongs to the instance and its credential where users have their own, and names neither', async () => {
    await using site = await openSite(servers.legacyOnly);
    await using server = await openUniversalServer({ definition: aRemoteService(site.url) });
    const [alice, bob] = [
      await server.aUrl({ fields: { token: 'a' } }),
      await server.aUrl({ fields: { token: 'b' } }),
    ];
    for (const { url } of [alice, bob]) expect(textOf(await callModern(url))).toBe('here');
    await waitUntil('both verdicts are kept', async () => (await verdictsOf(server)).length === 2);
    const rows = await verdictsOf(server);
    const digests = (column: string) => new Set(rows.map((row) => (row[column] as Buffer).toString('hex')));
    expect([digests('upstream').size, digests('auth_context').size]).toEqual([1, 2]);
    const text = JSON.stringify(rows);
    for (const secret of [site.url, '127.0.0.1', alice.id, bob.id, alice.instanceId])
      expect(text).not.toContain(secret);
  });
});
