/**
 * A PostgreSQL of a test's own behind a fault proxy, for programs that reach it by `DATABASE_URL`: to be stopped, killed,
 * stalled and cut off. The test's own questions go past the proxy.
 *
 *   await using database = await startFrailDatabase();
 *   await database.stopImmediately();
 */
import { join } from 'node:path';
import { Client, type QueryResultRow } from 'pg';
import type { RunningPostgres } from '../../backend/src/database/runPostgres.js';
import { startFaultProxy, type FaultProxy } from './faultProxy.js';
import { makeOwnCluster, type OwnCluster } from './ownCluster.js';
import { childrenOf } from './processTree.js';

export interface FrailDatabase extends AsyncDisposable {
  readonly cluster: OwnCluster;
  readonly proxy: FaultProxy;
  /** What `DATABASE_URL` names: through the proxy. */
  readonly url: string;
  readonly isUp: boolean;
  /** As `pg_ctl stop -m immediate` does: no good-bye, no checkpoint. */
  stopImmediately(): Promise<void>;
  start(): Promise<void>;
  /** SIGSTOP to every process of it, or SIGCONT. */
  stall(): void;
  resume(): void;
  /** Asks as superuser, past the proxy, on a connection of its own. */
  ask<Row extends QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
}

export async function startFrailDatabase(): Promise<FrailDatabase> {
  const cluster = await makeOwnCluster();
  let running: RunningPostgres | null = await cluster.start();
  let stalled: readonly number[] = [];
  const { app } = cluster;
  const proxy = await startFaultProxy(join(app.socketDir, `.s.PGSQL.${app.port}`));
  const owner = new URL(
    cluster
      .url('owner')
      .reveal()
      .replace(/@[^/]*\//, '@socket/'),
  );
  const url = `postgres://${owner.username}:${owner.password}@127.0.0.1:${proxy.port}${owner.pathname}`;

  const resume = (): void => {
    for (const pid of stalled) signal(pid, 'SIGCONT');
    stalled = [];
  };
  return {
    cluster,
    proxy,
    url,
    get isUp() {
      return running !== null;
    },
    async stopImmediately() {
      if (running === null) return;
      const stopping = running;
      running = null;
      // PostgreSQL, "Shutting Down the Server": SIGQUIT is the immediate shutdown.
      signal(stopping.pid, 'SIGQUIT');
      await stopping.stop();
    },
    async start() {
      running ??= await cluster.start();
    },
    stall() {
      if (running === null) return;
      const { pid } = running;
      signal(pid, 'SIGSTOP');
      stalled = [pid, ...childrenOf(pid).map((child) => child.pid)];
      for (const one of stalled) signal(one, 'SIGSTOP');
    },
    resume,
    async ask<Row extends QueryResultRow>(text: string, values: unknown[] = []) {
      const client = new Client({
        connectionString: cluster.url('owner').reveal(),
        application_name: 'harness',
        connectionTimeoutMillis: 10_000,
      });
      client.on('error', () => {});
      try {
        await client.connect();
        await client.query('set search_path to portolan, public');
        return (await client.query<Row>(text, values)).rows;
      } finally {
        await client.end().catch(() => {});
      }
    },
    async [Symbol.asyncDispose]() {
      resume();
      await proxy[Symbol.asyncDispose]();
      await cluster[Symbol.asyncDispose]();
    },
  };
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It ended meanwhile.
  }
}
