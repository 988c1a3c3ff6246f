/** R11 with a real process, a real SIGKILL and a real database. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { processMark, toSpoolPath } from '../../backend/src/spool/spoolFiles.js';
import type { CallAuditRecord } from '../../backend/src/stores/callAuditStore.js';
import { aCallChain } from '../support/callAudit.js';
import { cloneDatabase, type TestDatabase } from '../support/testDatabase.js';
import { aFolder, aShipper, aSpool, anIntent, anOutcome, tally, type Ledger } from './given.js';

const root = join(import.meta.dirname, '../..');

it.each(['spool', 'fsync'])(
  'R11 keeps every acknowledged intent of a process that was SIGKILLed, and leaves none open (%s)',
  async (durability) => {
    await using database = await cloneDatabase();
    const inDatabase = toLedger(database);
    for (const acknowledged of [1, 50, 500, 2_000]) {
      using folder = aFolder();
      const calls = await killAfter(folder.path, durability, acknowledged);
      expect(calls.length).toBeGreaterThanOrEqual(acknowledged);
      expect(folder.files().length).toBeGreaterThan(0);
      const shipper = aShipper(folder.path, inDatabase);
      await shipper.close();
      expect(folder.files()).toEqual([]);
      const recorded = tally(await rowsOf(database));
      expect(calls.filter((callId) => recorded.get(callId) === undefined).length).toBe(0);
      expect([...recorded.values()].filter((phases) => phases !== 'io')).toEqual([]);
    }
  },
  60_000,
);

it('R11 of several processes that find the same files, one has them, whole', async () => {
  using folder = aFolder();
  const origins = Array.from({ length: 20 }, (_, at) =>
    processMark().replace(/^\d+-\d+/, `${process.pid}-${at + 1}`),
  );
  for (const origin of origins) {
    for (const number of [1, 2, 3]) {
      writeFileSync(toSpoolPath(folder.path, { origin, number, spoolId: randomUUID(), holder: origin }), '');
    }
  }
  const adopters = Array.from({ length: 4 }, () => start('adopter.ts', folder.path));
  await Promise.all(adopters.map(({ ready }) => ready));
  for (const { child } of adopters) child.stdin.write('go\n');
  const taken = await Promise.all(adopters.map(({ child }) => once(child.stdout, 'data')));
  // They live until all are done, for a dead holder's files may be taken again.
  for (const { child } of adopters) child.stdin.end();
  await Promise.all(adopters.map(({ closed }) => closed));
  const origin = taken.flatMap(([text]) => JSON.parse(String(text)) as string[]);
  expect(origin.sort()).toEqual(origins.flatMap((each) => [each, each, each]).sort());
  expect(folder.files()).toHaveLength(60);
}, 30_000);

it('R25 the rows of PostgreSQL are the acknowledged calls, in all their fields', async () => {
  await using database = await cloneDatabase();
  using folder = aFolder();
  const spool = aSpool(folder.path);
  const shipper = aShipper(folder.path, toLedger(database), { spool });
  const [intent, strange] = [anIntent(), anIntent({ name: 'a\0\ud800', userId: null, instanceId: null })];
  void spool.intent(intent);
  void spool.intent(strange);
  spool.outcome(anOutcome(intent.callId, { outcome: 'tool_error', isError: true, durationMs: 12.5 }));
  spool.outcome(
    anOutcome(strange.callId, { outcome: 'error', jsonRpcCode: -32603, errorCode: 'UPSTREAM_FAILED' }),
  );
  await spool.close();
  await shipper.close();
  const rows = await rowsOf(database);
  expect(rows).toMatchObject([
    {
      callId: intent.callId,
      phase: 'intent',
      service: 'github',
      method: 'tools/call',
      name: 'echo',
      era: 'legacy',
    },
    { callId: strange.callId, phase: 'intent', name: 'a\ufffd\ufffd', userId: null },
    {
      callId: intent.callId,
      phase: 'outcome',
      userId: intent.userId,
      outcome: 'tool_error',
      durationMs: 12.5,
    },
    { callId: strange.callId, phase: 'outcome', outcome: 'error', jsonRpcCode: -32603 },
  ]);
}, 30_000);

/** Runs a program of this folder from its source; `ready` when it said its first line. */
function start(program: string, ...args: readonly string[]) {
  const loader = join(root, 'tests/support/typescriptLoader.mjs');
  const command = ['--no-warnings', '--import', loader, join(root, 'tests/spool', program), ...args];
  const child = spawn(process.execPath, command, { stdio: ['pipe', 'pipe', 'inherit'] });
  return { child, closed: once(child, 'close'), ready: once(child.stdout, 'data') };
}

/** Starts the writer, waits for so many acknowledgements, kills it and gives all the ids that it acknowledged. */
async function killAfter(dir: string, durability: string, acknowledged: number): Promise<readonly string[]> {
  const { child, closed } = start('killedWriter.ts', dir, durability);
  let said = '';
  let lines = 0;
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (text: string) => {
    said += text;
    lines += text.split('\n').length - 1;
    if (lines >= acknowledged) child.kill('SIGKILL');
  });
  const [, signal] = await closed;
  expect(signal).toBe('SIGKILL');
  return said.split('\n').slice(0, -1);
}

function toLedger(database: TestDatabase): Pick<Ledger, 'ship' | 'findPosition' | 'forgetSpool'> {
  const chain = aCallChain(database.pool('service'), 'github');
  return { ...chain, ship: async (batch) => void (await chain.ship(batch)) };
}

async function rowsOf(database: TestDatabase): Promise<readonly CallAuditRecord[]> {
  const client = await database.superuser();
  const { rows } = await client.query<CallAuditRecord>(
    `select call_id as "callId", phase, service, method, name, era, user_id as "userId", outcome,
            duration_ms as "durationMs", json_rpc_code as "jsonRpcCode"
     from audit_calls order by shipped_at, spool_id, spool_position`,
  );
  return rows;
}
