/**
 * Clients that vanish in every way, in waves, from a service process with stdio children: by RST, by FIN, killed with
 * SIGKILL, in the middle of a call, of a stream, of an `initialize`, of a request that they never finished.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { findMarkedIn } from '../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/ownershipMark.js';
import { hostileServer } from './aStdioService.js';
import { waitUntil } from './eventually.js';
import { openInstallation } from './installation.js';
import { initialize, send } from './mcpHttp.js';
import { openServiceSite } from './serviceProcess.js';

export const stormService = {
  schemaVersion: 1,
  name: 'hostile',
  title: 'Hostile',
  kind: 'stdio',
  port: 4990,
  instancePrefix: 'hst',
  stdio: { command: process.execPath, args: [hostileServer], maxProcesses: 40, maxPerUser: 10 },
  credentials: { scope: 'none', methods: [{ id: 'none', type: 'none', label: 'None' }] },
  limits: { requestsPerMinute: 1_000_000, burst: 100_000, concurrency: 1_000 },
};

export interface StormReport {
  /** Of the service process, when the first waves were over and at the end. */
  readonly before: Footprint;
  readonly after: Footprint;
  /** Children that ran when the process was killed, and those that were left 5 s later. */
  readonly childrenAtKill: number;
  readonly orphans: number;
}

interface Footprint {
  readonly rssMiB: number;
  readonly descriptors: number;
}

/** One connection to be: what is written to it. */
interface Doomed {
  readonly port: number;
  readonly text: string;
  /** Something is answered before the end; a client that is reset waits for it, so that the service is at work. */
  readonly isAnswered?: boolean;
}

const waveSize = 100;
const urls = 8;

/** Lets `total` clients vanish, then kills the service process itself. */
export async function storm(total: number): Promise<StormReport> {
  await using site = await openInstallation();
  await using service = await openServiceSite(site, stormService);
  const run = await service.start({ LOG_LEVEL: 'warn' });
  const doomedOf = await doomedMaker(
    service.port,
    await Promise.all(
      Array.from({ length: urls }, async () => {
        const { instanceId } = await site.anInstance({
          owner: await site.aUser(),
          service: 'hostile',
          prefix: 'hst',
        });
        return `${service.origin}/${instanceId}/hostile`;
      }),
    ),
  );
  const settle = (): Promise<void> =>
    waitUntil(
      'no call is under way',
      async () => {
        const { text } = await send(`${service.origin}/metrics`, { method: 'GET' });
        return /portolan_child_processes\{[^}]*state="busy"[^}]*\} 0/.test(text);
      },
      15_000,
    );

  let before: Footprint | null = null;
  for (let done = 0; done < total; done += waveSize) {
    const wave = Array.from({ length: Math.min(waveSize, total - done) }, (_, at) => doomedOf(done + at));
    const third = Math.ceil(wave.length / 3);
    await Promise.all([
      ...wave.slice(0, third).map((one) => vanish(one, 'reset')),
      ...wave.slice(third, 2 * third).map((one) => vanish(one, 'half-closed')),
      killedWith(wave.slice(2 * third)),
    ]);
    await settle();
    // Heaps and pools reach their size first.
    if (before === null && done >= total / 4) before = footprintOf(run.pid);
  }
  const after = footprintOf(run.pid);
  const mine = async (): Promise<number> =>
    (await findMarkedIn('')).filter(({ mark }) => mark.includes(`/${run.pid}-`)).length;
  const childrenAtKill = await mine();
  run.child.kill('SIGKILL');
  await run.exited;
  const deadline = performance.now() + 5_000;
  let orphans = await mine();
  while (orphans > 0 && performance.now() < deadline) orphans = await mine();
  return { before: before ?? after, after, childrenAtKill, orphans };
}

/** Makes the n-th client's bytes: each kind of request in turn, over sessions of each instance. */
async function doomedMaker(port: number, instanceUrls: readonly string[]): Promise<(n: number) => Doomed> {
  const sessions = await Promise.all(
    instanceUrls.map(async (url) => ({ path: new URL(url).pathname, ...(await initialize(url)) })),
  );
  const head = (verb: string, path: string, more: readonly string[]): string =>
    [`${verb} ${path} HTTP/1.1`, `Host: 127.0.0.1:${port}`, ...more, '', ''].join('\r\n');
  const post = (path: string, headers: object, body: unknown, cut = 0): string => {
    const text = JSON.stringify(body);
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    const length = `content-length: ${Buffer.byteLength(text)}`;
    const accept = 'accept: application/json, text/event-stream';
    return `${head('POST', path, [...lines, accept, 'content-type: application/json', length])}${text.slice(0, text.length - cut)}`;
  };
  return (n) => {
    const session = sessions[n % sessions.length];
    if (session === undefined) throw new Error('no session');
    const { path, headers } = session;
    const call = (name: string, meta: object) => ({
      jsonrpc: '2.0',
      id: `d${n}`,
      method: 'tools/call',
      params: { name, arguments: {}, _meta: meta },
    });
    const opening = {
      protocolVersion: '2025-11-25',
      // Every other one can be asked, so that its child is its own.
      capabilities: Math.floor(n / 10) % 2 === 0 ? {} : { sampling: {} },
      clientInfo: { name: 'doomed', version: '1' },
    };
    // Ten to one: an `initialize` may start a process.
    switch (n % 10) {
      case 0:
        return {
          port,
          text: post(path, {}, { jsonrpc: '2.0', id: 1, method: 'initialize', params: opening }),
        };
      case 1:
      case 2:
        return {
          port,
          text: head('GET', path, [
            ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
            'accept: text/event-stream',
          ]),
          isAnswered: n % 10 === 1,
        };
      case 3:
        return { port, text: post(path, headers, call('hang', {}), 10) };
      case 4:
      case 5:
        return {
          port,
          text: post(path, headers, call('hangWithProgress', { progressToken: n })),
          isAnswered: true,
        };
      default:
        return { port, text: post(path, headers, call('hang', {})) };
    }
  };
}

/** Writes, gives the service a moment's turn, and goes: with a RST, or with a FIN while it still would read. */
async function vanish(
  { port, text, isAnswered = false }: Doomed,
  how: 'reset' | 'half-closed',
): Promise<void> {
  const socket = createConnection({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => {});
  await once(socket, 'connect');
  await new Promise((resolve) => socket.write(text, resolve));
  const closed = once(socket, 'close');
  if (isAnswered) await Promise.race([once(socket, 'data'), closed]);
  socket.resume();
  if (how === 'reset') socket.resetAndDestroy();
  else socket.end();
  // A service that kept a half-closed connection would keep the test waiting here.
  await closed;
}

async function killedWith(doomed: readonly Doomed[]): Promise<void> {
  if (doomed.length === 0) return;
  const client = spawn(process.execPath, [join(import.meta.dirname, 'doomedClient.mjs')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(client, 'exit');
  client.stdin.end(doomed.map((one) => JSON.stringify(one)).join('\n'));
  await once(client.stdout, 'data');
  client.kill('SIGKILL');
  await exited;
}

function footprintOf(pid: number): Footprint {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kiB = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
  return { rssMiB: Math.round(kiB / 1024), descriptors: readdirSync(`/proc/${pid}/fd`).length };
}
