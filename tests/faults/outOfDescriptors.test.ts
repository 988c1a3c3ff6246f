/** A service process that has no file descriptors left, and gets them back. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { expect, it } from '@jest/globals';
import { Client } from 'undici';
import { callAuditOf } from '../support/callAudit.js';
import { stormService } from '../support/disconnectStorm.js';
import { waitUntil } from '../support/eventually.js';
import { openInstallation } from '../support/installation.js';
import { modern } from '../support/mcpHttp.js';
import { openServiceSite } from '../support/serviceProcess.js';

const spare = 4;
const strangers = 100;

it('R27 without descriptors calls under way and on open connections go on, nothing crashes, and it recovers', async () => {
  await using site = await openInstallation();
  await using service = await openServiceSite(site, stormService);
  const run = await service.start();
  const aPath = async () => {
    const made = await site.anInstance({ owner: await site.aUser(), service: 'hostile', prefix: 'hst' });
    return { id: made.id, path: `/${made.instanceId}/hostile` };
  };
  const [served, waiting] = [await aPath(), await aPath()];
  const client = new Client(service.origin, { pipelining: 1 });
  const call = async (path: string, text: string) => {
    const wish = modern('tools/call', { name: 'echo', arguments: { text } });
    const headers = {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...wish.headers,
    };
    const body = JSON.stringify(wish.body);
    const answer = await client.request({ method: 'POST', path, headers, body });
    return { status: answer.statusCode, text: await answer.body.text() };
  };
  const sockets: Socket[] = [];
  try {
    expect((await call(served.path, 'before')).text).toContain('before');
    const countOpen = (): number => readdirSync(`/proc/${run.pid}/fd`).length;
    const open = countOpen();
    const [, soft, hard] = /(\S+)\s+(\S+)/.exec(limitsOf(run.pid)) ?? [];
    setLimit(run.pid, `${open + spare}:`);
    for (let at = 0; at < strangers; at += 1) {
      const socket = connect(service.port, '127.0.0.1');
      socket.on('error', () => {});
      sockets.push(socket);
    }
    await waitUntil('it has no descriptor left', () => countOpen() >= open + spare - 1, 10_000);
    const before = cpuTicksOf(run.pid);
    const since = performance.now();

    for (let at = 0; at < 20; at += 1) {
      const answer = await call(served.path, `live-${at}`);
      expect([answer.status, answer.text]).toEqual([200, expect.stringContaining(`live-${at}`)]);
    }
    // Whoever waits for a descriptor does not make it turn in circles.
    const share = ((cpuTicksOf(run.pid) - before) * 10) / (performance.now() - since);
    expect(share).toBeLessThan(0.9);
    // A child that cannot be started is told to whom it is for, and to nobody else.
    const unstarted = await call(waiting.path, 'unstarted');
    expect(unstarted.text).toContain('SERVICE_SATURATED');
    expect(run.child.exitCode).toBeNull();
    expect(run.output().split('\n').length).toBeLessThan(strangers);

    for (const socket of sockets) socket.destroy();
    setLimit(run.pid, `${soft}:${hard}`);
    await waitUntil(
      'another child can be started again',
      async () => (await call(waiting.path, 'after')).text.includes('after'),
      30_000,
    );
    expect((await fetch(`${service.origin}/readyz`)).status).toBe(200);
    await waitUntil('each call is audited, and closed', async () => {
      const rows = await callAuditOf({ site }, served.id);
      const count = (phase: string): number => rows.filter((row) => row.phase === phase).length;
      return count('intent') === count('outcome') && count('intent') > 20;
    });
  } finally {
    for (const socket of sockets) socket.destroy();
    await client.destroy();
  }
}, 120_000);

/** Soft and hard limit of open files, as prlimit prints them. */
function limitsOf(pid: number): string {
  return execFileSync('prlimit', [
    `--pid=${pid}`,
    '--nofile',
    '--output=SOFT,HARD',
    '--noheadings',
    '--raw',
  ]).toString();
}

function setLimit(pid: number, limit: string): void {
  execFileSync('prlimit', [`--pid=${pid}`, `--nofile=${limit}`]);
}

/** User and system time in ticks of 10 ms (proc(5), /proc/pid/stat fields 14 and 15). */
function cpuTicksOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}
