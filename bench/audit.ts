/**
 * What proving the audit costs, and how long its readers wait: records of calls a second that are durably in the database
 * by batches, with the chain and without it (the version before), and the queries of the API over a million rows. On a
 * PostgreSQL of its own, with fsync.
 */
import { createSecretKey, randomBytes, randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { Secret } from '../backend/src/config/secrets.js';
import { migrate } from '../backend/src/database/migrate.js';
import { createPool, type DatabasePool } from '../backend/src/database/pool.js';
import { ensureRoles } from '../backend/src/database/roles.js';
import { withDatabase } from '../backend/src/database/urlFiles.js';
import { withUser } from '../backend/src/database/withUser.js';
import { createCallChain } from '../backend/src/spool/callChain.js';
import { encodeIntent, encodeOutcome, toOpenCall } from '../backend/src/spool/callRecord.js';
import type { PlacedLine } from '../backend/src/spool/spoolBatch.js';
import { listAuditCalls, type CallFilter } from '../backend/src/stores/auditQueryStore.js';
import { findSpoolChain, forgetSpool, shipCallAudit } from '../backend/src/stores/callAuditStore.js';
import { findDebianPostgres, startTemporaryPostgres } from '../scripts/schema/temporaryPostgres.js';

export interface AuditFigures {
  readonly chainedPerSecond: number;
  readonly barePerSecond: number;
  readonly rows: number;
  readonly queries: readonly { readonly name: string; readonly p50Ms: number; readonly p99Ms: number }[];
}

const batchRows = 800;
const batchesPerRound = 12;
const users = 1_000;
const uuidOf = (kind: number, n: number): string =>
  `00000000-0000-4000-8${String(kind).padStart(3, '0')}-${String(n).padStart(12, '0')}`;

export async function measureAudit({
  rounds,
  rows = 1_000_000,
}: {
  rounds: number;
  rows?: number;
}): Promise<AuditFigures> {
  const binDir = findDebianPostgres();
  if (binDir === null) throw new Error('the audit is measured on Debian’s PostgreSQL 15, which is not here');
  await using server = await startTemporaryPostgres(binDir, { fsync: 'on' });
  const admin = new Client({ connectionString: server.url.reveal() });
  await admin.connect();
  await admin.query('create database bench');
  await admin.end();
  const url = withDatabase(server.url, 'bench');
  const client = new Client({ connectionString: url.reveal() });
  await client.connect();
  try {
    await ensureRoles(client);
    await migrate(client, process.cwd());
    await client.query('set search_path = portolan, pg_temp');
    await client.query(`select ensure_audit_partitions(current_date - 30, 38)`);
    await using pool = createPool({
      connectionString: new Secret(
        `${url.reveal()}&options=${encodeURIComponent('-c search_path=portolan,pg_temp')}`,
      ),
      applicationName: 'bench-audit',
      statementTimeoutMs: 60_000,
    });
    const shipping = await measureShipping(pool, rounds);
    await fill(client, rows);
    return { ...shipping, rows, queries: await measureQueries(pool) };
  } finally {
    await client.end();
  }
}

/** Rounds of the two, one after the other, so that whatever else the machine does falls on both. */
async function measureShipping(pool: DatabasePool, rounds: number) {
  const key = createSecretKey(randomBytes(32));
  const chain = createCallChain({
    kAudit: () => key,
    findChain: (spoolId) => findSpoolChain(pool, spoolId),
    shipChained: (batch) => shipCallAudit(pool, { ...batch, service: 'bench' }),
    forgetSpool: (spoolId) => forgetSpool(pool, spoolId),
  });
  const shipBare = async (spoolId: string, lines: readonly PlacedLine[]): Promise<void> => {
    const records = lines.map(({ position, line }) => `{"position":${position},${line.trimEnd().slice(1)}`);
    await pool.query({
      name: 'bare',
      text: 'select * from ship_call_audit($1, $2, $3)',
      values: [spoolId, 'bench', `[${records.join(',')}]`],
    });
  };
  const [chained, bare]: [number[], number[]] = [[], []];
  for (let n = 0; n < rounds; n += 1) {
    bare.push(await round(shipBare));
    chained.push(await round((spoolId, lines) => chain.ship({ spoolId, lines })));
  }
  return { chainedPerSecond: percentile(chained, 0.5), barePerSecond: percentile(bare, 0.5) };
}

type Ship = (spoolId: string, lines: readonly PlacedLine[]) => Promise<unknown>;

/** Two spools at once; records a second. */
async function round(ship: Ship): Promise<number> {
  const spools = [randomUUID(), randomUUID()].map((spoolId) => ({ spoolId, batches: someBatches() }));
  const from = performance.now();
  await Promise.all(
    spools.map(async ({ spoolId, batches }) => {
      for (const lines of batches) await ship(spoolId, lines);
    }),
  );
  return (spools.length * batchesPerRound * batchRows) / ((performance.now() - from) / 1_000);
}

function someBatches(): PlacedLine[][] {
  let position = 0;
  return Array.from({ length: batchesPerRound }, () =>
    Array.from({ length: batchRows / 2 }, () => {
      const identified = {
        callId: randomUUID(),
        instanceId: randomUUID(),
        userId: randomUUID(),
        method: 'tools/call',
        name: 'echo',
        requestId: randomUUID(),
      };
      const open = toOpenCall('bench', identified);
      const at = new Date().toISOString();
      return [
        encodeIntent(open, { ...identified, argumentsDigest: 'ab'.repeat(32), argumentsBytes: 40 }, at),
        encodeOutcome(open, { outcome: 'ok', isError: false, durationMs: 12 }, at),
      ].map((line) => ({ position: (position += line.length), line }));
    }).flat(),
  );
}

/** Calls of a month: 1,000 users with three instances each, 20 services, one call in fifty fails. */
async function fill(client: Client, rows: number): Promise<void> {
  await client.query(
    `insert into audit_calls (occurred_at, call_id, phase, instance_id, user_id, service, method, name, request_id,
       outcome, error_code, duration_ms, spool_id, spool_position)
     select now() - (n / 2) * (interval '29 days' / ($1::int / 2)) + (n % 2) * interval '0.1 second',
       lpad((n / 2)::text, 32, '0')::uuid, case n % 2 when 0 then 'intent' else 'outcome' end,
       ('00000000-0000-4000-8002-' || lpad(((n / 2) % (3 * ${users}))::text, 12, '0'))::uuid,
       ('00000000-0000-4000-8001-' || lpad(((n / 2) % ${users})::text, 12, '0'))::uuid,
       'service-' || (n / 2) % 20, 'tools/call', 'tool-' || (n / 2) % 50, 'request-' || n / 2,
       case when n % 2 = 1 then case when (n / 2) % 50 = 0 then 'timeout' else 'ok' end end,
       case when n % 2 = 1 and (n / 2) % 50 = 0 then 'UPSTREAM_TIMEOUT' end, 12, 'fill', n
     from generate_series(0, $1 - 1) n`,
    [rows],
  );
  await client.query('vacuum analyze audit_calls');
}

const runs = 200;
const any = (max: number): number => Math.floor(Math.random() * max);
const dayAgo = (days: number): string => new Date(Date.now() - days * 86_400_000).toISOString();

async function measureQueries(pool: DatabasePool): Promise<AuditFigures['queries']> {
  const plans: readonly [
    string,
    () => { filter: CallFilter; from?: string; to?: string; ownerId?: string },
  ][] = [
    ['newest', () => ({ filter: {} })],
    ['a day in the past', () => ({ filter: {}, from: dayAgo(20), to: dayAgo(19) })],
    ['one’s own', () => ({ filter: {}, ownerId: uuidOf(1, any(users)) })],
    ['of a user', () => ({ filter: { userId: uuidOf(1, any(users)) } })],
    ['of an instance', () => ({ filter: { instanceId: uuidOf(2, any(3 * users)) } })],
    ['of a service', () => ({ filter: { service: `service-${any(20)}` } })],
    ['failed of a service', () => ({ filter: { service: `service-${any(2) * 10}`, outcome: 'failed' } })],
    ['by error code', () => ({ filter: { errorCode: 'UPSTREAM_TIMEOUT' } })],
    ['an error that never was', () => ({ filter: { errorCode: 'NONE' } })],
    ['by request', () => ({ filter: { requestId: `request-${any(500_000)}` } })],
  ];
  const figures = [];
  for (const [name, wish] of plans) {
    const times: number[] = [];
    for (let n = 0; n < runs; n += 1) {
      const { ownerId = null, ...rest } = wish();
      const scope = { userId: ownerId, scope: ownerId === null ? 'auditor' : 'self' } as const;
      const from = performance.now();
      await withUser(pool, scope, (db) => listAuditCalls(db, { ...rest, ownerId, after: null, limit: 51 }), {
        readOnly: true,
      });
      times.push(performance.now() - from);
    }
    figures.push({ name, p50Ms: percentile(times, 0.5), p99Ms: percentile(times, 0.99) });
  }
  return figures;
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

/** As markdown. */
export function toAuditTable({ chainedPerSecond, barePerSecond, rows, queries }: AuditFigures): string {
  return [
    '## Audit',
    '',
    '| Records of calls, durable, by batches of two spools | a second | of bare |',
    '|---|---|---|',
    `| without the chain | ${Math.round(barePerSecond)} | 1.00 |`,
    `| with it | ${Math.round(chainedPerSecond)} | ${(chainedPerSecond / barePerSecond).toFixed(2)} |`,
    '',
    `| Query of 50 calls among ${rows} rows | p50 ms | p99 ms |`,
    '|---|---|---|',
    ...queries.map(({ name, p50Ms, p99Ms }) => `| ${name} | ${p50Ms.toFixed(1)} | ${p99Ms.toFixed(1)} |`),
    '',
  ].join('\n');
}
