/** How long a call may take whose server asks its client, where the bytes pass (MCP "Sampling", "Elicitation"). */
import { describe, expect, it } from '@jest/globals';
import { openPassedSite } from '../../support/aPassedSite.js';
import { initialize, textOf } from '../../support/mcpHttp.js';

describe('the deadline of a passed call', () => {
  it('R05 U07 stands still while a person answers, and goes on when the server has the answer', async () => {
    await using site = await openPassedSite({}, { limits: { timeoutMs: 1_000 } });
    const client = await initialize(site.url, { sampling: {} });
    const call = await client.open('tools/call', { name: 'ask' });
    const asked = await call.next(({ method }) => method === 'sampling/createMessage');
    // Calls that began later come to their deadline meanwhile.
    for (let i = 0; i < 2; i += 1)
      expect((await client.call('wait')).json.error.data.code).toBe('UPSTREAM_TIMEOUT');
    const result = { model: 'm', role: 'assistant', content: { type: 'text', text: 'hello' } };
    expect((await client.respond({ id: asked.id, result })).status).toBe(202);
    expect(JSON.parse(textOf({ json: await call.next() }))).toEqual({ type: 'text', text: 'hello' });
  });
});
