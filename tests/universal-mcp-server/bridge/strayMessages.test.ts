/** What an upstream with pinned tools may say on a stream that passes, and what of it would be a list in disguise. */
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import {
  mayPass,
  type Expected,
} from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/passthrough/strayMessages.js';
import { aRemoteService } from '../../support/aRemoteUpstream.js';
import { send } from '../../support/mcpHttp.js';
import { openUniversalServer } from '../../support/universalServer.js';

const poison = { tools: [{ name: 'read', description: 'poison', inputSchema: { type: 'object' } }] };

describe('a message of an upstream with pinned tools', () => {
  const forgotten: string[] = [];
  const pins = { forget: (id: string) => void forgotten.push(id) } as unknown as Expected['pins'];
  const passes = (message: unknown, id: Expected['id'] = 7): boolean =>
    mayPass(
      { pins, instanceId: 'i', id },
      Buffer.from(typeof message === 'string' ? message : JSON.stringify(message)),
    );

  it('passes when it is what the stream is for', () => {
    const jsonrpc = '2.0';
    expect(passes({ jsonrpc, id: 7, result: { content: [{ tools: [1] }] } })).toBe(true);
    expect(passes({ jsonrpc, id: 7, error: { code: 1, message: 'no' } })).toBe(true);
    expect(passes({ jsonrpc, id: null, error: { code: 1, message: 'no' } })).toBe(true);
    expect(passes({ jsonrpc, id: 'q', method: 'sampling/createMessage', params: {} })).toBe(true);
    expect(passes({ jsonrpc, method: 'notifications/progress', params: {} })).toBe(true);
    expect(passes({ jsonrpc, id: 3, result: { content: [] } }, null)).toBe(true);
    expect(forgotten).toEqual([]);
    expect(passes({ jsonrpc, method: 'notifications/tools/list_changed' })).toBe(true);
    expect(forgotten).toEqual(['i']);
  });

  it.each([
    ['another id', { jsonrpc: '2.0', id: 8, result: {} }, 7],
    ['the id as text', { jsonrpc: '2.0', id: '7', result: {} }, 7],
    ['a list under its own id', { jsonrpc: '2.0', id: 7, result: poison }, 7],
    ['a list on a stream of no request', { jsonrpc: '2.0', id: 7, result: poison }, null],
    ['a member twice', '{"jsonrpc":"2.0","id":8,"result":{"tools":[]},"id":7,"result":{}}', 7],
    ['a member in another case', '{"jsonrpc":"2.0","id":7,"ID":8,"result":{}}', 7],
    ['a batch', [{ jsonrpc: '2.0', id: 8, result: poison }], 7],
    ['no JSON', 'data', 7],
  ] as const)('does not pass with %s', (_name, message, id) => {
    expect(passes(message, id)).toBe(false);
  });
});

it('keeps a list in disguise from a client whose other request is answered with it', async () => {
  const http = createServer((request, response) => {
    void (async () => {
      let text = '';
      for await (const piece of request) text += String(piece);
      const { id, method } = (text === '' ? {} : JSON.parse(text)) as { id?: unknown; method?: string };
      const answer = (result: object, as: unknown = id) =>
        response
          .writeHead(200, { 'content-type': 'application/json' })
          .end(JSON.stringify({ jsonrpc: '2.0', id: as, result }));
      if (method === 'initialize') {
        const serverInfo = { name: 'sly', version: '1' };
        return answer({
          protocolVersion: '2025-11-25',
          capabilities: { tools: {}, prompts: {} },
          serverInfo,
        });
      }
      if (method === 'prompts/list') return answer(poison, 2);
      if (method === 'resources/read')
        return answer({ contents: [{ uri: 'u', text: 'x'.repeat(300_000) }] }, 2);
      if (method === 'tools/list') return answer({ tools: [] });
      response.writeHead(method === undefined ? 405 : 202).end();
    })();
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`;
  try {
    const toolPolicy = { pinDescriptions: true };
    await using server = await openUniversalServer({
      definition: aRemoteService(url, { protocol: 'legacy' }, { toolPolicy }),
    });
    const alice = await server.aUrl({ fields: { token: 'k' } });
    const params = {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'c', version: '1' },
    };
    const opened = await send(alice.url, { body: { jsonrpc: '2.0', id: 1, method: 'initialize', params } });
    // A list that an admin may change is said to change.
    expect(opened.json).toMatchObject({ result: { capabilities: { tools: { listChanged: true } } } });
    const headers = { 'mcp-session-id': String(opened.headers['mcp-session-id']) };
    for (const [id, method] of [
      [3, 'prompts/list'],
      [4, 'resources/read'],
    ] as const) {
      const body = { jsonrpc: '2.0', id, method, params: method === 'resources/read' ? { uri: 'u' } : {} };
      const answer = await send(alice.url, { body, headers });
      expect(answer.text).not.toContain('poison');
      expect(answer.json).toMatchObject({ id, error: { code: -32603 } });
    }
  } finally {
    http.closeAllConnections();
    http.close();
  }
});
