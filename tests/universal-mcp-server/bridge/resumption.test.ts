import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { EventRing } from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/eventRing.js';
import { aHostileService } from '../../support/aStdioService.js';
import { waitUntil } from '../../support/eventually.js';
import { initialize, type EventReader } from '../../support/mcpHttp.js';
import { openUniversalServer, type UniversalServer } from '../../support/universalServer.js';

const changed = (uri: string) =>
  ({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri } }) as const;

const idOf = async (stream: EventReader): Promise<string> => {
  await waitUntil('an event came', () => stream.lastEventId !== null);
  return String(stream.lastEventId);
};

describe('what a stream was told lately', () => {
  it('gives what came after an id, and nothing for ids of others or of too long ago', () => {
    const ring = new EventRing('a');
    const begin = ring.lastId;
    expect(ring.after(begin)).toEqual([]);
    const ids = Array.from({ length: 100 }, (_, at) => ring.add(changed(`test://${at}`)));
    expect(ring.after(begin)?.map(({ id }) => id)).toEqual(ids);
    expect(ring.after(ids[97]!)?.map(({ notification }) => notification.params?.['uri'])).toEqual([
      'test://98',
      'test://99',
    ]);
    ring.add(changed('test://100'));
    expect([ring.after(begin), ring.after(ids[0]!)?.length]).toEqual([null, 100]);
    for (const strange of ['', 'a-', 'a--1', 'a-01', 'a-1.0', 'a-102', 'b-1', 'a-NaN', 'a-1 '])
      expect(ring.after(strange)).toBeNull();
  });

  it('holds no more than 256 KiB, and no event that is larger', () => {
    const ring = new EventRing('a');
    const first = ring.add(changed('x'.repeat(200_000)));
    const second = ring.add(changed('y'.repeat(100_000)));
    expect([ring.after('a-0'), ring.after(first)?.length]).toEqual([null, 1]);
    const third = ring.add(changed('z'.repeat(300_000)));
    expect([ring.after(second), ring.after(third)]).toEqual([null, []]);
  });
});

describe('the GET stream of a legacy session', () => {
  let server: UniversalServer;
  beforeAll(async () => {
    server = await openUniversalServer({ definition: aHostileService({ maxPerUser: 50, maxProcesses: 50 }) });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  it('U07 tells again what was missed while it was broken, once and in order', async () => {
    const session = await initialize((await server.aUrl()).url);
    await session.request('resources/subscribe', { uri: 'test://one' });
    const stream = await session.stream();
    const begin = await idOf(stream);
    await session.call('touch', { uri: 'test://one' });
    expect(await stream.next()).toMatchObject({ params: { uri: 'test://one' } });
    const heard = await idOf(stream);
    expect(heard).not.toBe(begin);
    stream.close();
    await stream.ended;
    await session.call('grow');
    await session.call('touch', { uri: 'test://one' });
    const again = await session.stream(heard);
    expect([(await again.next()).method, (await again.next()).method]).toEqual([
      'notifications/tools/list_changed',
      'notifications/resources/updated',
    ]);
    const all = await session.stream(begin);
    await again.ended;
    expect((await all.next()).method).toBe('notifications/resources/updated');
    all.close();
  });

  it('U07 a second stream is refused, but not to whoever says where its own broke', async () => {
    const session = await initialize((await server.aUrl()).url);
    const stream = await session.stream();
    const id = await idOf(stream);
    expect([(await session.stream()).status, (await session.stream('made-up')).status]).toEqual([409, 409]);
    const resumed = await session.stream(id);
    expect(resumed.status).toBe(200);
    await stream.ended;
    resumed.close();
  });

  it('U07 where it is not known what was missed, everything may have changed', async () => {
    const session = await initialize((await server.aUrl()).url);
    await session.request('resources/subscribe', { uri: 'test://one' });
    const stream = await session.stream();
    const id = await idOf(stream);
    await server.restart();
    await stream.ended;
    const again = await session.stream(id);
    expect(await again.next()).toMatchObject({ method: 'notifications/tools/list_changed' });
    expect(await again.next()).toMatchObject({ params: { uri: 'test://one' } });
    expect(await idOf(again)).not.toBe(id);
    again.close();
  });
});
