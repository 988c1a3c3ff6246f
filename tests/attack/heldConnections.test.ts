/** Whoever holds connections open without end (07 I): heads that never end, bodies that never come, streams by the thousand. */
import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { aHostileService } from '../support/aStdioService.js';
import { waitUntil } from '../support/eventually.js';
import { exchange, openListeners, type Listeners } from '../support/listeners.js';
import { modern, send } from '../support/mcpHttp.js';
import { openUniversalServer, type UniversalServer } from '../support/universalServer.js';

/** How long each of so many connections lasted that said this and then nothing; ms. */
const lifetimes = async (port: number, count: number, said: string): Promise<number[]> => {
  const sockets: Socket[] = [];
  const ends = Array.from({ length: count }, () => {
    const socket = connect(port, '127.0.0.1');
    sockets.push(socket);
    return new Promise<number>((resolve) => {
      let startedAt = 0;
      socket.on('connect', () => {
        startedAt = performance.now();
        socket.write(said);
      });
      socket.on('error', () => {});
      socket.on('data', () => {});
      socket.on('end', () => socket.end());
      socket.on('close', () => resolve(performance.now() - startedAt));
    });
  });
  return await Promise.all(ends);
};

/** Opens one as a client of the old transport would; tells the status, and keeps it open when there is one. */
const openStream = (url: string, held: ClientRequest[]): Promise<number> =>
  new Promise((resolve, reject) => {
    const request = httpRequest(`${url}/sse`, { agent: false, headers: { accept: 'text/event-stream' } });
    request.on('response', (response: IncomingMessage) => {
      response.on('error', () => {});
      response.resume();
      if (response.statusCode === 200) held.push(request);
      resolve(response.statusCode ?? 0);
    });
    request.on('error', reject);
    request.end();
  });

/** What a machine with fewer cores than work may take to notice that a time is over. */
const noticedMs = 5_000;

describe('half-open connections', () => {
  let fleet: Listeners;
  beforeAll(async () => {
    fleet = await openListeners();
  });
  afterAll(async () => {
    await fleet[Symbol.asyncDispose]();
  });

  it('I01 closes 500 with a head that never ends within 15 s on every listener, and serves others meanwhile', async () => {
    const ends = await Promise.all(
      fleet.all.map(async ({ name, port, open }) => {
        const held = lifetimes(port, 500, 'GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ');
        const took: number[] = [];
        const statuses = new Set<number>();
        const ask = `GET ${open} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`;
        while ((await Promise.race([held, Promise.resolve(null)])) === null) {
          const startedAt = performance.now();
          statuses.add((await exchange(port, ask)).status);
          took.push(performance.now() - startedAt);
        }
        const longest = Math.max(...(await held));
        const p99 = took.toSorted((one, two) => one - two)[Math.floor(took.length * 0.99)] ?? 0;
        console.log(`I01 ${name}: closed after ${Math.round(longest)} ms, others' p99 ${Math.round(p99)} ms`);
        return { name, statuses: [...statuses], isInTime: longest < 15_000 + noticedMs };
      }),
    );
    expect(ends).toEqual(fleet.all.map(({ name }) => ({ name, statuses: [200], isInTime: true })));
  }, 60_000);

  it('I01 gives up on a body that never comes within 30 s and what it takes to look', async () => {
    const withBodies = fleet.all.filter(({ post }) => post !== null);
    const longest = await Promise.all(
      withBodies.map(async ({ port, post }) => {
        const head = `POST ${post} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n`;
        return Math.max(...(await lifetimes(port, 100, `${head}Content-Length: 1000\r\n\r\n{`)));
      }),
    );
    for (const ms of longest) expect(ms).toBeLessThan(35_000 + noticedMs);
  }, 60_000);
});

/** As many as the listener's backlog takes at once; beyond it the system lets clients knock again after seconds. */
const wavesOf = 100;

describe('streams', () => {
  let server: UniversalServer;
  beforeAll(async () => {
    server = await openUniversalServer({ definition: aHostileService() });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  it('I02 caps 10,000 of one user over all instances, finds room for others, and has it all back when they close', async () => {
    const owner = await server.site.aUser();
    const own = [
      await server.aUrl({ owner, label: 'one' }),
      await server.aUrl({ owner, label: 'two' }),
      await server.aUrl({ owner, label: 'three' }),
    ];
    const other = await server.aUrl();
    const held: ClientRequest[] = [];
    const statuses = new Map<number, number>();
    const others: number[] = [];
    for (let sent = 0; sent < 10_000; sent += wavesOf) {
      const wave = Array.from({ length: wavesOf }, (_, at) => openStream(own[at % 3]!.url, held));
      const theirs: ClientRequest[] = [];
      others.push((await send(other.url, modern('tools/list'))).status, await openStream(other.url, theirs));
      for (const status of await Promise.all(wave)) statuses.set(status, (statuses.get(status) ?? 0) + 1);
      for (const request of theirs) request.destroy();
    }
    expect(new Set(others)).toEqual(new Set([200]));
    expect(Object.fromEntries(statuses)).toEqual({ 200: 200, 429: 9_800 });
    for (const request of held) request.destroy();
    await waitUntil('the places are free again', async () => {
      const again: ClientRequest[] = [];
      const status = await openStream(own[0]!.url, again);
      for (const request of again) request.destroy();
      return status === 200;
    });
  }, 180_000);

  it('I02 caps those of one instance, of either era', async () => {
    const { url } = await server.aUrl();
    const held: ClientRequest[] = [];
    const opened = await Promise.all(Array.from({ length: 130 }, () => openStream(url, held)));
    expect(opened.filter((status) => status === 200)).toHaveLength(100);
    const listen = await send(
      url,
      modern('subscriptions/listen', { notifications: { toolsListChanged: true } }),
    );
    expect([listen.status, listen.headers['retry-after']]).toEqual([429, '5']);
    const stream = await send(url, { method: 'GET', headers: { accept: 'text/event-stream' } });
    expect(stream.status).toBe(429);
    for (const request of held) request.destroy();
  }, 60_000);
});
