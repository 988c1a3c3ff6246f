import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { aHostileService } from '../../support/aStdioService.js';
import { waitUntil } from '../../support/eventually.js';
import { modern, openEvents, send, textOf, type EventReader } from '../../support/mcpHttp.js';
import { openUniversalServer, type UniversalServer } from '../../support/universalServer.js';

/** Of a client that can be asked, whose calls therefore meet a child of their own. */
const meta = { 'io.modelcontextprotocol/clientCapabilities': { elicitation: {}, sampling: {} } };

const call = (url: string, name: string, given: object = {}) =>
  send(url, modern('tools/call', { name, arguments: given }, { meta }));

async function listen(url: string, notifications: object): Promise<EventReader & { readonly id: string }> {
  const wish = modern('subscriptions/listen', { notifications }, { meta });
  const events = await openEvents(url, wish);
  const { id } = wish.body as { id: string };
  expect(await events.next()).toMatchObject({
    method: 'notifications/subscriptions/acknowledged',
    params: { notifications, _meta: { 'io.modelcontextprotocol/subscriptionId': id } },
  });
  return Object.assign(events, { id });
}

/** What the server heard of subscriptions. */
const subscriptions = async (url: string): Promise<object[]> =>
  JSON.parse(textOf(await call(url, 'heard'))).filter(
    (one: object) => 'subscribe' in one || 'unsubscribe' in one,
  );

describe('U07 listen streams of modern clients onto a legacy server over stdio', () => {
  let server: UniversalServer;

  beforeAll(async () => {
    server = await openUniversalServer({ definition: aHostileService() });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  it('U07 hear what the calls of their own client change', async () => {
    const { url } = await server.aUrl();
    await call(url, 'pid');
    const stream = await listen(url, { toolsListChanged: true });
    await call(url, 'grow');
    expect(await stream.next()).toMatchObject({
      method: 'notifications/tools/list_changed',
      params: { _meta: { 'io.modelcontextprotocol/subscriptionId': stream.id } },
    });
    stream.close();
  });

  it('U07 a wider stream opens beside a narrow one, and the server hears of the end of what nobody wants', async () => {
    const { url } = await server.aUrl();
    const narrow = await listen(url, { resourceSubscriptions: ['test://one'] });
    const wide = await listen(url, { resourceSubscriptions: ['test://one', 'test://two'] });
    expect(await subscriptions(url)).toEqual([{ subscribe: 'test://one' }, { subscribe: 'test://two' }]);
    narrow.close();
    await call(url, 'touch', { uri: 'test://one' });
    await call(url, 'touch', { uri: 'test://two' });
    expect((await wide.next()).params).toMatchObject({
      uri: 'test://one',
      _meta: { 'io.modelcontextprotocol/subscriptionId': wide.id },
    });
    expect((await wide.next()).params.uri).toBe('test://two');
    wide.close();
    await waitUntil('both subscriptions ended', async () => (await subscriptions(url)).length === 4);
    expect((await subscriptions(url)).slice(2)).toEqual(
      expect.arrayContaining([{ unsubscribe: 'test://one' }, { unsubscribe: 'test://two' }]),
    );
  });

  it('U07 end with a result when the service ends, so that their client listens anew', async () => {
    await using own = await openUniversalServer({ definition: aHostileService(), site: server.site });
    const { url } = await own.aUrl();
    const stream = await listen(url, { toolsListChanged: true });
    await own.restart();
    expect(await stream.next()).toMatchObject({
      id: stream.id,
      result: { resultType: 'complete', _meta: { 'io.modelcontextprotocol/subscriptionId': stream.id } },
    });
    await stream.ended;
  });
});
