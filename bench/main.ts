/**
 * `npm run bench`: what the gateway costs, as ratios to doing without it, in one interleaved run. It prints a markdown
 * table (`--json` for a program) with calls a second, latency, and CPU time a call of the gateway itself; every answer is
 * checked for its caller's own credential.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findProjectRoot } from '../backend/src/config/projectRoot.js';
import { startBenchFleet } from './benchFleet.js';
import { cpuMicros, residentMiB } from './cpuTime.js';
import { median, quantile, runLoad, type Caller } from './load.js';
import { openLegacySession } from './legacySession.js';

const { values: options } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '5' },
    'round-ms': { type: 'string', default: '2000' },
    clients: { type: 'string', default: '16' },
    // A part of the names of rows to measure besides `direct` and the bare proxy, for profiling.
    rows: { type: 'string', default: '' },
  },
});
const rounds = Number(options.rounds);
const roundMs = Number(options['round-ms']);
const clients = Number(options.clients);

/** One way to the same small answer. */
interface Row {
  readonly name: string;
  readonly callers: readonly Caller[];
  /** The process whose CPU time counts: what stands between caller and upstream, or the upstream itself. */
  readonly pid: number;
}

interface Measured {
  readonly callsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuMicrosPerCall: number;
}

const children: ChildProcess[] = [];

async function startProgram(name: string, ...args: string[]): Promise<{ port: number; pid: number }> {
  const child = fork(join(import.meta.dirname, 'programs', `${name}.js`), args);
  children.push(child);
  const [said] = (await once(child, 'message')) as [{ port: number }];
  return { port: said.port, pid: child.pid ?? 0 };
}

async function measure(row: Row, callers: readonly Caller[], durationMs: number): Promise<Measured> {
  const before = cpuMicros(row.pid);
  const { calls, seconds, latencies } = await runLoad(callers, durationMs);
  return {
    callsPerSecond: calls / seconds,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    cpuMicrosPerCall: (cpuMicros(row.pid) - before) / calls,
  };
}

/** Rounds take turns, so that whatever else the machine does hits all rows alike; the median round counts. */
async function measureAll(rows: readonly Row[], callersMax: number): Promise<ReadonlyMap<string, Measured>> {
  const measured = new Map<string, Measured[]>(rows.map(({ name }) => [name, []]));
  for (let round = 0; round <= rounds; round += 1) {
    for (const row of rows) {
      const result = await measure(row, row.callers.slice(0, callersMax), roundMs);
      // The first round warms up.
      if (round > 0) measured.get(row.name)?.push(result);
    }
  }
  const middle = (all: readonly Measured[], of: keyof Measured) => median(all.map((one) => one[of]));
  return new Map(
    [...measured].map(([name, all]) => [
      name,
      {
        callsPerSecond: middle(all, 'callsPerSecond'),
        p50Ms: middle(all, 'p50Ms'),
        p99Ms: middle(all, 'p99Ms'),
        cpuMicrosPerCall: middle(all, 'cpuMicrosPerCall'),
      },
    ]),
  );
}

async function main(): Promise<void> {
  const upstream = await startProgram('upstream');
  const proxy = await startProgram('bareProxy', `http://127.0.0.1:${upstream.port}`);
  const bareStdio = await startProgram(
    'bareStdio',
    join(findProjectRoot(), 'bench/programs/stdioUpstream.mjs'),
  );
  await using fleet = await startBenchFleet(upstream.port);
  const api = await fleet.connect('bench-api', clients);
  const stdio = await fleet.connect('bench-stdio', clients);

  const jsonHeaders = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const body = JSON.stringify({
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: { name: 'whoami', arguments: {} },
  });
  const plain = (port: number): Caller[] =>
    api.map(({ credential }) => ({
      origin: `http://127.0.0.1:${port}`,
      path: '/',
      headers: { ...jsonHeaders, authorization: `Bearer ${credential}` },
      body,
      expected: credential,
    }));
  const through = (origin: string, people: typeof api): Promise<Caller[]> =>
    Promise.all(
      people.map(async ({ path, credential }) => ({
        origin,
        path,
        headers: { ...jsonHeaders, ...(await openLegacySession(origin, path, jsonHeaders)) },
        body,
        expected: credential,
      })),
    );

  const apiPid = await fleet.pidOf('mcp-bench-api');
  const stdioPid = await fleet.pidOf('mcp-bench-stdio');
  const idleMiB = residentMiB(apiPid);
  const rows: Row[] = [
    { name: 'direct', callers: plain(upstream.port), pid: upstream.pid },
    { name: 'bare undici proxy', callers: plain(proxy.port), pid: proxy.pid },
    { name: 'bare stdio bridge', callers: plain(bareStdio.port), pid: bareStdio.pid },
    { name: 'Portolan, api', callers: await through(fleet.origin('bench-api'), api), pid: apiPid },
    { name: 'Portolan, stdio', callers: await through(fleet.origin('bench-stdio'), stdio), pid: stdioPid },
    {
      name: 'Portolan, stdio, by the front',
      callers: await through(fleet.frontOrigin, stdio),
      pid: await fleet.pidOf('front'),
    },
  ];
  const wanted = rows.filter(({ name }, at) => at < 3 || name.includes(options.rows));
  const one = await measureAll(wanted, 1);
  const many = await measureAll(wanted, clients);
  report(wanted, one, many, idleMiB);
}

function report(
  rows: readonly Row[],
  one: ReadonlyMap<string, Measured>,
  many: ReadonlyMap<string, Measured>,
  idleMiB: number,
): void {
  const direct = { one: one.get('direct')!, many: many.get('direct')! };
  const proxy = many.get('bare undici proxy')!;
  const table = rows.map(({ name }) => {
    const [alone, together] = [one.get(name)!, many.get(name)!];
    return {
      row: name,
      callsPerSecond: Math.round(together.callsPerSecond),
      shareOfDirect: together.callsPerSecond / direct.many.callsPerSecond,
      shareOfProxy: together.callsPerSecond / proxy.callsPerSecond,
      cpuMicrosPerCall: together.cpuMicrosPerCall,
      addedP50Ms: alone.p50Ms - direct.one.p50Ms,
      p50Ms: together.p50Ms,
      p99Ms: together.p99Ms,
    };
  });
  const machine = `${cpus()[0]?.model ?? 'unknown'}, ${availableParallelism()} cores, Node ${process.versions.node}`;
  if (options.json) {
    console.log(JSON.stringify({ machine, rounds, roundMs, clients, idleMiB, table }, null, 2));
    return;
  }
  console.log(
    `${machine}; ${rounds} rounds of ${roundMs} ms, ${clients} clients, each with its own credential\n`,
  );
  console.log(
    '| | calls/s | of direct | of the bare proxy | CPU µs a call | added p50, 1 client | p50 | p99 |',
  );
  console.log('|---|---:|---:|---:|---:|---:|---:|---:|');
  for (const line of table) {
    const cells = [
      line.row,
      line.callsPerSecond,
      line.shareOfDirect.toFixed(2),
      line.shareOfProxy.toFixed(2),
      line.cpuMicrosPerCall.toFixed(0),
      `${line.addedP50Ms.toFixed(2)} ms`,
      `${line.p50Ms.toFixed(2)} ms`,
      `${line.p99Ms.toFixed(2)} ms`,
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
  console.log(`\nA universal server before its first call: ${idleMiB.toFixed(0)} MiB resident.`);
}

try {
  await main();
} finally {
  for (const child of children) child.kill();
}
