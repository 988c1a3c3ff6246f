import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client as LegacyClient } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport as LegacyTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CreateMessageRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { aStdioService } from '../../support/aStdioService.js';
import { openUniversalServer, type UniversalServer } from '../../support/universalServer.js';

const connect = async (url: string, mode: 'legacy' | { pin: '2026-07-28' }): Promise<Client> => {
  const client = new Client({ name: 'v2', version: '1' }, { versionNegotiation: { mode } });
  await client.connect(new StreamableHTTPClientTransport(new URL(url)));
  return client;
};

describe('the SDKs’ own clients', () => {
  let everything: UniversalServer;
  let memory: UniversalServer;

  beforeAll(async () => {
    everything = await openUniversalServer({ definition: aStdioService('everything') });
    memory = await openUniversalServer({ definition: aStdioService('memory'), site: everything.site });
  });
  afterAll(async () => {
    await memory[Symbol.asyncDispose]();
    await everything[Symbol.asyncDispose]();
  });

  it('P03 P04 U06 the v1 client connects to an instance URL, lists and calls', async () => {
    const { url } = await everything.aUrl();
    const client = new LegacyClient({ name: 'v1', version: '1' });
    await client.connect(new LegacyTransport(new URL(url)));
    expect(client.getServerVersion()?.name).toContain('everything');
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toContain('echo');
    const echoed = await client.callTool({ name: 'echo', arguments: { message: 'ahoy' } });
    expect(echoed.content).toEqual([{ type: 'text', text: 'Echo: ahoy' }]);
    const { prompts } = await client.listPrompts();
    expect(prompts.length).toBeGreaterThan(0);
    const { resources } = await client.listResources();
    expect(resources.length).toBeGreaterThan(0);
    await client.close();
  });

  it('U06 the v1 client’s HTTP+SSE transport connects at /sse, is asked and answers, lists and calls', async () => {
    const { url } = await everything.aUrl();
    const client = new LegacyClient({ name: 'v1', version: '1' }, { capabilities: { sampling: {} } });
    client.setRequestHandler(CreateMessageRequestSchema, () => ({
      role: 'assistant',
      content: { type: 'text', text: 'sampled by the client' },
      model: 'test',
    }));
    await client.connect(new SSEClientTransport(new URL(`${url}/sse`)));
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toContain('trigger-sampling-request');
    const echoed = await client.callTool({ name: 'echo', arguments: { message: 'ahoy' } });
    expect(echoed.content).toEqual([{ type: 'text', text: 'Echo: ahoy' }]);
    const sampled = await client.callTool({
      name: 'trigger-sampling-request',
      arguments: { prompt: 'hi', maxTokens: 5 },
    });
    expect(JSON.stringify(sampled.content)).toContain('sampled by the client');
    await client.close();
  });

  it.each(['legacy', 'modern'] as const)(
    'P03 P04 U06 the v2 client connects in the %s era, lists and calls',
    async (era) => {
      const { url } = await everything.aUrl();
      const client = new Client(
        { name: 'v2', version: '1' },
        { versionNegotiation: { mode: era === 'legacy' ? 'legacy' : { pin: '2026-07-28' } } },
      );
      await client.connect(new StreamableHTTPClientTransport(new URL(url)));
      expect(client.getNegotiatedProtocolVersion()).toBe(era === 'legacy' ? '2025-11-25' : '2026-07-28');
      const { tools } = await client.listTools();
      expect(tools.map(({ name }) => name)).toContain('echo');
      const echoed = await client.callTool({ name: 'echo', arguments: { message: 'ahoy' } });
      expect(echoed.content).toEqual([{ type: 'text', text: 'Echo: ahoy' }]);
      const { prompts } = await client.listPrompts();
      expect(prompts.length).toBeGreaterThan(0);
      const { resources } = await client.listResources();
      const read = await client.readResource({ uri: resources[0]?.uri ?? '' });
      expect(read.contents.length).toBe(1);
      await client.close();
    },
  );

  it('P04 U02 what one user keeps in memory another never sees, and both eras see the same', async () => {
    const [alice, bob] = [await memory.aUrl(), await memory.aUrl()];
    const writer = await connect(alice.url, 'legacy');
    const entities = [{ name: 'Ada', entityType: 'person', observations: ['canary-of-alice'] }];
    await writer.callTool({ name: 'create_entities', arguments: { entities } });
    const reader = await connect(alice.url, { pin: '2026-07-28' });
    expect(JSON.stringify(await reader.callTool({ name: 'read_graph', arguments: {} }))).toContain(
      'canary-of-alice',
    );
    const stranger = await connect(bob.url, 'legacy');
    expect(JSON.stringify(await stranger.callTool({ name: 'read_graph', arguments: {} }))).not.toContain(
      'canary',
    );
    await Promise.all([writer, reader, stranger].map((client) => client.close()));
  });
});
