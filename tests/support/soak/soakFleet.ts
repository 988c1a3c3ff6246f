/**
 * The fleet of a soak, as in production: under its own PM2, with the health monitor, before a PostgreSQL that can be hurt
 * and upstreams that keep what they see. Its programs are watched: a pid that goes without a fault's leave is a crash.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAlive } from '../../../backend/src/supervisor/processes.js';
import { readLogTail } from '../../../scripts/fleet/logTail.js';
import { waitUntil } from '../eventually.js';
import { startWholeFleet, type Fleet } from '../fleet.js';
import { startFrailDatabase, type FrailDatabase } from '../frailDatabase.js';
import { anAdmin, aUser, callApi } from '../people.js';
import type { Journal } from './journal.js';
import type { ApiAnswer, Owner } from './owners.js';
import { startRecordingServices, type RecordingServices } from './recordingServices.js';
import type { Random } from './random.js';
import { writeSoakServices, type SoakService } from './soakServices.js';

export interface SoakFleet extends AsyncDisposable {
  readonly fleet: Fleet;
  readonly database: FrailDatabase;
  readonly upstream: RecordingServices;
  readonly owners: readonly Owner[];
  /** The folder of a service's spool that is a disk of its own and small; null where none can be mounted. */
  readonly smallSpool: { readonly service: SoakService; readonly dir: string } | null;
  serviceOrigin(service: SoakService): string;
  originOf(program: string): string;
  /** The pid of a program, as PM2 says it now. */
  pidOf(program: string): Promise<number>;
  /** From now on the program may go and come back with another pid; the answer ends that. */
  excuse(program: string): () => void;
  /** Pids of service processes that there ever were. */
  readonly pidsEver: ReadonlySet<number>;
  /** Resolves when a program says that it is ready, within the time, or gives false. */
  isReady(program: string, withinMs: number): Promise<boolean>;
}

export interface SoakFleetOptions {
  readonly journal: Journal;
  readonly random: Random;
  readonly owners: number;
  /** On a machine that is not quiet the monitor may take a slow program for one that hangs. */
  readonly isBusy?: boolean;
  readonly onSighting: Parameters<typeof startRecordingServices>[1];
}

export const serviceProgram = (service: SoakService): string => `mcp-${service}`;
const watchMs = 500;

export async function startSoakFleet(options: SoakFleetOptions): Promise<SoakFleet> {
  const closers: (() => unknown)[] = [];
  const close = async (): Promise<void> => {
    for (let next = closers.pop(); next !== undefined; next = closers.pop()) await next();
  };
  try {
    return await open(options, closers, close);
  } catch (error) {
    await close();
    throw error;
  }
}

async function open(
  { journal, random, onSighting, ...options }: SoakFleetOptions,
  closers: (() => unknown)[],
  close: () => Promise<void>,
): Promise<SoakFleet> {
  const use = <T extends AsyncDisposable>(one: T): T => {
    closers.push(() => one[Symbol.asyncDispose]());
    return one;
  };
  const database = use(await startFrailDatabase());
  const upstream = use(await startRecordingServices(random.fork('upstream'), onSighting));
  const mcpPortsDir = realpathSync(mkdtempSync(join(tmpdir(), 'portolan-soak-')));
  closers.push(() => rmSync(mcpPortsDir, { recursive: true, force: true }));
  chmodSync(mcpPortsDir, 0o755);
  writeSoakServices(mcpPortsDir, upstream);
  const fleet = use(
    await startWholeFleet({
      mcpPortsDir,
      isStarted: false,
      env: { DATABASE_URL: database.url, LOG_LEVEL: 'info', METRICS_OPEN: 'true' },
    }),
  );
  const smallSpool = mountSmallSpool(fleet, 'restful');
  // Lazily: the programs end after it, and their folder is removed with them.
  if (smallSpool !== null) closers.push(() => void execFileSync('umount', ['-l', smallSpool.dir]));
  const { code, output } = await fleet.run('quickstart');
  if (code !== 0) throw new Error(`npm run quickstart failed\n${output}`);

  const admin = await anAdmin(fleet);
  const owners: Owner[] = [];
  for (let at = 0; at < options.owners; at += 1) {
    const name = `o${at}`;
    const { email, password } = await aUser(fleet, admin, name);
    owners.push(toOwner(fleet.apiOrigin, name, { email, password }));
  }

  const logs = join(fleet.config.paths.stateDir, 'logs');
  const pids = new Map<string, number>();
  const pidsEver = new Set<number>();
  const excused = new Map<string, number>();
  const readPids = async (): Promise<void> => {
    for (const { name, pid, status } of await fleet.apps()) {
      if (pid === 0 || status !== 'online') continue;
      pids.set(name, pid);
      pidsEver.add(pid);
    }
  };
  await readPids();
  const look = (): void => {
    for (const [name, pid] of pids) {
      if ((excused.get(name) ?? 0) > 0 || isAlive(pid)) continue;
      if (!wasKilledByMonitor(logs, name) || options.isBusy !== true)
        journal.report('g', `${name} (${pid}) ended by itself: ${lastWords(logs, name)}`);
      else journal.count(`${name} was killed by the monitor: the machine is too busy`);
      pids.delete(name);
    }
  };
  const watch = setInterval(look, watchMs);
  closers.push(() => clearInterval(watch));

  const originOf = (program: string): string => {
    if (program === 'main-api') return fleet.apiOrigin;
    if (program === 'front') return fleet.origin;
    return fleet.serviceOrigin(program.slice('mcp-'.length));
  };
  return {
    fleet,
    database,
    upstream,
    owners,
    smallSpool,
    pidsEver,
    originOf,
    serviceOrigin: (service) => fleet.serviceOrigin(service),
    async pidOf(program) {
      await readPids();
      return pids.get(program) ?? 0;
    },
    excuse(program) {
      excused.set(program, (excused.get(program) ?? 0) + 1);
      return () => {
        void readPids().then(() => excused.set(program, (excused.get(program) ?? 1) - 1));
      };
    },
    async isReady(program, withinMs) {
      return await waitUntil(
        `${program} is ready`,
        () =>
          callApi(originOf(program), 'GET', '/readyz').then(
            ({ status }) => status === 200,
            () => false,
          ),
        withinMs,
      ).then(
        () => true,
        () => false,
      );
    },
    [Symbol.asyncDispose]: close,
  };
}

/** An account that signs in again when its access token is over. */
function toOwner(origin: string, name: string, account: { email: string; password: string }): Owner {
  let bearer = '';
  const signIn = async (): Promise<void> => {
    const { status, body } = await callApi(origin, 'POST', '/api/v1/auth/login', { body: account });
    if (status === 200) bearer = String(body.accessToken);
  };
  const ask = async (
    method: string,
    path: string,
    body: object | undefined,
    requestId: string | undefined,
  ): Promise<ApiAnswer> => {
    const response = await fetch(`${origin}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${bearer}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(requestId === undefined ? {} : { 'x-request-id': requestId }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(60_000),
    });
    const text = await response.text();
    return {
      status: response.status,
      body: text.startsWith('{') ? (JSON.parse(text) as ApiAnswer['body']) : {},
    };
  };
  return {
    name,
    async call(method, path, body, requestId) {
      try {
        if (bearer === '') await signIn();
        const answer = await ask(method, path, body, requestId);
        if (answer.status !== 401) return answer;
        await signIn();
        return await ask(method, path, body, requestId);
      } catch (error) {
        return { status: 0, body: { error: error instanceof Error ? error.message : String(error) } };
      }
    },
  };
}

/** A tmpfs of 1 MiB in the place of a spool; only root may mount one. */
function mountSmallSpool(fleet: Fleet, service: SoakService): SoakFleet['smallSpool'] {
  if (process.getuid?.() !== 0) return null;
  const dir = join(fleet.config.paths.spoolDir, service);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=0700', 'tmpfs', dir], { stdio: 'ignore' });
  } catch {
    return null;
  }
  return { service, dir };
}

/** What a program said at last, and whether it was ended from outside. */
function lastWords(logs: string, program: string): string {
  const said = readLogTail(join(logs, `${program}.error.log`), 12);
  const kills = readLogTail(join(logs, 'health-monitor.log'), 200).filter((line) =>
    line.includes('is killed'),
  );
  return [...said, ...kills.slice(-1)].join(' | ');
}

function wasKilledByMonitor(logs: string, program: string): boolean {
  return readLogTail(join(logs, 'health-monitor.log'), 20).some(
    (line) => line.includes('hangs and is killed') && line.includes(`"${program}"`),
  );
}
