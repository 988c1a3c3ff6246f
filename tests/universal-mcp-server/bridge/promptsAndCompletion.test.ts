import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { aStdioService } from '../../support/aStdioService.js';
import { initialize, modern, send } from '../../support/mcpHttp.js';
import { openUniversalServer, type UniversalServer } from '../../support/universalServer.js';

type Ask = (method: string, params: Record<string, unknown>) => ReturnType<typeof send>;

describe.each(['legacy', 'modern'] as const)('prompts and completion for a client of the %s era', (era) => {
  let server: UniversalServer;
  let ask: Ask;

  beforeAll(async () => {
    server = await openUniversalServer({ definition: aStdioService('everything') });
    const { url } = await server.aUrl();
    const session = era === 'legacy' ? await initialize(url) : null;
    ask = (method, params) => session?.request(method, params) ?? send(url, modern(method, params));
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  it('U07 prompts/get fills in the arguments', async () => {
    const { status, json } = await ask('prompts/get', {
      name: 'completable-prompt',
      arguments: { department: 'Sales', name: 'Eve' },
    });
    expect(status).toBe(200);
    expect(json.result.messages).toEqual([
      { role: 'user', content: { type: 'text', text: 'Please promote Eve to the head of the Sales team.' } },
    ]);
    expect(json.result.resultType).toBe(era === 'modern' ? 'complete' : undefined);
  });

  it('U07 prompts/get without an argument that is needed, or of no prompt, is the server’s own error', async () => {
    for (const params of [{ name: 'completable-prompt', arguments: {} }, { name: 'no-such-prompt' }]) {
      const { status, json } = await ask('prompts/get', params);
      expect([status, json.error.code]).toEqual([200, -32602]);
    }
  });

  it('U07 completion/complete proposes values, and heeds what was chosen before', async () => {
    const ref = { type: 'ref/prompt', name: 'completable-prompt' };
    const first = await ask('completion/complete', { ref, argument: { name: 'department', value: 'S' } });
    expect(first.json.result.completion.values).toEqual(['Sales', 'Support']);
    const second = await ask('completion/complete', {
      ref,
      argument: { name: 'name', value: '' },
      context: { arguments: { department: 'Sales' } },
    });
    expect(second.json.result.completion.values).toEqual(['David', 'Eve', 'Frank']);
  });
});
