/** H03: what somebody who owns the database does to the audit, and what the verifier says of it. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import { createAuditSealer } from '../../backend/src/services/audit/auditSealer.js';
import { pruneAudit } from '../../backend/src/services/audit/pruneAudit.js';
import { ensureAuditPartitions } from '../../backend/src/stores/auditStore.js';
import { aFolder, aShipper } from '../spool/given.js';
import { openAuditSite, type AuditSite } from '../support/auditSite.js';

jest.setTimeout(60_000);

const idOf = async (site: AuditSite, seq: number): Promise<string> =>
  (await site.superuser.query<{ id: string }>('select id from audit_events where seq = $1', [seq])).rows[0]!
    .id;
const callAt = async (site: AuditSite, seq: number): Promise<string> =>
  (await site.superuser.query<{ id: string }>('select call_id as id from audit_calls where seq = $1', [seq]))
    .rows[0]!.id;

const day = (daysAgo: number): Date => new Date(Date.now() - daysAgo * 86_400_000);
const daysAgo = (days: number) => (): number => day(days).getTime();

describe('H03 the verifier', () => {
  it('finds nothing wrong with what was written, shipped and sealed, whatever is in it', async () => {
    await using site = await openAuditSite();
    await site.checkpoint();
    await site.addEvents(700, { details: { 'ä"\\': ['\u2028', 1e21, -0.1, true], z: {}, a: null } });
    await site.addCalls('spool-1', 40);
    await site.addCalls('spool-2', 10);
    await site.checkpoint();
    await site.addCalls('spool-1', 5);
    await site.addEvents(3);
    expect(await site.verify()).toMatchObject({
      isIntact: true,
      rows: { audit_events: 703, audit_calls: 110 },
      unchained: 0,
      unsealed: 3,
      notYetVouched: 10,
      problems: [],
    });
    await site.checkpoint();
    expect(await site.verify()).toMatchObject({
      isIntact: true,
      unsealed: 0,
      notYetVouched: 0,
      checkpoints: 3,
    });
  });

  it('names the event and the call that a superuser edited, whatever column it was', async () => {
    await using site = await openAuditSite();
    await site.addEvents(5);
    await site.addCalls('spool-1', 5);
    await site.checkpoint();
    const { rows: columns } = await site.superuser.query<{ table: string; column: string; type: string }>(
      `select table_name as table, column_name as column, data_type as type from information_schema.columns
       where table_schema = 'portolan' and table_name in ('audit_events', 'audit_calls')
         and column_name not in ('shipped_at', 'seq', 'shard', 'spool_id', 'link')`,
    );
    expect(columns.length).toBeGreaterThan(35);
    const values: Record<string, string> = {
      uuid: `'${randomUUID()}'`,
      text: `'x'`,
      jsonb: `'{"x":1}'`,
      bytea: `decode(repeat('00', 32), 'hex')`,
      boolean: 'true',
    };
    const forms: Record<string, string> = {
      actor_kind: `'anonymous'`,
      outcome: `case when outcome = 'success' then 'denied' else 'error' end`,
      phase: `'outcome'`,
      occurred_at: `occurred_at + interval '1 microsecond'`,
    };
    const wrong: string[] = [];
    for (const { table, column, type } of columns) {
      const key = table === 'audit_events' ? 'id' : 'call_id';
      // The intent or the outcome of a call, of which each column but two is in one of them.
      const where = table === 'audit_events' ? 'seq = 3' : `seq = ${column === 'outcome' ? 4 : 3}`;
      const value = forms[column] ?? values[type] ?? '7';
      // The table as it was, kept beside and put back: a table has no MAC of its own.
      await site.superuser.query(`create table saved as select * from ${table}`);
      await site.superuser.query(`update ${table} set ${column} = ${value} where ${where}`);
      const { rows } = await site.superuser.query(`select ${key} as id from ${table} where ${where}`);
      const found = (await site.problems()).filter((text) => text.includes(rows[0].id));
      if (!found.some((text) => text.startsWith(`edited ${table}`)))
        wrong.push(`${table}.${column}: ${found.join(', ')}`);
      await site.superuser.query(`truncate ${table}`);
      await site.superuser.query(`insert into ${table} select * from saved`);
      await site.superuser.query('drop table saved');
    }
    expect(wrong).toEqual([]);
  });

  it('names what is missing, in the middle and at the end, and a whole audit that was emptied', async () => {
    await using site = await openAuditSite();
    await site.addEvents(10);
    await site.addCalls('spool-1', 10);
    await site.checkpoint();
    await site.superuser.query('delete from audit_events where seq in (4, 5)');
    await site.superuser.query(`delete from audit_calls where seq = 7`);
    expect(await site.problems()).toEqual(['deleted audit_events 4-5', 'deleted audit_calls 7']);
    await site.superuser.query('delete from audit_events where seq > 8');
    await site.superuser.query(`update audit_shards set seq = 8 where audit = 'audit_events'`);
    expect(await site.problems()).toEqual([
      'deleted audit_events 4-5',
      'deleted audit_events 9-10',
      'deleted audit_calls 7',
    ]);
    await site.superuser.query('truncate audit_calls, audit_shards');
    const { problemCount, problems } = await site.verify();
    expect(problemCount).toBe(4 + 20);
    expect(problems.at(-1)).toMatchObject({ audit: 'audit_calls', shard: 'spool-1', seq: 1, lastSeq: 20 });
  });

  it('names rows that were inserted: invented ones, copies, and ones that say they are from before', async () => {
    await using site = await openAuditSite();
    await site.addEvents(3);
    await site.addCalls('spool-1', 2);
    await site.checkpoint();
    const [invented, signed, old] = [randomUUID(), randomUUID(), randomUUID()];
    await site.superuser.query(
      `insert into audit_events (id, actor_kind, action, outcome, mac) values
         ($1, 'system', 'invented', 'success', null), ($2, 'system', 'invented', 'success', decode(repeat('ab', 32), 'hex'))`,
      [invented, signed],
    );
    await site.superuser.query(
      `insert into audit_events (id, occurred_at, actor_kind, action, outcome)
       values ($1, now() - interval '3 days', 'system', 'invented', 'success')`,
      [old],
    );
    const copied = await callAt(site, 2);
    await site.superuser.query(`insert into audit_calls select * from audit_calls where seq = 2`);
    expect((await site.problems()).sort()).toEqual(
      [
        `inserted audit_events ${invented}`,
        `inserted audit_events ${signed}`,
        `inserted audit_events ${old}`,
        `inserted audit_calls 2 ${copied}`,
      ].sort(),
    );
    // The sealer gives a number to what claims a MAC; that makes it no truer.
    await site.checkpoint();
    expect(await site.problems()).toContain(`edited audit_events 4 ${signed}`);
  });

  it('names rows that changed places', async () => {
    await using site = await openAuditSite();
    await site.addEvents(6);
    await site.addCalls('spool-1', 4);
    await site.checkpoint();
    for (const table of ['audit_events', 'audit_calls'])
      await site.superuser.query(
        `update ${table} set seq = case seq when 2 then 5 else 2 end where seq in (2, 5)`,
      );
    expect((await site.problems()).sort()).toEqual(
      [
        `reordered audit_events 2 ${await idOf(site, 2)}`,
        `reordered audit_events 5 ${await idOf(site, 5)}`,
        `reordered audit_calls 2 ${await callAt(site, 2)}`,
        `reordered audit_calls 5 ${await callAt(site, 5)}`,
      ].sort(),
    );
  });

  it('finds out whoever has the key of the MACs too, by what the checkpoints fold to', async () => {
    await using site = await openAuditSite();
    await site.addCalls('spool-1', 3);
    await site.checkpoint();
    // The same numbers once more, by somebody who can sign: another story.
    await site.superuser.query(`truncate audit_calls, audit_shards, spool_positions`);
    await site.addCalls('spool-1', 3);
    expect(await site.problems()).toEqual([expect.stringMatching(/^rewritten audit_calls 6 /)]);
  });

  it('finds out a database whose last days were cut off with their checkpoints, or that was put back', async () => {
    await using site = await openAuditSite();
    await site.addEvents(5);
    await site.checkpoint();
    await site.addEvents(5);
    await site.checkpoint();
    expect(readdirSync(site.dir)).toHaveLength(1);
    await site.superuser.query('delete from audit_events where seq > 5');
    await site.superuser.query('delete from audit_checkpoints where number > 1');
    await site.superuser.query('update audit_shards set seq = 5');
    expect(await site.problems()).toEqual(['checkpoint audit_checkpoints 2', 'deleted audit_events 6-10']);
    // What is written from then on goes to a shard of its own and takes no number twice.
    await site.addEvents(2);
    await site.checkpoint();
    await site.checkpoint();
    expect(await site.problems()).toEqual(['checkpoint audit_checkpoints 2', 'deleted audit_events 6-10']);
    // An operator who knows why puts the lost statements aside.
    rmSync(join(site.dir, readdirSync(site.dir)[0]!));
    expect(await site.problems()).toEqual([]);
  });

  it('believes no checkpoint that was altered, forged or taken away', async () => {
    await using site = await openAuditSite();
    for (let n = 0; n < 4; n += 1) {
      await site.addEvents(2);
      await site.checkpoint();
    }
    await site.superuser.query(
      `update audit_checkpoints set statement = (select statement from audit_checkpoints where number = 1) where number = 2`,
    );
    expect(await site.problems()).toEqual(
      expect.arrayContaining([expect.stringMatching(/^checkpoint audit_checkpoints 2/)]),
    );
    await site.superuser.query('delete from audit_checkpoints where number = 2');
    expect(await site.problems()).toEqual(['checkpoint audit_checkpoints 2']);
    rmSync(site.dir, { recursive: true });
    expect(await site.problems()).toEqual(['checkpoint audit_checkpoints 2']);
    const { rows } = await site.superuser.query<{ statement: string }>(
      'select statement from audit_checkpoints where number = 4',
    );
    const [header, body] = rows[0]!.statement.split('.');
    const said = JSON.parse(Buffer.from(body!, 'base64url').toString());
    const forged = Buffer.from(JSON.stringify({ ...said, shards: [] })).toString('base64url');
    await site.superuser.query('update audit_checkpoints set statement = $1 where number = 4', [
      `${header}.${forged}.${rows[0]!.statement.split('.')[2]}`,
    ]);
    expect(await site.problems()).toContain('checkpoint audit_checkpoints 4');
  });
});

describe('R25 the chain', () => {
  it('verifies after a burst from several spools at once, and holds every acknowledged row', async () => {
    await using site = await openAuditSite();
    const spools = ['a', 'b', 'c', 'd'];
    const burst = async (spool: string): Promise<void> => {
      for (let n = 0; n < 10; n += 1) await site.addCalls(spool, 250);
    };
    await Promise.all([...spools.map(burst), site.addEvents(500)]);
    await site.checkpoint();
    expect(await site.verify()).toMatchObject({
      isIntact: true,
      rows: { audit_calls: 20_000, audit_events: 500 },
      notYetVouched: 0,
    });
  });

  it('verifies after a SIGKILL of the process that wrote, and what it left behind was shipped by another', async () => {
    await using site = await openAuditSite();
    using folder = aFolder();
    const loader = join(import.meta.dirname, '../support/typescriptLoader.mjs');
    const writer = join(import.meta.dirname, '../spool/killedWriter.ts');
    const child = spawn(
      process.execPath,
      ['--no-warnings', '--import', loader, writer, folder.path, 'spool'],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.length > 37 * 500) child.kill('SIGKILL');
    });
    await once(child, 'close');
    const acknowledged = said.split('\n').slice(0, -1);
    const shipper = aShipper(folder.path, {
      ...site.calls,
      ship: async (batch) => void (await site.calls.ship(batch)),
    });
    await shipper.close();
    await site.checkpoint();
    expect(await site.verify()).toMatchObject({ isIntact: true, notYetVouched: 0 });
    const { rows } = await site.superuser.query<{ id: string }>(
      `select call_id as id from audit_calls where phase = 'intent'`,
    );
    const stored = new Set(rows.map(({ id }) => id));
    expect(acknowledged.length).toBeGreaterThanOrEqual(500);
    expect(acknowledged.filter((id) => !stored.has(id))).toEqual([]);
  });
});

describe('R30 rows of the version before', () => {
  it('count as unchained, as many of a day as there were, and one more or fewer is found out', async () => {
    await using site = await openAuditSite();
    const addOld = (n: number) =>
      site.superuser.query(
        `insert into audit_events (id, occurred_at, actor_kind, action, outcome)
         select gen_random_uuid(), now() - interval '2 days', 'system', 'old', 'success' from generate_series(1, $1)`,
        [n],
      );
    await addOld(5);
    await site.addEvents(2);
    await site.checkpoint();
    expect(await site.verify()).toMatchObject({ isIntact: true, unchained: 5 });
    await addOld(1);
    expect((await site.problems()).map((text) => text.split(' ')[0])).toEqual(['inserted']);
    await site.superuser.query(
      `delete from audit_events where id in (select id from audit_events where action = 'old' limit 2)`,
    );
    expect((await site.problems()).map((text) => text.split(' ')[0])).toEqual(['deleted']);
  });
});

describe('C06 retention', () => {
  it('drops whole days, says so in a signed checkpoint, and leaves what verifies', async () => {
    await using site = await openAuditSite();
    await ensureAuditPartitions(site.jobs, day(3), 5);
    // Nobody made a partition for this one.
    await site.addEvents(2, { daysAgo: 9 });
    await site.addEvents(4, { daysAgo: 3 });
    await site.addCalls('spool-1', 3, { daysAgo: 3 });
    await site.checkpoint();
    await site.addEvents(4);
    await site.addCalls('spool-1', 3);
    await site.checkpoint();
    const before = day(2).toISOString().slice(0, 10);
    const wish = { ...site.chain, before, via: 'test' };
    const names = (await pruneAudit({ ...wish, dryRun: true })).map(({ name, rows }) => [
      name.slice(0, 12),
      rows,
    ]);
    expect(names).toEqual([
      ['audit_calls_', 0],
      ['audit_calls_', 6],
      ['audit_events', 2],
      ['audit_events', 4],
    ]);
    expect(await site.verify()).toMatchObject({ isIntact: true, rows: { audit_events: 10 } });
    expect(await pruneAudit(wish)).toHaveLength(4);
    expect(await pruneAudit(wish)).toEqual([]);
    await site.addEvents(1);
    await site.checkpoint();
    expect(await site.verify()).toMatchObject({
      isIntact: true,
      rows: { audit_events: 4 + 1 + 1, audit_calls: 6 },
    });
    const { rows } = await site.superuser.query(
      `select actor_via, details from audit_events where action = 'audit.pruned'`,
    );
    expect(rows).toEqual([{ actor_via: 'test', details: { partitions: 4, rows: 12 } }]);
  });

  it('knows a partition that somebody else dropped', async () => {
    await using site = await openAuditSite();
    const threeDaysAgo = new Date(Date.now() - 3 * 86_400_000);
    await ensureAuditPartitions(site.jobs, threeDaysAgo, 5);
    await site.addEvents(4, { daysAgo: 3 });
    await site.addEvents(4);
    await site.checkpoint();
    await site.superuser.query(
      `drop table audit_events_${threeDaysAgo.toISOString().slice(0, 10).replaceAll('-', '')}`,
    );
    expect(await site.problems()).toEqual(['deleted audit_events 1-4']);
  });

  it('forgets statements after a while, and still verifies', async () => {
    await using site = await openAuditSite();
    for (const days of [40, 39, 38, 25, 3, 0]) {
      await ensureAuditPartitions(site.jobs, new Date(daysAgo(days)()), 2);
      await site.addEvents(3, { daysAgo: days });
      await site.addCalls('spool-1', 2, { daysAgo: days });
      const then = createAuditSealer({ ...site.chain, now: daysAgo(days), settleAfterMs: 0 });
      await then.seal();
      await then.checkpoint();
      const before = new Date(daysAgo(days + 10)()).toISOString().slice(0, 10);
      await pruneAudit({ ...site.chain, now: daysAgo(days), before, via: 'test' });
    }
    const { rows } = await site.superuser.query('select min(number)::int as first from audit_checkpoints');
    expect(rows[0].first).toBeGreaterThan(1);
    expect(await site.verify()).toMatchObject({ isIntact: true, problems: [] });
    await site.superuser.query('delete from audit_checkpoints where number = $1', [rows[0].first]);
    for (const file of readdirSync(site.dir).slice(0, 3)) rmSync(join(site.dir, file));
    expect(await site.verify()).toMatchObject({ isIntact: false });
  });
});
