/**
 * `npm run bench`: what the gateway costs, as ratios to doing without it, in one interleaved run. It prints a markdown
 * table for each section (`--json` for a program) with calls a second, latency, and CPU time a call of the gateway
 * itself; every answer is checked for its caller's own credential.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findProjectRoot } from '../backend/src/config/projectRoot.js';
import { measureAudit, toAuditTable } from './audit.js';
import { startBenchFleet, type BenchFleet, type BenchService } from './benchFleet.js';
import { residentMiB } from './cpuTime.js';
import { churners, legacyCallers, modernCallers, type Person } from './mcpCallers.js';
import { measureAll, type Row } from './measuring.js';
import { startNginx } from './nginx.js';
import { toReport, toSection, type Section } from './report.js';
import { measureSessions } from './openSessions.js';
import { measureVault } from './vault.js';
import { measureTenants } from './tenants.js';

const { values: options } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '5' },
    'round-ms': { type: 'string', default: '2000' },
    clients: { type: 'string', default: '16' },
    // A part of the names of rows to measure besides the yardsticks, for profiling.
    rows: { type: 'string', default: '' },
    // A part of the names of sections.
    sections: { type: 'string', default: '' },
  },
});
const clients = Number(options.clients);
const roundOptions = { rounds: Number(options.rounds), roundMs: Number(options['round-ms']) };

interface Program {
  readonly child: ChildProcess;
  readonly origin: string;
  readonly port: number;
  readonly pid: number;
}

const children: ChildProcess[] = [];

async function startProgram(name: string, ...args: string[]): Promise<Program> {
  const child = fork(join(import.meta.dirname, 'programs', `${name}.js`), args);
  children.push(child);
  const [said] = (await once(child, 'message')) as [{ port: number }];
  return { child, origin: `http://127.0.0.1:${said.port}`, port: said.port, pid: child.pid ?? 0 };
}

/** The first row is what the others are compared with; the last of the yardsticks is the bare one. */
interface Plan {
  readonly name: string;
  readonly yardsticks: () => Promise<Row[]>;
  readonly rows: () => Promise<Row[]>;
}

async function main(): Promise<void> {
  if ('Audit'.includes(options.sections) && options.rows === '') {
    const audit = await measureAudit({ rounds: roundOptions.rounds });
    console.log(options.json ? JSON.stringify({ audit }) : toAuditTable(audit));
    if (options.sections === 'Audit') return;
  }
  const rest = await startProgram('upstream');
  const mcp = await startProgram('mcpUpstream');
  const proxy = await startProgram('bareProxy', mcp.origin);
  const stdioProgram = join(findProjectRoot(), 'bench/programs/stdioUpstream.mjs');
  const bareStdio = await startProgram('bareStdio', stdioProgram);
  await using nginx = await startNginx(mcp.origin);
  await using fleet = await startBenchFleet({ rest: rest.port, mcp: mcp.port });
  const idleMiB = residentMiB(await fleet.pidOf('mcp-bench-legacy'));

  const known = new Map<BenchService, Promise<readonly Person[]>>();
  const peopleOf = (service: BenchService): Promise<readonly Person[]> => {
    const people = known.get(service) ?? fleet.connect(service, clients);
    known.set(service, people);
    return people;
  };
  /** The same people without the gateway: they bring their credential themselves. */
  const plain = async (path: string): Promise<Person[]> =>
    (await peopleOf('bench-legacy')).map(({ credential }) => ({
      path,
      credential,
      headers: { authorization: `Bearer ${credential}` },
    }));
  const row = async (name: string, service: BenchService, callers: Row['callers']): Promise<Row> => ({
    name,
    callers,
    pid: await fleet.pidOf(`mcp-${service}`),
  });

  const plans: readonly Plan[] = [
    {
      name: 'Pass-through',
      yardsticks: async () => {
        const people = await plain('/legacy');
        return [
          { name: 'direct', callers: await legacyCallers(mcp.origin, people), pid: mcp.pid },
          ...(nginx === null
            ? []
            : [{ name: 'nginx', callers: await legacyCallers(nginx.origin, people), pid: nginx.pid }]),
          { name: 'bare undici proxy', callers: await legacyCallers(proxy.origin, people), pid: proxy.pid },
        ];
      },
      rows: async () => [
        await row(
          'Portolan, pass-through, legacy',
          'bench-legacy',
          await legacyCallers(fleet.origin('bench-legacy'), await peopleOf('bench-legacy')),
        ),
        await row(
          'Portolan, pass-through, modern',
          'bench-modern',
          modernCallers(fleet.origin('bench-modern'), await peopleOf('bench-modern')),
        ),
        await row(
          'Portolan, pass-through, modern, SSE',
          'bench-events',
          modernCallers(fleet.origin('bench-events'), await peopleOf('bench-events')),
        ),
        {
          name: 'Portolan, pass-through, by the front',
          callers: await legacyCallers(fleet.frontOrigin, await peopleOf('bench-legacy')),
          pid: await fleet.pidOf('front'),
        },
      ],
    },
    {
      name: 'Pass-through of 64 KiB',
      yardsticks: async () => {
        const people = await plain('/legacy');
        return [
          { name: 'direct', callers: await legacyCallers(mcp.origin, people, 65_536), pid: mcp.pid },
          {
            name: 'bare undici proxy',
            callers: await legacyCallers(proxy.origin, people, 65_536),
            pid: proxy.pid,
          },
        ];
      },
      rows: async () => [
        await row(
          'Portolan, pass-through of 64 KiB',
          'bench-legacy',
          await legacyCallers(fleet.origin('bench-legacy'), await peopleOf('bench-legacy'), 65_536),
        ),
      ],
    },
    {
      name: 'Translation',
      yardsticks: async () => [
        { name: 'direct', callers: modernCallers(mcp.origin, await plain('/modern')), pid: mcp.pid },
        {
          name: 'bare undici proxy',
          callers: modernCallers(proxy.origin, await plain('/modern')),
          pid: proxy.pid,
        },
      ],
      rows: async () => [
        await row(
          'Portolan, modern client, legacy upstream',
          'bench-legacy',
          modernCallers(fleet.origin('bench-legacy'), await peopleOf('bench-legacy')),
        ),
        await row(
          'Portolan, legacy client, modern upstream',
          'bench-modern',
          await legacyCallers(fleet.origin('bench-modern'), await peopleOf('bench-modern')),
        ),
      ],
    },
    {
      name: 'stdio and api',
      yardsticks: async () => {
        const people = await plain('/legacy');
        return [
          { name: 'direct', callers: await legacyCallers(mcp.origin, people), pid: mcp.pid },
          {
            name: 'bare stdio bridge',
            callers: await legacyCallers(bareStdio.origin, people),
            pid: bareStdio.pid,
          },
        ];
      },
      rows: async () => [
        await row(
          'Portolan, stdio',
          'bench-stdio',
          await legacyCallers(fleet.origin('bench-stdio'), await peopleOf('bench-stdio')),
        ),
        await row(
          'Portolan, api',
          'bench-api',
          await legacyCallers(fleet.origin('bench-api'), await peopleOf('bench-api')),
        ),
      ],
    },
    {
      name: 'Session churn',
      yardsticks: async () => [
        { name: 'direct', callers: churners(mcp.origin, await plain('/legacy')), pid: mcp.pid },
        {
          name: 'bare undici proxy',
          callers: churners(proxy.origin, await plain('/legacy')),
          pid: proxy.pid,
        },
      ],
      rows: async () => [
        await row(
          'Portolan, pass-through, churn',
          'bench-legacy',
          churners(fleet.origin('bench-legacy'), await peopleOf('bench-legacy')),
        ),
      ],
    },
  ];

  const sections: Section[] = [];
  for (const { name, yardsticks, rows } of plans) {
    if (!name.includes(options.sections)) continue;
    const wanted = (await rows()).filter((one) => one.name.includes(options.rows));
    if (wanted.length === 0) continue;
    const all = [...(await yardsticks()), ...wanted];
    const alone = await measureAll(all, 1, roundOptions);
    const together = await measureAll(all, clients, roundOptions);
    sections.push(toSection(name, all, all.length - wanted.length, alone, together));
  }
  const sessions =
    'Sessions'.includes(options.sections) && options.rows === '' ? await openOnes(fleet, mcp) : null;
  const tenants =
    'Tenants'.includes(options.sections) && options.rows === ''
      ? await compareTenants(fleet, proxy.origin)
      : null;
  const vault =
    'Vault'.includes(options.sections) && options.rows === ''
      ? await measureVault(roundOptions.rounds)
      : null;
  const figures = { ...roundOptions, clients, idleMiB, sections, sessions, tenants, vault };
  console.log(toReport(figures, options.json));
}

/** One loud and ten quiet users, each with an instance. */
async function compareTenants(fleet: BenchFleet, proxyOrigin: string) {
  const people = await fleet.connect('bench-legacy', 11, 1);
  const plain = people.map(({ credential }) => ({
    path: '/legacy',
    credential,
    headers: { authorization: `Bearer ${credential}` },
  }));
  const api = await fleet.connect('bench-api', 11, 1);
  return await measureTenants(
    [
      { name: 'bare undici proxy', callers: await legacyCallers(proxyOrigin, plain) },
      {
        name: 'Portolan, pass-through',
        callers: await legacyCallers(fleet.origin('bench-legacy'), people),
      },
      { name: 'Portolan, api', callers: await legacyCallers(fleet.origin('bench-api'), api) },
    ],
    {
      ...roundOptions,
      lightPerSecond: 20,
      startCallers: async () => (await startProgram('pacedCallers')).child,
    },
  );
}

async function openOnes(fleet: BenchFleet, mcp: Program) {
  const count = async () => {
    mcp.child.send('count');
    const [said] = (await once(mcp.child, 'message')) as [{ sessions: number; streams: number }];
    return said;
  };
  const people = await fleet.connect('bench-legacy', 50);
  const pid = await fleet.pidOf('mcp-bench-legacy');
  return await measureSessions({ origin: fleet.origin('bench-legacy'), people, pid, count });
}

try {
  await main();
} finally {
  for (const child of children) child.kill();
}
