/** A server whose tool has a schema so deep that whatever descends into it runs out of stack (R28). */
import { expect, it } from '@jest/globals';
import { aHostileService, hostileServer } from '../../support/aStdioService.js';
import { initialize, modern, send, textOf } from '../../support/mcpHttp.js';
import { openUniversalServer } from '../../support/universalServer.js';

it('R28 a schema of 20,000 levels costs its own client an answer at most', async () => {
  await using server = await openUniversalServer({
    definition: aHostileService({ args: [hostileServer, '--deep=20000'] }),
  });
  const [alice, bob] = [await server.aUrl(), await server.aUrl()];
  const others = await initialize(bob.url);
  const legacy = await initialize(alice.url);
  for (let round = 0; round < 2; round += 1) {
    const startedAt = performance.now();
    const lists = await Promise.all([
      legacy.request('tools/list'),
      send(alice.url, modern('tools/list')),
      send(bob.url, modern('tools/list')),
    ]);
    // Either the list as it is or an error of JSON-RPC; the process goes on, and nobody waited for it.
    for (const list of lists) expect(list.text).toMatch(/"name":"deep"|"error":\{"code":-32603/);
    expect(textOf(await others.call('echo', { text: 'bob' }))).toBe('bob');
    expect(textOf(await legacy.call('echo', { text: 'alice' }))).toBe('alice');
    const call = await send(bob.url, modern('tools/call', { name: 'echo', arguments: { text: 'x' } }));
    expect(textOf(call)).toBe('x');
    expect(performance.now() - startedAt).toBeLessThan(10_000);
  }
});
