import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { aLegacyView, everyCapability } from '../../support/aLegacyView.js';
import { waitUntil } from '../../support/eventually.js';
import { openModernServer, type ModernServer } from '../../support/modernServer.js';

describe('what a legacy session hears of a modern upstream outside any request', () => {
  let server: ModernServer;
  beforeEach(async () => {
    server = await openModernServer();
  });
  afterEach(async () => {
    await server[Symbol.asyncDispose]();
  });

  it('12.18 takes up the level and the subscriptions that the session had settled', async () => {
    using session = await aLegacyView(server, everyCapability, {
      logLevel: 'critical',
      subscriptions: ['test://one'],
    });
    const { call, view, heard } = session;
    view.hear();
    await waitUntil('the upstream is heard', () => server.listening === 1);
    expect(server.of('subscriptions/listen')[0]?.params['notifications']).toEqual({
      toolsListChanged: true,
      promptsListChanged: true,
      resourcesListChanged: true,
      resourceSubscriptions: ['test://one'],
    });
    await call('log', { level: 'error' });
    expect(heard).toEqual([]);
  });

  it('U07 one upstream stream at a time: changed lists, and the resources that were subscribed to', async () => {
    using session = await aLegacyView(server);
    const { send, view, background } = session;
    view.hear();
    await waitUntil('the upstream is heard', () => server.listening === 1);
    server.notify.resourceUpdated('test://one');
    await Promise.all(['test://one', 'test://two'].map((uri) => send('resources/subscribe', { uri })));
    await waitUntil('the narrower streams are closed', () => server.listening === 1);
    expect(server.of('subscriptions/listen').at(-1)?.params['notifications']).toMatchObject({
      resourceSubscriptions: ['test://one', 'test://two'],
    });
    server.notify.resourceUpdated('test://one');
    server.notify.toolsChanged();
    await waitUntil('both were told', () => background.length === 2);
    expect(background).toEqual([
      { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'test://one' } },
      { jsonrpc: '2.0', method: 'notifications/tools/list_changed' },
    ]);
    await send('resources/unsubscribe', { uri: 'test://one' });
    await waitUntil('the wider stream is closed', () => server.listening === 1);
    server.notify.resourceUpdated('test://one');
    server.notify.resourceUpdated('test://two');
    await waitUntil('the other was told', () => background.length === 3);
    expect(background[2]?.params).toEqual({ uri: 'test://two' });
  });

  it('a listen stream that breaks is opened again, and what may have been missed is told', async () => {
    using session = await aLegacyView(server);
    const { send, background } = session;
    await send('resources/subscribe', { uri: 'test://one' });
    expect(server.listening).toBe(1);
    server.dropListens();
    await waitUntil('it is open again', () => server.of('subscriptions/listen').length === 2);
    await waitUntil('the gap was told', () => background.length === 4);
    expect(background.map(({ method }) => method)).toEqual([
      'notifications/tools/list_changed',
      'notifications/prompts/list_changed',
      'notifications/resources/list_changed',
      'notifications/resources/updated',
    ]);
    server.notify.resourceUpdated('test://one');
    await waitUntil('updates come again', () => background.length === 5);
  });

  it('ends with its connection, and leaves no stream behind when it is released', async () => {
    using session = await aLegacyView(server);
    const { view } = session;
    view.hear();
    await waitUntil('the upstream is heard', () => server.listening === 1);
    session.lose();
    expect(session.closed).toBe(1);
    await waitUntil('nothing is heard', () => server.listening === 0);
    using other = await aLegacyView(server);
    other.view.hear();
    await waitUntil('the upstream is heard', () => server.listening === 1);
    other.view.release();
    await waitUntil('nothing is heard', () => server.listening === 0);
  });
});
