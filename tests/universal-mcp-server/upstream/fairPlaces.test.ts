import { describe, expect, it } from '@jest/globals';
import { createFairPlaces } from '../../../backend/src/mcp-servers/universal-mcp-server/upstream/fairPlaces.js';
import { anApiService, aTool } from '../../support/anApiService.js';
import { waitUntil } from '../../support/eventually.js';
import { initialize } from '../../support/mcpHttp.js';
import { json, startRecordingUpstream } from '../../support/recordingUpstream.js';
import { openUniversalServer } from '../../support/universalServer.js';

const { signal } = new AbortController();

describe('createFairPlaces', () => {
  it('gives one user half of the places, and the next free one to whoever had fewer turns', async () => {
    const places = createFairPlaces({ places: 4 });
    expect([places.enter('a', signal), places.enter('a', signal)]).toEqual([null, null]);
    const got: string[] = [];
    const wait = (user: string): void => void places.enter(user, signal)?.then(() => got.push(user));
    wait('a');
    wait('a');
    expect([places.enter('b', signal), places.enter('c', signal), places.taken]).toEqual([null, null, 4]);
    wait('d');
    places.leave('b');
    await Promise.resolve();
    expect(got).toEqual(['d']);
    places.leave('a');
    await Promise.resolve();
    expect([got, places.taken, places.waiting]).toEqual([['d', 'a'], 4, 1]);
  });

  it('forgets who gives up, and refuses more than may wait', async () => {
    const places = createFairPlaces({ places: 1, waitingMax: 1 });
    expect(places.enter('a', signal)).toBeNull();
    const given = new AbortController();
    const waiting = places.enter('b', given.signal);
    expect(() => places.enter('c', signal)).toThrow('too many calls wait');
    const why = new Error('the client is gone');
    given.abort(why);
    await expect(waiting).rejects.toBe(why);
    places.leave('a');
    expect([places.taken, places.waiting]).toEqual([0, 0]);
    expect(() => places.enter('d', given.signal)).toThrow(why);
  });
});

it('slow calls of one user leave connections to the others', async () => {
  await using upstream = await startRecordingUpstream();
  const held: (() => void)[] = [];
  upstream.on('/slow', (response, request) => void held.push(() => json(200, {})(response, request)));
  upstream.on('/quick', json(200, { quick: true }));
  const definition = anApiService({
    baseUrl: upstream.origin,
    connections: 4,
    tools: [
      aTool('slow', { method: 'GET', path: '/slow' }),
      aTool('quick', { method: 'GET', path: '/quick' }),
    ],
  });
  await using server = await openUniversalServer({ definition });
  const heavy = await initialize((await server.aUrl({ method: 'key', fields: { token: 't' } })).url);
  const light = await initialize((await server.aUrl({ method: 'key', fields: { token: 't' } })).url);
  const slow = Array.from({ length: 12 }, () => heavy.call('slow'));
  await waitUntil('the heavy user holds all they may', () => held.length === 2);
  for (let at = 0; at < 5; at += 1) expect((await light.call('quick')).status).toBe(200);
  expect(held).toHaveLength(2);
  let answered = 0;
  for (const call of slow) void call.then(() => (answered += 1));
  await waitUntil('all of them were answered', () => {
    for (const answer of held.splice(0)) answer();
    return answered === slow.length;
  });
});
