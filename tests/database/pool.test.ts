/** What callers see while PostgreSQL is away, stalled, full or dying under a COMMIT. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Secret } from '../../backend/src/config/secrets.js';
import { createPool, type PoolOptions } from '../../backend/src/database/pool.js';
import { AppError } from '../../backend/src/errors/appError.js';
import { waitUntil } from '../support/eventually.js';
import { makeOwnCluster, type OwnCluster } from '../support/ownCluster.js';
import { cloneDatabase } from '../support/testDatabase.js';

let cluster: OwnCluster;
beforeAll(async () => {
  cluster = await makeOwnCluster();
});
afterAll(() => cluster[Symbol.asyncDispose]());

const aPool = (options: Partial<PoolOptions> = {}) =>
  createPool({ connectionString: cluster.url('api'), applicationName: 'test', ...options });

const unavailable = { code: 'DATABASE_UNAVAILABLE' };

async function timed(work: Promise<unknown>): Promise<{ thrown: unknown; ms: number }> {
  const begun = performance.now();
  const thrown = await work.then(
    () => null,
    (error: unknown) => error,
  );
  return { thrown, ms: performance.now() - begun };
}

describe('R01 PostgreSQL down', () => {
  it('fails within 2 s with DATABASE_UNAVAILABLE and recovers by itself, without a new pool', async () => {
    await using pool = aPool();
    const down = await timed(pool.query('select 1'));
    expect(down.thrown).toMatchObject(unavailable);
    expect(down.ms).toBeLessThan(2_000);

    const first = await cluster.start();
    await pool.query('select 1');
    process.kill(first.pid, 'SIGQUIT'); // immediate shutdown: every connection is cut
    await first.stop();
    const again = await timed(pool.query('select 1'));
    expect(again.thrown).toMatchObject(unavailable);
    expect(again.ms).toBeLessThan(2_000);

    const second = await cluster.start();
    await pool.query('select 1');
    await second.stop();
  });
});

describe('R02 PostgreSQL hung', () => {
  it('gives up on time, opens no more connections than it may, never blocks the loop, and recovers', async () => {
    await using running = await cluster.start();
    await using pool = aPool({
      connectionsMax: 3,
      waitingMax: 20,
      checkoutTimeoutMs: 400,
      statementTimeoutMs: 300,
    });
    const backends = await Promise.all(
      Array.from({ length: 3 }, () =>
        pool.transaction(async (client) => {
          await client.query('select pg_sleep(0.1)');
          return (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]!.pid;
        }),
      ),
    );
    expect(new Set(backends).size).toBe(3);
    const stalled = [running.pid, ...backends];
    for (const pid of stalled) process.kill(pid, 'SIGSTOP');
    let worstLagMs = 0;
    let last = performance.now();
    const beat = setInterval(() => {
      worstLagMs = Math.max(worstLagMs, performance.now() - last - 10);
      last = performance.now();
    }, 10);
    try {
      const calls = await Promise.all(Array.from({ length: 50 }, () => timed(pool.query('select 1'))));
      for (const call of calls) expect(call.thrown).toMatchObject(unavailable);
      // Three are under way, twenty wait, the rest is refused at once.
      expect(calls.filter(({ ms }) => ms < 100).length).toBe(27);
      expect(Math.max(...calls.map(({ ms }) => ms))).toBeLessThan(2_000);
      expect(pool.counts().total).toBeLessThanOrEqual(3);
    } finally {
      clearInterval(beat);
      for (const pid of stalled) process.kill(pid, 'SIGCONT');
    }
    expect(worstLagMs).toBeLessThan(200);
    await waitUntil('the pool works again', () =>
      pool.query('select 1').then(
        () => true,
        () => false,
      ),
    );
  });

  it('closes even then', async () => {
    await using running = await cluster.start();
    const pool = aPool({ connectionsMax: 1, statementTimeoutMs: 200 });
    const { rows } = await pool.query<{ pid: number }>('select pg_backend_pid() as pid');
    process.kill(rows[0]!.pid, 'SIGSTOP');
    const { ms } = await timed(pool.close());
    process.kill(rows[0]!.pid, 'SIGCONT');
    expect(ms).toBeLessThan(2_000);
    expect(running.pid).toBeGreaterThan(0);
  });
});

describe('R03 a COMMIT whose answer is lost', () => {
  it('is told as done exactly when it was done, however often the backend dies at it', async () => {
    await using running = await cluster.start();
    await using pool = aPool({ connectionsMax: 4 });
    await using killer = aPool({ connectionString: cluster.url('owner'), connectionsMax: 2 });
    const rounds = 200;
    const acknowledged = new Set<string>();
    let failed = 0;
    for (let round = 0; round < rounds; round += 1) {
      const key = `commit-${round}`;
      let pid = 0;
      const change = pool.transaction(async (client) => {
        await client.query('insert into rate_limits (key, points) values ($1, 1)', [key]);
        pid = (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]!.pid;
        // The transaction's id is asked for next, then comes COMMIT. The blow is dealt up to four turns of the loop later,
        // so that it lands before, in or after either.
        let turns = round % 5;
        const strike = (): void => {
          if (turns === 0) void killer.query('select pg_terminate_backend($1)', [pid]).catch(() => {});
          else setImmediate(strike);
          turns -= 1;
        };
        strike();
      });
      await change.then(
        () => acknowledged.add(key),
        (thrown: unknown) => {
          failed += 1;
          expect(thrown).toMatchObject(unavailable);
        },
      );
    }
    const { rows } = await killer.query<{ key: string }>(
      `select key from portolan.rate_limits where key like 'commit-%'`,
    );
    expect(new Set(rows.map(({ key }) => key))).toEqual(acknowledged);
    expect(failed).toBeGreaterThan(0);
    expect(acknowledged.size).toBeGreaterThan(0);
    expect(running.pid).toBeGreaterThan(0);
  }, 60_000);

  it('R03 ends no process when a server ends a connection in the bytes that greet it', async () => {
    await using running = await cluster.start();
    const fields = 'SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0';
    const length = Buffer.alloc(4);
    length.writeInt32BE(4 + fields.length);
    const goodBye = Buffer.concat([Buffer.from('E'), length, Buffer.from(fields)]);
    const readyForQuery = Buffer.from('Z\0\0\0\x05I');
    let ended = 0;
    const relay = createServer((client) => {
      const server = connect(`${cluster.app.socketDir}/.s.PGSQL.${cluster.app.port}`);
      client.pipe(server);
      server.on('data', (chunk) => {
        if (ended > 0 || !chunk.includes(readyForQuery)) return void client.write(chunk);
        ended += 1;
        client.end(Buffer.concat([chunk, goodBye]));
      });
      for (const socket of [client, server]) socket.on('error', () => {});
      client.on('close', () => server.destroy());
      server.on('close', () => client.destroy());
    });
    relay.listen(0, '127.0.0.1');
    await once(relay, 'listening');
    const { port } = relay.address() as AddressInfo;
    const url = new URL(cluster.url('api').reveal().replace('@/', '@placeholder/'));
    url.search = '';
    const connectionString = new Secret(url.href.replace('@placeholder', `@127.0.0.1:${port}`));
    const uncaught: unknown[] = [];
    const note = (error: unknown): void => void uncaught.push(error);
    process.on('uncaughtException', note);
    try {
      await using pool = aPool({ connectionString });
      const { thrown } = await timed(pool.query('select 1'));
      expect(thrown).toMatchObject(unavailable);
      expect((await pool.query('select 1')).rowCount).toBe(1);
    } finally {
      process.off('uncaughtException', note);
      relay.close();
    }
    expect(ended).toBe(1);
    expect(uncaught).toEqual([]);
    expect(running.pid).toBeGreaterThan(0);
  });

  it('is looked up when the answer alone is cut off', async () => {
    await using running = await cluster.start();
    const { app } = cluster;
    // Passes everything on but the answer to the first COMMIT, at which it cuts the connection.
    let cuts = 0;
    const proxy = createServer((downstream) => {
      const upstream = connect(`${app.socketDir}/.s.PGSQL.${app.port}`);
      let isCommitting = false;
      downstream.on('data', (bytes) => {
        isCommitting ||= cuts === 0 && bytes.includes('commit');
        upstream.write(bytes);
      });
      upstream.on('data', (bytes) => {
        if (!isCommitting) return void downstream.write(bytes);
        cuts += 1;
        downstream.destroy();
        upstream.destroy();
      });
      for (const [one, other] of [
        [downstream, upstream],
        [upstream, downstream],
      ] as const) {
        one.on('error', () => other.destroy());
        one.on('close', () => other.destroy());
      }
    }).listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    const { port } = proxy.address() as { port: number };
    const login = /\/\/(.*)@/.exec(cluster.url('api').reveal())![1];
    {
      await using pool = aPool({
        connectionString: new Secret(`postgresql://${login}@127.0.0.1:${port}/portolan`),
      });
      const answer = await pool.transaction(async (client) => {
        await client.query(`insert into rate_limits (key, points) values ('cut', 1)`);
        return 'done';
      });
      expect(answer).toBe('done');
      expect(cuts).toBe(1);
      const { rowCount } = await pool.query(`select from rate_limits where key = 'cut'`);
      expect(rowCount).toBe(1);
    }
    proxy.close();
    await once(proxy, 'close');
    expect(running.pid).toBeGreaterThan(0);
  });
});

describe('R04 PostgreSQL cut off', () => {
  it('gives up on a black hole within the checkout timeout', async () => {
    const hole = createServer((socket) => socket.on('error', () => {}).resume()).listen(0, '127.0.0.1');
    await once(hole, 'listening');
    const { port } = hole.address() as { port: number };
    {
      await using pool = aPool({
        connectionString: new Secret(`postgresql://portolan_api:x@127.0.0.1:${port}/portolan`),
        connectionsMax: 2,
        checkoutTimeoutMs: 300,
        waitingMax: 2,
      });
      const calls = await Promise.all(Array.from({ length: 10 }, () => timed(pool.query('select 1'))));
      for (const { thrown, ms } of calls) {
        expect(thrown).toMatchObject(unavailable);
        expect(ms).toBeLessThan(1_000);
      }
      expect(calls.filter(({ ms }) => ms < 100).length).toBe(6);
    }
    hole.close();
    await once(hole, 'close');
  });
});

describe('a pool', () => {
  it('keeps its connection when a statement is merely wrong', async () => {
    await using db = await cloneDatabase();
    const pool = db.pool('api', { connectionsMax: 1 });
    const pid = async () =>
      (await pool.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]!.pid;
    const before = await pid();
    await expect(pool.query('select * from nowhere')).rejects.toThrow('nowhere');
    await expect(pool.query('select * from nowhere')).rejects.not.toBeInstanceOf(AppError);
    expect(await pid()).toBe(before);
  });

  it('cancels a statement that takes too long and says so', async () => {
    await using db = await cloneDatabase();
    const pool = db.pool('api', { statementTimeoutMs: 100 });
    await expect(pool.query('select pg_sleep(10)')).rejects.toMatchObject(unavailable);
    await pool.query('select 1');
  });

  it('is named in pg_stat_activity', async () => {
    await using db = await cloneDatabase();
    const pool = db.pool('api', { applicationName: 'mcp-figma' });
    const { rows } = await pool.query(
      'select application_name from pg_stat_activity where pid = pg_backend_pid()',
    );
    expect(rows).toEqual([{ application_name: 'mcp-figma' }]);
  });
});
