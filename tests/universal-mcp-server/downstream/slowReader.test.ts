import { describe, expect, it } from '@jest/globals';
import { connect } from 'node:net';
import { once } from 'node:events';
import { aHostileService } from '../../support/aStdioService.js';
import { initialize, send, textOf } from '../../support/mcpHttp.js';
import { openUniversalServer } from '../../support/universalServer.js';

const uri = `test://${'x'.repeat(1024 * 1024)}`;
const mebibytesMax = 40;

describe('a client that does not read', () => {
  it('R24 is cut off while little waits for it, and nobody else notices', async () => {
    await using server = await openUniversalServer({ definition: aHostileService() });
    const { url } = await server.aUrl();
    const [slow, quick] = [await initialize(url), await initialize(url)];
    await slow.request('resources/subscribe', { uri });
    const openStreams = async (): Promise<number> => {
      const headers = { authorization: `Bearer ${server.metricsToken}` };
      const { text } = await send(`${server.origin}/metrics`, { method: 'GET', headers });
      return Number(/^portolan_open_streams(?:\{[^}]*\})? (\d+)$/m.exec(text)?.[1]);
    };

    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'connect');
    const head = Object.entries({ ...slow.headers, accept: 'text/event-stream', host: new URL(url).host });
    const path = url.slice(server.origin.length);
    socket.write(
      `GET ${path} HTTP/1.1\r\n${head.map(([name, value]) => `${name}: ${value}`).join('\r\n')}\r\n\r\n`,
    );
    await once(socket, 'readable');
    expect(await openStreams()).toBe(1);

    let sent = 0;
    while (sent < mebibytesMax && (await openStreams()) === 1) {
      expect(textOf(await quick.call('touch', { uri }))).toBe('touched');
      sent += 1;
    }
    expect(await openStreams()).toBe(0);
    // More than a pause of a good reader would leave waiting, and less than would hurt.
    expect([sent > 1, sent < mebibytesMax]).toEqual([true, true]);

    let received = 0;
    socket.on('data', (chunk: Buffer) => (received += chunk.length));
    if (!socket.destroyed) await once(socket, 'close');
    expect(received).toBeLessThan(sent * uri.length);
    expect(textOf(await slow.call('echo', { text: 'the session lives' }))).toBe('the session lives');
  });
});
