/** What sessions notice of a pool of children that is full: nothing, while one of the user's children is idle. */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { startTicksOf } from '../../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/ownershipMark.js';
import { aHostileService } from '../../support/aStdioService.js';
import { waitUntil } from '../../support/eventually.js';
import { initialize, textOf, type LegacyConversation } from '../../support/mcpHttp.js';
import { openUniversalServer, type UniversalServer } from '../../support/universalServer.js';

jest.setTimeout(60_000);

/** Clients that can be asked have a child each. */
const canBeAsked = { sampling: {} };
const sampled = { role: 'assistant', content: { type: 'text', text: 'hi' }, model: 'm' };

const openMany = (url: string, count: number): Promise<LegacyConversation[]> =>
  Promise.all(Array.from({ length: count }, () => initialize(url, canBeAsked)));

describe('more sessions than children', () => {
  const limits = { ...aHostileService().limits, requestsPerMinute: 100_000, burst: 10_000, concurrency: 100 };
  const aServer = (maxPerUser: number, site?: UniversalServer['site']): Promise<UniversalServer> =>
    openUniversalServer({
      definition: { ...aHostileService({ maxPerUser, maxProcesses: 50 }), limits },
      ...(site === undefined ? {} : { site }),
    });
  let server: UniversalServer;

  beforeAll(async () => {
    server = await aServer(12);
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  it('U08 I09 the idle child alone gives way, whose session goes on with another; calls under way end well', async () => {
    const { url } = await server.aUrl();
    const idle = await initialize(url, canBeAsked);
    expect((await idle.request('logging/setLevel', { level: 'error' })).json.result).toEqual({});
    const idlePid = textOf(await idle.call('pid'));
    const busy = await openMany(url, 11);
    const calls = await Promise.all(
      busy.map(async (session) => {
        const events = await session.open('tools/call', { name: 'sample', arguments: {} });
        return { session, events, asked: await events.next() };
      }),
    );
    const neighbour = await initialize((await server.aUrl()).url);
    const neighboursPid = textOf(await neighbour.call('pid'));
    const another = await initialize(url, canBeAsked);
    expect(textOf(await another.call('echo', { text: 'there is room' }))).toBe('there is room');
    // The child of `another` gives way in its turn.
    expect(textOf(await idle.call('pid'))).not.toBe(idlePid);
    expect(JSON.parse(textOf(await idle.call('heard')))).toContainEqual({ setLevel: 'error' });

    await waitUntil('the child that gave way is gone', () => startTicksOf(Number(idlePid)) === null);
    for (const { session, events, asked } of calls) {
      expect(asked.method).toBe('sampling/createMessage');
      expect((await session.respond({ id: asked.id, result: sampled })).status).toBe(202);
      expect(await events.next(({ id }) => id !== undefined)).toHaveProperty('result.content');
    }
    expect(textOf(await neighbour.call('pid'))).toBe(neighboursPid);
  });

  it.each([
    [1, 2],
    [3, 9],
  ])(
    'U08 I09 with %i children and %i sessions each call is answered, while no more are made at once than children',
    async (children, count) => {
      await using small = await aServer(children, server.site);
      const { url } = await small.aUrl();
      const sessions: LegacyConversation[] = [];
      for (let at = 0; at < count; at += 1) {
        const session = await initialize(url, canBeAsked);
        // Its child may start behind the answer to `initialize`; now it runs.
        await session.call('pid');
        sessions.push(session);
      }
      const said = await Promise.all(
        Array.from({ length: children }, async (_, caller) => {
          const own = sessions.filter((_session, at) => at % children === caller);
          const texts: string[] = [];
          for (let turn = 0; turn < 4; turn += 1)
            for (const session of own)
              texts.push(textOf(await session.call('echo', { text: `turn ${turn}` })));
          return texts;
        }),
      );
      const turns = [0, 1, 2, 3].flatMap((turn) => Array<string>(count / children).fill(`turn ${turn}`));
      expect(said).toEqual(Array.from({ length: children }, () => turns));
    },
  );
});
