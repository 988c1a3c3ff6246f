import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { expect, it } from '@jest/globals';
import { Secret } from '../../backend/src/config/secrets.js';
import { startListening, type Listener, type ListenOptions } from '../../backend/src/database/listen.js';
import { waitUntil } from '../support/eventually.js';
import { makeOwnCluster } from '../support/ownCluster.js';
import { cloneDatabase } from '../support/testDatabase.js';

/** A listener that writes down what happens to it. */
function listenTo(connectionString: Secret, options: Partial<ListenOptions> = {}) {
  const log: string[] = [];
  const listener: Listener = startListening(
    {
      connectionString,
      applicationName: 'test-listen',
      channels: ['portolan_instances', 'portolan_users'],
      ...options,
    },
    {
      onUp: () => log.push('up'),
      onDown: () => log.push('down'),
      onNotify: (channel, payload) => log.push(`${channel}:${payload}`),
    },
  );
  return { log, listener, [Symbol.asyncDispose]: () => listener.close() };
}

it('R26 goes down when its backend is terminated, comes back by itself, and hears again', async () => {
  await using db = await cloneDatabase();
  const superuser = await db.superuser();
  await using heard = listenTo(db.urls.service);
  const { log, listener } = heard;
  await waitUntil('it is up', () => listener.isUp);
  await superuser.query(`select pg_notify('portolan_instances', 'a')`);
  await waitUntil('it hears', () => log.includes('portolan_instances:a'));

  for (let round = 2; round < 5; round += 1) {
    const begun = performance.now();
    await superuser.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'test-listen' and datname = $1`,
      [db.name],
    );
    await waitUntil('it is up again', () => listener.generation === round);
    expect(performance.now() - begun).toBeLessThan(2_000);
    await superuser.query(`select pg_notify('portolan_users', $1)`, [String(round)]);
    await waitUntil('it hears again', () => log.includes(`portolan_users:${round}`));
  }
  expect(log).toEqual([
    'up',
    'portolan_instances:a',
    'down',
    'up',
    'portolan_users:2',
    'down',
    'up',
    'portolan_users:3',
    'down',
    'up',
    'portolan_users:4',
  ]);
});

it('R26 goes down within 2 s when its connection dies without a word', async () => {
  await using db = await cloneDatabase();
  const target = new URL(db.urls.service.reveal().replace('@/', '@socket/'));
  const socketPath = `${target.searchParams.get('host')}/.s.PGSQL.${target.searchParams.get('port')}`;
  let isCut = false;
  const open = new Set<Socket>();
  const proxy = createServer((downstream) => {
    const upstream = connect(socketPath);
    for (const socket of [downstream, upstream]) {
      open.add(socket);
      socket.on('error', () => {});
    }
    downstream.on('data', (bytes) => isCut || upstream.write(bytes));
    upstream.on('data', (bytes) => isCut || downstream.write(bytes));
    downstream.on('close', () => upstream.destroy());
    upstream.on('close', () => downstream.destroy());
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const { port } = proxy.address() as { port: number };
  const url = `postgresql://${target.username}:${target.password}@127.0.0.1:${port}/${db.name}`;
  {
    await using heard = listenTo(new Secret(url));
    await waitUntil('it is up', () => heard.listener.isUp);
    isCut = true;
    const begun = performance.now();
    await waitUntil('it is down', () => !heard.listener.isUp);
    expect(performance.now() - begun).toBeLessThan(2_000);
    isCut = false;
    await waitUntil('it is up again', () => heard.listener.isUp);
    expect(heard.log).toEqual(['up', 'down', 'up']);
  }
  for (const socket of open) socket.destroy();
  proxy.close();
  await once(proxy, 'close');
});

it('begins before the database does, and says nothing of being down until it was up', async () => {
  await using cluster = await makeOwnCluster();
  await using heard = listenTo(cluster.url('service'), { pauseMsMax: 100 });
  const first = await cluster.start();
  await waitUntil('it is up', () => heard.listener.isUp);
  await first.stop();
  await waitUntil('it is down', () => !heard.listener.isUp);
  const second = await cluster.start();
  await waitUntil('it is up again', () => heard.listener.isUp);
  expect(heard.log).toEqual(['up', 'down', 'up']);
  await heard.listener.close();
  expect(heard.log).toEqual(['up', 'down', 'up', 'down']);
  await second.stop();
});

it('ends at once while it waits for a server that is away', async () => {
  const { listener } = listenTo(new Secret('postgresql://x:y@127.0.0.1:9/none'), {
    pauseMsMin: 60_000,
    pauseMsMax: 60_000,
  });
  const begun = performance.now();
  await listener.close();
  expect(performance.now() - begun).toBeLessThan(1_000);
  expect(listener.generation).toBe(0);
});
