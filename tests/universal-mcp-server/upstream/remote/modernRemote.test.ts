import { request } from 'node:http';
import { afterEach, describe, expect, it } from '@jest/globals';
import { toEnvelope } from '../../../../backend/src/mcp-servers/universal-mcp-server/protocol/envelope.js';
import {
  findParamHeaders,
  toHeaderText,
  toParamHeaders,
} from '../../../../backend/src/mcp-servers/universal-mcp-server/upstream/remote/modernHeaders.js';
import type { UpstreamConnection } from '../../../../backend/src/mcp-servers/universal-mcp-server/upstream/upstream.js';
import { aRemoteService, ask, Ear, never, openRemote, termsOf } from '../../../support/aRemoteUpstream.js';
import { waitUntil } from '../../../support/eventually.js';
import { openLegacyServer } from '../../../support/legacyServer.js';
import { openModernServer } from '../../../support/modernServer.js';
import { startRecordingUpstream } from '../../../support/recordingUpstream.js';

const opened: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

const metadata = toEnvelope({ clientInfo: { name: 'c', version: '1' }, capabilities: {} });
const modern = (connection: UpstreamConnection, method: string, params: object = {}, ear = new Ear()) =>
  ask(connection, method, { ...params, _meta: metadata }, { ear });

async function open() {
  const server = await openModernServer();
  const site = openRemote(aRemoteService(server.url));
  opened.push(server, site);
  return { server, ...site };
}

describe('U04 a server of the modern era', () => {
  it('is found out for clients of either era, once, and asked with the headers of each message', async () => {
    const { server, upstream } = await open();
    for (const preferredEra of ['legacy', 'modern', 'modern'] as const) {
      const connection = await upstream.connect(termsOf('alice', { preferredEra }), never);
      expect(connection.era).toBe('modern');
      expect(connection.server).toMatchObject({ protocolVersion: '2026-07-28' });
      const listed = await modern(connection, 'tools/list');
      expect(listed).toHaveProperty('result.tools');
      connection.release();
    }
    // One more than the question of the era: what the server says of itself is remembered.
    expect(server.of('server/discover').length).toBeLessThanOrEqual(2);
    const [list] = server.of('tools/list');
    expect(list?.headers).toMatchObject({
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/list',
      authorization: 'Bearer key-of-alice',
    });
    expect(list?.headers['mcp-session-id']).toBeUndefined();
  });

  it('is asked for a resource under its name', async () => {
    const { server, upstream } = await open();
    const connection = await upstream.connect(termsOf('alice', { preferredEra: 'modern' }), never);
    await modern(connection, 'resources/read', { uri: 'test://one' });
    expect(server.of('resources/read')[0]?.headers).toMatchObject({ 'mcp-name': 'test://one' });
  });

  it('is listened to on a stream that ends with its conversation', async () => {
    const { server, upstream } = await open();
    const connection = await upstream.connect(termsOf('alice', { preferredEra: 'modern' }), never);
    const ear = new Ear();
    const listening = modern(
      connection,
      'subscriptions/listen',
      { notifications: { toolsListChanged: true } },
      ear,
    );
    await waitUntil('the stream', () => ear.notifications.length === 1);
    expect(upstream.counts().streams).toBe(1);
    server.notify.toolsChanged();
    await waitUntil('the change', () => ear.notifications.length === 2);
    upstream.forget('instance-of-alice', null);
    await expect(listening).rejects.toMatchObject({ code: 'UPSTREAM_FAILED' });
    await waitUntil('the end of the stream', () => server.listening === 0);
  });

  it('U08 repeats arguments in headers, and sends a call that was refused for them once more with a fresh list', async () => {
    const server = await startRecordingUpstream();
    const site = openRemote(aRemoteService(`${server.origin}/mcp`, { protocol: 'modern' }));
    opened.push(server, site);
    let calls = 0;
    server.on('/mcp', (response, { body, headers }) => {
      const { id, method } = JSON.parse(body) as { id: unknown; method: string };
      const say = (status: number, what: object): void =>
        void response
          .writeHead(status, { 'content-type': 'application/json' })
          .end(JSON.stringify({ jsonrpc: '2.0', id, ...what }));
      if (method === 'server/discover')
        return say(200, {
          result: { resultType: 'complete', supportedVersions: ['2026-07-28'], capabilities: { tools: {} } },
        });
      if (method === 'tools/list') {
        const properties = { region: { type: 'string', 'x-mcp-header': 'Region' } };
        return say(200, {
          result: { tools: [{ name: 'deploy', inputSchema: { type: 'object', properties } }] },
        });
      }
      calls += 1;
      if (headers['mcp-param-region'] === undefined)
        return say(400, { error: { code: -32020, message: 'Header mismatch' } });
      say(200, { result: { content: [], region: headers['mcp-param-region'] } });
    });
    const connection = await site.upstream.connect(termsOf('alice', { preferredEra: 'modern' }), never);
    const given = { name: 'deploy', arguments: { region: 'zürich' } };
    const first = await modern(connection, 'tools/call', given);
    expect(first).toMatchObject({
      result: { region: `=?base64?${Buffer.from('zürich').toString('base64')}?=` },
    });
    expect(calls).toBe(2);
    await modern(connection, 'tools/call', given);
    expect(calls).toBe(3);
  });
});

describe('a server that changed its era', () => {
  it('is asked anew and spoken to in the one that it has now', async () => {
    const before = await openModernServer();
    const after = await openLegacyServer();
    const server = await startRecordingUpstream();
    opened.push(before, after, server);
    let target = before.url;
    server.on('/mcp', (response, { method, headers, body }) => {
      const { host: _host, connection: _connection, 'content-length': _length, ...rest } = headers;
      const { pathname, port } = new URL(target);
      const forward = request(
        { port, path: pathname, method, headers: { ...rest, 'content-length': Buffer.byteLength(body) } },
        (answer) => {
          response.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.pipe(response);
        },
      );
      forward.on('error', () => response.destroy());
      forward.end(body);
    });
    const site = openRemote(aRemoteService(`${server.origin}/mcp`));
    opened.push(site);
    const first = await site.upstream.connect(termsOf('alice'), never);
    expect(first.era).toBe('modern');
    target = after.url;
    const changed = { instance: { credentialRevision: 2 } };
    const second = await site.upstream.connect(termsOf('alice', changed), never);
    expect(second.era).toBe('legacy');
  });
});

describe('headers of the modern era', () => {
  it('carry any text', () => {
    expect(toHeaderText('plain text')).toBe('plain text');
    for (const odd of ['', ' a', 'a ', 'ü', 'a\nb', '=?base64?eA==?='])
      expect(toHeaderText(odd)).toBe(`=?base64?${Buffer.from(odd).toString('base64')}?=`);
  });

  it('repeat strings, integers and booleans below properties, and nothing else', () => {
    const wanted = findParamHeaders({
      type: 'object',
      properties: {
        a: { type: 'string', 'x-mcp-header': 'A' },
        deep: { type: 'object', properties: { b: { type: 'integer', 'x-mcp-header': 'B' } } },
        c: { type: 'boolean', 'x-mcp-header': 'C' },
        list: { type: 'array', items: { type: 'string', 'x-mcp-header': 'No' } },
        bad: { type: 'string', 'x-mcp-header': 'no\r\ngood' },
        odd: { type: 'object', 'x-mcp-header': 'Odd' },
      },
    });
    expect(wanted.map(({ header }) => header)).toEqual(['mcp-param-a', 'mcp-param-b', 'mcp-param-c']);
    expect(toParamHeaders(wanted, { a: 'x', deep: { b: 7 }, c: false })).toEqual([
      'mcp-param-a',
      'x',
      'mcp-param-b',
      '7',
      'mcp-param-c',
      'false',
    ]);
    expect(toParamHeaders(wanted, { a: null, deep: 'no object' })).toEqual([]);
  });
});
