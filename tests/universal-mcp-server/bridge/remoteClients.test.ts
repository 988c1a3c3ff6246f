import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { aRemoteService } from '../../support/aRemoteUpstream.js';
import { waitUntil } from '../../support/eventually.js';
import { openInstallation, type Installation } from '../../support/installation.js';
import { openLegacyServer, type LegacyServer, type LegacyServerWish } from '../../support/legacyServer.js';
import { clientKinds, connectClient } from '../../support/mcpClients.js';
import { openUniversalServer, type UniversalServer } from '../../support/universalServer.js';

let site: Installation;
const opened: AsyncDisposable[] = [];
beforeAll(async () => {
  site = await openInstallation();
});
afterAll(async () => site[Symbol.asyncDispose]());
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

async function open(
  wish: LegacyServerWish = {},
  remote: object = {},
): Promise<{ upstream: LegacyServer; server: UniversalServer }> {
  const upstream = await openLegacyServer(wish);
  opened.push(upstream);
  const kind = wish.transport ?? 'streamable-http';
  const server = await openUniversalServer({
    definition: aRemoteService(upstream.url, { ...remote }, { kind }),
    site,
  });
  opened.push(server);
  return { upstream, server };
}

const upstreams = [
  ['Streamable HTTP', {}, {}],
  ['Streamable HTTP with JSON bodies', { json: true }, {}],
  ['Streamable HTTP, one session for an instance', {}, { session: 'per-instance' }],
  ['HTTP+SSE', { transport: 'sse' }, {}],
] as const;

describe.each(upstreams)('U03 U04 U06 a legacy server behind, by %s', (_name, wish, remote) => {
  it.each(clientKinds)('is listed and called with the credential of its caller, by %s', async (kind) => {
    const { upstream, server } = await open(wish, remote);
    const urls = await Promise.all(
      ['key-one', 'key-two'].map((token) => server.aUrl({ method: 'key', fields: { token } })),
    );
    const clients = await Promise.all(urls.map(({ url }) => connectClient(kind, url)));
    expect(await clients[0]?.toolNames()).toContain('whoami');
    const answers = await Promise.all(
      clients.flatMap((client) => [client.callTool('whoami'), client.callTool('echo', { text: 'grüße' })]),
    );
    expect(answers).toEqual(['Bearer key-one', 'grüße', 'Bearer key-two', 'grüße']);
    expect(await clients[0]?.callTool('large', { bytes: 300_000 })).toHaveLength(300_000);
    for (const client of clients) await client[Symbol.asyncDispose]();
    for (const { headers } of upstream.received) {
      expect(headers['authorization']).toMatch(/^Bearer key-(?:one|two)$/);
      expect(headers['cookie']).toBeUndefined();
    }
  });
});

describe('what stays behind', () => {
  it('ends the sessions at the server when the service stops', async () => {
    const { upstream, server } = await open({}, { session: 'per-instance' });
    const { url } = await server.aUrl({ method: 'key', fields: { token: 'k' } });
    const client = await connectClient('SDK v2, modern era', url);
    await client.callTool('echo', { text: 'a' });
    await client[Symbol.asyncDispose]();
    await opened.pop()?.[Symbol.asyncDispose]();
    await waitUntil('no session is left', () => upstream.sessions.size === 0);
    expect(upstream.received.some(({ method }) => method === 'DELETE')).toBe(true);
  });
});
