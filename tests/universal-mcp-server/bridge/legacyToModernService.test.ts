import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { join } from 'node:path';
import type { ServiceDefinition } from '../../../backend/src/catalog/serviceDefinition.js';
import { cannedAnswers } from '../../support/aLegacyView.js';
import { aRemoteService } from '../../support/aRemoteUpstream.js';
import { aHostileService } from '../../support/aStdioService.js';
import { waitUntil } from '../../support/eventually.js';
import { aFeatureClient, featureClientKinds } from '../../support/featureClients.js';
import { initialize, startRequest, textOf } from '../../support/mcpHttp.js';
import { oddState } from '../../support/modernFeatures.js';
import { openModernServer, type ModernServer } from '../../support/modernServer.js';
import { openUniversalServer, projectRoot, type UniversalServer } from '../../support/universalServer.js';

const support = join(projectRoot, 'tests', 'support');

const aModernStdioService = () =>
  aHostileService({
    args: [
      '--no-warnings',
      '--import',
      join(support, 'typescriptLoader.mjs'),
      join(support, 'modernFeaturesProgram.ts'),
    ],
    protocol: 'auto',
    maxPerUser: 50,
    maxProcesses: 50,
    startupTimeoutMs: 30_000,
  });

const credential = { fields: { token: 'key of a user' } };

/** A server that speaks revision 2026-07-28 only, as services of that kind have it behind them. */
describe.each(['stdio', 'streamable-http'] as const)(
  'legacy clients of a modern-only %s service',
  (upstream) => {
    let behind: ModernServer;
    let definition: ServiceDefinition;
    let server: UniversalServer;
    beforeAll(async () => {
      behind = await openModernServer();
      definition = upstream === 'stdio' ? aModernStdioService() : aRemoteService(behind.url);
      server = await openUniversalServer({ definition });
    });
    afterAll(async () => {
      await server[Symbol.asyncDispose]();
      await behind[Symbol.asyncDispose]();
    });

    describe.each(featureClientKinds)('%s', (kind) => {
      it('U06 U07 lists, calls, prompts, resources, completion, as if the server were one of its era', async () => {
        const { url } = await server.aUrl(credential);
        await using client = await aFeatureClient(kind, url);
        const { sdk } = client;
        expect([sdk.getServerVersion().name, sdk.getInstructions()]).toEqual([
          'modern-fixture',
          'Ask it anything.',
        ]);
        expect(JSON.stringify(sdk.getServerCapabilities())).not.toContain('tasks');
        const { tools } = await sdk.listTools();
        expect(tools.map(({ name }: { name: string }) => name)).toEqual(
          expect.arrayContaining(['echo', 'list']),
        );
        // The SDKs hold structured content to the schema that was listed.
        expect((await client.call('sum')).structuredContent).toEqual({ sum: 3 });
        expect((await client.call('list')).structuredContent).toEqual({ result: [1, 2] });
        expect((await client.call('failing')).isError).toBe(true);
        await expect(client.call('broken')).rejects.toMatchObject({ code: -32603 });
        await expect(client.call('mismatch')).rejects.toMatchObject({ code: -32603 });
        const prompt = await sdk.getPrompt({ name: 'greet', arguments: { who: 'Ada' } });
        expect(prompt.messages[0].content.text).toBe('Hello Ada');
        expect((await sdk.listPrompts()).prompts).toHaveLength(3);
        const second = await sdk.listResources({ cursor: 'second page' });
        expect(second.resources[0].uri).toBe('test://two');
        expect((await sdk.listResourceTemplates()).resourceTemplates).toHaveLength(1);
        expect((await sdk.readResource({ uri: 'test://one' })).contents[0].text).toBe('content');
        await expect(sdk.readResource({ uri: 'test://none' })).rejects.toMatchObject({
          // The newer SDK reads −32002 as the code that it became.
          code: kind === 'SDK v2, legacy era' ? -32602 : -32002,
        });
        const ref = { type: 'ref/prompt', name: 'greet' };
        const completed = await sdk.complete({ ref, argument: { name: 'who', value: 'A' } });
        expect(completed.completion.values).toEqual(['A-completed']);
        await sdk.ping();
        await sdk.sendRootsListChanged();
      });

      it('U07 sampling, elicitation, roots and pages to open, one round and two', async () => {
        const { url } = await server.aUrl(credential);
        await using client = await aFeatureClient(kind, url);
        const answers = async (tool: string) => JSON.parse((await client.call(tool)).content[0].text).answers;
        expect(await answers('askAll')).toEqual({
          said: cannedAnswers['sampling/createMessage'],
          name: cannedAnswers['elicitation/create'],
          where: cannedAnswers['roots/list'],
        });
        expect(await answers('elicit')).toEqual({ name: cannedAnswers['elicitation/create'] });
        expect(await answers('open')).toEqual({ page: { action: 'accept', content: expect.anything() } });
        expect(client.asked.at(-1)?.params).toMatchObject({ mode: 'url', elicitationId: expect.any(String) });
        expect(await answers('twice')).toEqual({ second: cannedAnswers['elicitation/create'] });
        const prompt = await client.sdk.getPrompt({ name: 'asking' });
        expect(prompt.messages[0].content.text).toContain('Ada');
        const { contents } = await client.sdk.readResource({ uri: 'test://asking' });
        expect(contents[0].text).toContain('file:///home/ada');
        expect((await client.call('forever')).isError).toBe(true);
      });

      it('U07 a client that can do nothing of that gets a result that says so', async () => {
        const { url } = await server.aUrl(credential);
        await using client = await aFeatureClient(kind, url, {});
        for (const tool of ['sample', 'elicit', 'open', 'roots', 'demanding']) {
          const result = await client.call(tool);
          expect([tool, result.isError]).toEqual([tool, true]);
          expect(result.content[0].text).toMatch(/supports (sampling|elicitation|roots)/);
        }
        await expect(client.sdk.getPrompt({ name: 'asking' })).rejects.toMatchObject({ code: -32602 });
      });

      it('U07 progress, logs of the level that was set, updates of what was subscribed to, changed lists', async () => {
        const { url } = await server.aUrl(credential);
        await using client = await aFeatureClient(kind, url);
        const { sdk, told } = client;
        const progress: number[] = [];
        await client.call('progressAndAsk', {}, { onprogress: (one) => void progress.push(one.progress) });
        // The older SDK forgets what comes in one piece with the answer; the frames themselves are held by the view's tests.
        expect([progress.length >= 2, progress]).toEqual([true, [1, 2, 3, 4].slice(0, progress.length)]);
        const logged = () => told.filter(({ method }) => method === 'notifications/message').length;
        await sdk.setLoggingLevel('error');
        await client.call('log', { level: 'warning' });
        await client.call('log', { level: 'critical' });
        await waitUntil('one line was told', () => logged() === 1);
        await sdk.subscribeResource({ uri: 'test://one' });
        await client.call('touch', { uri: 'test://two' });
        await client.call('touch', { uri: 'test://one' });
        await client.call('grow');
        const changes = () => told.filter(({ method }) => method !== 'notifications/message');
        await waitUntil('both changes were told', () => changes().length === 2);
        await sdk.unsubscribeResource({ uri: 'test://one' });
        await client.call('touch', { uri: 'test://one' });
        await client.call('grow');
        await waitUntil('the list changed again', () => changes().length === 3);
        expect(changes().map(({ method, params }) => [method, params?.uri])).toEqual([
          ['notifications/resources/updated', 'test://one'],
          ['notifications/tools/list_changed', undefined],
          ['notifications/tools/list_changed', undefined],
        ]);
      });

      it('R23 cancelling reaches the server behind', async () => {
        const { url } = await server.aUrl(credential);
        await using client = await aFeatureClient(kind, url);
        const controller = new AbortController();
        const hung = client.call('hang', {}, { signal: controller.signal });
        const ended = hung.then(
          () => 'answered',
          () => 'cancelled',
        );
        await client.call('echo');
        controller.abort();
        expect(await ended).toBe('cancelled');
        await waitUntil('it was cancelled', async () =>
          (await client.call('cancelled')).content[0].text.includes('hang'),
        );
      });
    });

    it('12.18 a session outlives the process: its level, its subscriptions, its stream', async () => {
      const { url } = await server.aUrl(credential);
      const session = await initialize(url, { elicitation: {} });
      await session.request('logging/setLevel', { level: 'critical' });
      await session.request('resources/subscribe', { uri: 'test://one' });
      await server.restart();
      const stream = await session.stream();
      expect((await session.call('log', { level: 'error' })).events).toEqual([]);
      expect((await session.call('log', { level: 'alert' })).events).toHaveLength(2);
      await session.call('touch', { uri: 'test://one' });
      expect(await stream.next()).toMatchObject({
        method: 'notifications/resources/updated',
        params: { uri: 'test://one' },
      });
      const events = await session.open('tools/call', { name: 'elicit', arguments: {} });
      const asked = await events.next();
      await session.respond({ id: asked.id, result: cannedAnswers['elicitation/create'] });
      expect(textOf({ json: await events.next() })).toContain('Ada');
      stream.close();
    });

    it('U07 what a client without a stream subscribes to is watched, and is told once it has one', async () => {
      const { url } = await server.aUrl(credential);
      const session = await initialize(url);
      expect((await session.request('resources/subscribe', { uri: 'test://one' })).json.result).toEqual({});
      await session.call('touch', { uri: 'test://one' });
      const stream = await session.stream();
      await session.call('touch', { uri: 'test://one' });
      expect(await stream.next()).toMatchObject({ method: 'notifications/resources/updated' });
      stream.close();
    });

    it('R23 a question whose call was cancelled is taken back from the client', async () => {
      const { url } = await server.aUrl(credential);
      const session = await initialize(url, { elicitation: {} });
      const events = await session.open('tools/call', { name: 'elicit', arguments: {} });
      const asked = await events.next();
      expect(asked.method).toBe('elicitation/create');
      await session.notify('notifications/cancelled', { requestId: events.requestId });
      expect(await events.next()).toMatchObject({
        method: 'notifications/cancelled',
        params: { requestId: asked.id },
      });
      expect(await events.next()).toMatchObject({ id: events.requestId, error: { code: -32603 } });
      // An answer that comes too late finds nobody, and harms nobody.
      expect(
        (await session.respond({ id: asked.id, result: cannedAnswers['elicitation/create'] })).status,
      ).toBe(202);
      expect(textOf(await session.call('echo', { text: 'on' }))).toBe('on');
    });

    it('U07 the policy of tools holds, by the upstream’s own list', async () => {
      const toolPolicy = { ...definition.toolPolicy, readOnlyDefault: true, rename: { echo: 'repeat' } };
      await using other = await openUniversalServer({ definition: { ...definition, toolPolicy } });
      const session = await initialize((await other.aUrl(credential)).url);
      expect(textOf(await session.call('repeat', { text: 'yes' }))).toBe('yes');
      for (const hidden of ['echo', 'sum']) expect((await session.call(hidden)).json.error.code).toBe(-32602);
      expect((await session.request('tools/list')).json.result.tools).toHaveLength(1);
    });
  },
);

describe('legacy clients of a modern-only server at a URL', () => {
  let behind: ModernServer;
  let server: UniversalServer;
  beforeEach(async () => {
    behind = await openModernServer();
    server = await openUniversalServer({ definition: aRemoteService(behind.url) });
  });
  afterEach(async () => {
    await server[Symbol.asyncDispose]();
    await behind[Symbol.asyncDispose]();
  });

  it('U07 the upstream gets its state back byte by byte, and the headers of its era', async () => {
    const { url } = await server.aUrl(credential);
    await using client = await aFeatureClient('SDK v1, Streamable HTTP', url);
    await client.call('elicit');
    const calls = behind.of('tools/call');
    expect(calls.map(({ params }) => params['requestState'])).toEqual([undefined, oddState]);
    for (const { headers } of calls)
      expect(headers).toMatchObject({
        authorization: 'Bearer key of a user',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': 'elicit',
      });
    // It is asked once for an instance whether it speaks its clients' era.
    await using other = await aFeatureClient('SDK v1, Streamable HTTP', url);
    await other.call('echo');
    expect(behind.of('initialize')).toHaveLength(1);
  });

  it('U04 U08 a subscription survives its upstream’s stream, and the service’s process, by the GET stream alone', async () => {
    const session = await initialize((await server.aUrl(credential)).url);
    await session.request('resources/subscribe', { uri: 'test://one' });
    const stream = await session.stream();
    behind.dropListens();
    expect(await stream.next(({ params }) => params?.uri === 'test://one')).toBeDefined();
    behind.notify.resourceUpdated('test://one');
    expect(await stream.next(({ params }) => params?.uri === 'test://one')).toBeDefined();
    await server.restart();
    await waitUntil('nobody listens', () => behind.listening === 0);
    const again = await session.stream();
    await waitUntil('the upstream is heard again', () => behind.listening === 1);
    behind.notify.resourceUpdated('test://one');
    expect(await again.next()).toMatchObject({ params: { uri: 'test://one' } });
    again.close();
  });

  it('R23 cancelling closes the upstream’s POST', async () => {
    const session = await initialize((await server.aUrl(credential)).url);
    const events = startRequest(session.url, {
      headers: session.headers,
      body: { jsonrpc: '2.0', id: 'h', method: 'tools/call', params: { name: 'hang' } },
    });
    events.response.catch(() => {});
    await waitUntil('it runs', () => behind.of('tools/call').length === 1);
    events.request.destroy();
    await waitUntil('it was cancelled', () => behind.cancelled.length > 0);
    expect(behind.cancelled).toEqual(['hang']);
  });
});
