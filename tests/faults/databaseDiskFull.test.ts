/** The disk of PostgreSQL is full while people change things and clients call (R15): a cluster of its own on a tmpfs. */
import { readdirSync } from 'node:fs';
import { Client } from 'pg';
import { describe, expect, it } from '@jest/globals';
import { waitUntil } from '../support/eventually.js';
import { makeOwnCluster } from '../support/ownCluster.js';
import { addNote, connectTo, isDone, layPlant } from '../support/plant.js';
import { aSmallDisk, mayMount } from '../support/smallDisk.js';

if (!mayMount) console.warn('SKIPPED, not root: R15 (needs a tmpfs of its own)');
const describeAsRoot = mayMount ? describe : describe.skip;

const logMuch = "select pg_logical_emit_message(true, 'ballast', repeat('x', 8000000))";

const ready = async (url: string): Promise<boolean> => (await fetch(`${url}/readyz`)).status === 200;

describeAsRoot('a database without room', () => {
  it.each(['its tables', 'its log'])(
    'R15 %s have no room: writes are refused, reads go on while PostgreSQL serves, nothing is lost or corrupt',
    async (what) => {
      using disk = aSmallDisk(192);
      await using cluster = await makeOwnCluster(disk.path);
      // Small segments of the log, so that it wants space often.
      const postgres = await cluster.start({ max_wal_size: '32MB', min_wal_size: '32MB' });
      await using plant = await layPlant({ api: cluster.url('api'), service: cluster.url('service') });
      await using api = await plant.startApi();
      await using service = await plant.startService();
      const ada = await plant.signInFirstAdmin(api);
      await waitUntil('the service is ready', () => ready(service.url), 20_000);
      const instance = await connectTo(ada);

      /** Renames the instance's owner; the name that was acknowledged last is the one that has to be stored. */
      let acknowledged = '';
      let sure: readonly string[] = [];
      const rename = async (name: string): Promise<number> => {
        const { status } = await ada.patch('/api/v1/users/me', { displayName: name });
        if (status === 200) [acknowledged, sure] = [name, [name]];
        else sure = [...sure, name];
        return status;
      };
      const made = new Set<string>();
      const refused = new Map<string, number>();
      let n = 0;
      const call = async (): Promise<boolean> => {
        const id = `n${(n += 1)}`;
        const answer = await addNote(service, instance, id);
        if (isDone(answer)) made.add(id);
        else refused.set(answer.json?.error?.data?.code ?? String(answer.status), answer.status);
        return isDone(answer);
      };
      expect(await rename('before')).toBe(200);
      expect(await call()).toBe(true);

      // Other writers take the last of it, so that the log cannot grow either.
      disk.fill();
      const superuser = new Client({ connectionString: cluster.url('owner').reveal() });
      superuser.on('error', () => undefined);
      await superuser.connect();
      const statuses = new Map<number, number>();
      const note = (status: number): void => void statuses.set(status, (statuses.get(status) ?? 0) + 1);
      const reads: number[] = [];
      await superuser.query('create table if not exists public.ballast (text text)').catch(() => undefined);
      for (let round = 0; round < 400 && (statuses.get(503) ?? 0) < 5; round += 1) {
        await superuser
          .query(
            'insert into public.ballast select repeat(md5(random()::text), 40) from generate_series(1, 500)',
          )
          .catch(() => undefined);
        // What cannot be logged ends PostgreSQL by its own choice (PANIC); rows that have no room do not.
        if (what === 'its log') await superuser.query(logMuch).catch(() => undefined);
        note(await rename(`full-${round}`));
        await call();
      }
      // Refused with 503, by the code that says so; reading goes on as long as PostgreSQL serves.
      expect(statuses.get(503)).toBeGreaterThanOrEqual(5);
      expect([...statuses.keys()].filter((status) => status !== 200)).toEqual([503]);
      const refusal = await ada.patch('/api/v1/users/me', { displayName: 'no' });
      // Where it is the record of the change that has no room, the change is not made either (H02).
      expect(refusal.status).toBe(503);
      expect(['DATABASE_UNAVAILABLE', 'AUDIT_UNAVAILABLE']).toContain(refusal.body.code);
      sure = [...sure, 'no'];
      for (let round = 0; round < 5; round += 1) reads.push((await ada.get('/api/v1/users/me')).status);
      // After a PANIC it may be back already, or be recovering.
      const allowed = what === 'its log' ? [200, 503] : [200];
      expect(reads.filter((status) => !allowed.includes(status))).toEqual([]);
      for (let round = 0; round < 10; round += 1) await call();
      // Calls are audited by the spool, on another disk; what cannot be resolved is refused, never guessed.
      expect([...refused.values()].every((status) => status === 503)).toBe(true);
      expect(api.process.exitCode).toBeNull();
      expect(service.process.exitCode).toBeNull();

      disk.free();
      const freedAt = performance.now();
      // Where the log could not be written PostgreSQL ended, and whoever runs it starts it again.
      const isUp = await superuser.query('select 1').then(
        () => true,
        () => false,
      );
      await superuser.end().catch(() => undefined);
      const second = isUp ? null : await postgres.stop().then(() => cluster.start());
      await waitUntil('a change is stored', async () => (await rename('after')) === 200, 30_000);
      await waitUntil('a call is made', call, 30_000);
      await waitUntil(
        'both are ready',
        async () => (await ready(api.url)) && (await ready(service.url)),
        30_000,
      );
      const recoveredMs = Math.round(performance.now() - freedAt);
      expect((await ada.get('/api/v1/users/me')).body.displayName).toBe(acknowledged);
      expect(sure).toEqual(['after']);

      // Every call that reached the upstream is in the audit, once.
      const reader = new Client({ connectionString: cluster.url('owner').reveal() });
      await reader.connect();
      const upstreamCalls = plant.upstream.requests.filter(({ method }) => method === 'POST').length;
      expect(upstreamCalls).toBeGreaterThanOrEqual(made.size);
      await waitUntil(
        'the audit has every call',
        async () => {
          const { rows } = await reader.query<{ intents: string; outcomes: string }>(
            `select count(distinct call_id) filter (where phase = 'intent') as intents,
                  count(*) filter (where phase = 'outcome' and outcome <> 'refused') as outcomes
           from portolan.audit_calls where name = 'add'`,
          );
          return Number(rows[0]?.intents) === upstreamCalls && Number(rows[0]?.outcomes) === upstreamCalls;
        },
        30_000,
      );
      // Nothing is corrupt: with checksums on, every page of every table and index is read and fits.
      expect((await reader.query('show data_checksums')).rows).toEqual([{ data_checksums: 'on' }]);
      await reader.query('set enable_indexscan = off; set enable_bitmapscan = off');
      const { rows: tables } = await reader.query<{ name: string }>(
        "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname in ('portolan', 'pg_catalog')",
      );
      for (const { name } of tables) await reader.query(`select count(t::text) from ${name} t`);
      await reader.query('reindex schema portolan');
      const { rows: faults } = await reader.query<{ count: string }>(
        'select coalesce(sum(checksum_failures), 0) as count from pg_stat_database',
      );
      expect(Number(faults[0]?.count)).toBe(0);
      await reader.end();
      const state = {
        what,
        ended: second !== null,
        reads: reads.length,
        codes: [...refused.keys()],
        recoveredMs,
      };
      process.stdout.write(
        `R15 ${JSON.stringify({ ...state, statuses: Object.fromEntries(statuses), calls: made.size, kept: readdirSync(disk.path).length })}\n`,
      );
    },
    180_000,
  );
});
