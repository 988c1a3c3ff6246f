/**
 * The features of the matrix (U07), each as a check of what arrives at the client. A check throws when something is lost;
 * where a revision or transport has no such thing, it says so with a short name.
 */
import { expect } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { waitUntil } from '../support/eventually.js';
import { roots, type MatrixClient } from './matrixClients.js';
import { resumeStream } from './resumeStream.js';

/** Nothing when the feature works, else why there is none. */
export type FeatureCheck = (client: MatrixClient, url: string) => Promise<string | void>;

const watched = 'test://watched-resource';
const textOf = (result: Readonly<Record<string, unknown>>): string =>
  (result['content'] as { text: string }[])[0]?.text ?? '';
const namesIn = (list: readonly Readonly<Record<string, unknown>>[]): unknown[] =>
  list.map(({ name }) => name);

export const features: Readonly<Record<string, FeatureCheck>> = {
  async tools(client) {
    const { tools } = await client.listTools();
    const schema = tools.find(({ name }) => name === 'json_schema_2020_12_tool')?.['inputSchema'];
    expect(schema).toMatchObject({
      $defs: { address: { $anchor: 'addressDef' } },
      else: { required: ['email'] },
    });
    const { content } = await client.call('test_multiple_content_types');
    expect(content).toEqual([
      { type: 'text', text: 'Multiple content types test:' },
      { type: 'image', data: expect.stringMatching(/^iVBOR/), mimeType: 'image/png' },
      {
        type: 'resource',
        resource: {
          uri: 'test://mixed-content-resource',
          mimeType: 'application/json',
          text: '{"test":"data","value":123}',
        },
      },
    ]);
    expect(await client.call('test_error_handling')).toMatchObject({ isError: true });
  },

  async 'structured content'(client) {
    const { structuredContent } = await client.call('test_structured_content', { city: 'Oslo' });
    expect(structuredContent).toEqual({ city: 'Oslo', degrees: 21.5 });
  },

  async prompts(client) {
    expect(namesIn((await client.listPrompts()).prompts)).toContain('test_prompt_with_arguments');
    const { messages } = await client.getPrompt({
      name: 'test_prompt_with_arguments',
      arguments: { arg1: 'a', arg2: 'b' },
    });
    const text = "Prompt with arguments: arg1='a', arg2='b'";
    expect(messages).toEqual([{ role: 'user', content: { type: 'text', text } }]);
  },

  async resources(client) {
    expect(namesIn((await client.listResources()).resources)).toContain('static-binary');
    const { contents } = await client.readResource({ uri: 'test://static-binary' });
    const blob = expect.stringMatching(/^iVBOR/);
    expect(contents).toEqual([{ uri: 'test://static-binary', mimeType: 'image/png', blob }]);
    await expect(client.readResource({ uri: 'test://none' })).rejects.toMatchObject({
      code: client.isV1 ? -32002 : -32602,
    });
  },

  async templates(client) {
    const { resourceTemplates } = await client.listResourceTemplates();
    expect(resourceTemplates.map(({ uriTemplate }) => uriTemplate)).toEqual(['test://template/{id}/data']);
    const { contents } = await client.readResource({ uri: 'test://template/7/data' });
    expect(JSON.stringify(contents)).toContain('Data for ID: 7');
  },

  async completions(client) {
    const ofPrompt = await client.complete({
      ref: { type: 'ref/prompt', name: 'test_prompt_with_arguments' },
      argument: { name: 'arg1', value: 'ap' },
    });
    expect(ofPrompt['completion']).toMatchObject({ values: ['apple', 'apricot'], total: 2 });
    const ofTemplate = await client.complete({
      ref: { type: 'ref/resource', uri: 'test://template/{id}/data' },
      argument: { name: 'id', value: '10' },
    });
    expect(ofTemplate['completion']).toMatchObject({ values: ['100', '101'] });
  },

  async logging(client) {
    await client.logFrom('warning');
    const before = client.heard.length;
    await client.call('test_log_at');
    const logged = () =>
      client.heard
        .slice(before)
        .flatMap(({ method, params }) =>
          method === 'notifications/message' ? [[params['level'], params['data']]] : [],
        );
    await waitUntil('the last message', () => logged().length >= 2, 2_000).catch(() => undefined);
    expect(logged()).toEqual([
      ['warning', 'said at warning'],
      ['error', 'said at error'],
    ]);
  },

  async progress(client) {
    const seen: object[] = [];
    await client.call('test_tool_with_progress', {}, { onprogress: (progress) => seen.push(progress) });
    expect(seen).toEqual(
      [0, 50, 100].map((progress) => ({ progress, total: 100, message: `${progress} of 100` })),
    );
  },

  async cancellation(client) {
    const key = randomUUID();
    const ended = new AbortController();
    const call = client.call(
      'test_wait',
      { key },
      { signal: ended.signal, onprogress: () => ended.abort(new Error('enough')) },
    );
    await expect(call).rejects.toBeDefined();
    await waitUntil(
      'the server heard of it',
      async () => textOf(await client.call('test_counted', { key: `cancelled ${key}` })) === '1',
      3_000,
    );
  },

  async sampling(client) {
    const result = await client.call('test_sampling', { prompt: 'a poem' });
    expect(textOf(result)).toBe('LLM response: sampled for a poem');
  },

  async elicitation(client) {
    const result = await client.call('test_elicitation', { message: 'ada' });
    const content = '{"username":"ada","email":"ada@example.com"}';
    expect(textOf(result)).toBe(`User response: action=accept, content=${content}`);
  },

  async roots(client) {
    const result = await client.call('test_list_roots');
    expect(textOf(result)).toBe(`Roots: ${roots.map(({ uri }) => uri).join(' ')}`);
  },

  async subscriptions(client) {
    await client.watch([watched]);
    const touch = (uri: string) => client.call('test_touch_resource', { uri });
    const method = 'notifications/resources/updated';
    await untilHeard(() => client.hear(method, () => touch(watched)));
    const before = client.heard.length;
    await touch('test://static-text');
    expect((await client.hear(method, () => touch(watched))).params['uri']).toBe(watched);
    const updates = client.heard.slice(before).filter((one) => one.method === method);
    expect(updates.map(({ params }) => params['uri'])).toEqual([watched]);
    const { contents } = await client.readResource({ uri: watched });
    expect(JSON.stringify(contents)).toMatch(/Touched \d+ times/);
  },

  async 'list changes'(client) {
    if (client.era === 'modern') await client.watch([]);
    const lists = [
      ['tool', async () => (await client.listTools()).tools],
      ['prompt', async () => (await client.listPrompts()).prompts],
      ['resource', async () => (await client.listResources()).resources],
    ] as const;
    for (const [kind, list] of lists) {
      const before = (await list()).length;
      const change = () => client.call(`test_trigger_${kind}_change`);
      await untilHeard(() => client.hear(`notifications/${kind}s/list_changed`, change));
      expect((await list()).length).toBeGreaterThan(before);
      expect(namesIn(await list())).toContain('test_added_1');
    }
  },

  async resumption(client, url) {
    if (client.era === 'modern') return 'not in 2026-07-28';
    if (client.isSse) return 'not in HTTP+SSE';
    await resumeStream(url);
  },
};

/** A client opens its stream for such news beside its first request, so the first ones may come too early for it. */
async function untilHeard(listen: () => Promise<unknown>): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      await listen();
      return;
    } catch (error) {
      if (tries === 3) throw error;
    }
  }
}
