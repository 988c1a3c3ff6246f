/** "Storm": instances by the thousand that each call once, right after a restart of their service process (R19; 08). */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { aHerd, letGo, type HerdReport } from '../support/herd.js';
import { openInstallation } from '../support/installation.js';
import { modern, send } from '../support/mcpHttp.js';
import { openServiceSite } from '../support/serviceProcess.js';

const users = 200;
const perUser = 5;
const size = users * perUser;

// Each client has a socket, and so has the other end of it.
const descriptors = Number(execFileSync('/bin/sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }));
const isRoomy = descriptors >= size + 1_000;
if (!isRoomy) console.warn(`SKIPPED, ${descriptors} file descriptors: R19 wants ${size + 1_000}`);
const describeWithRoom = isRoomy ? describe : describe.skip;

const key = {
  id: 'key',
  type: 'fields',
  label: 'Key',
  tokenField: 'token',
  fields: [{ name: 'token', label: 'Key', type: 'secret' }],
};

/** A remote service that answers everything with the credential that it saw. */
async function startMirror() {
  let seen = 0;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      seen += 1;
      const body = Buffer.concat(chunks).toString('utf8');
      const credential = String(request.headers.authorization);
      const message = body.startsWith('{') ? (JSON.parse(body) as { id?: unknown; method?: string }) : {};
      const answer =
        message.method === undefined
          ? { credential }
          : { jsonrpc: '2.0', id: message.id, result: resultOf(message.method, credential) };
      const text = JSON.stringify(answer);
      response.writeHead(200, {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
      });
      response.end(text);
    });
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', 1_024, resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get seen() {
      return seen;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function resultOf(method: string, credential: string): object {
  if (method === 'server/discover') {
    return {
      resultType: 'complete',
      supportedVersions: ['2026-07-28'],
      capabilities: { tools: {} },
      serverInfo: { name: 'mirror', version: '1' },
    };
  }
  return { resultType: 'complete', content: [{ type: 'text', text: credential }] };
}

const call = modern('tools/call', { name: 'look', arguments: {} });

function report(
  kind: string,
  { statuses, answeredMs, drainedMs }: HerdReport,
  peakMiB: number,
  more: object,
) {
  const figures = { statuses, answeredMs: Math.round(answeredMs), drainedMs: Math.round(drainedMs), peakMiB };
  process.stdout.write(`R19 ${kind}: ${JSON.stringify({ ...figures, ...more })}\n`);
}

describeWithRoom('a herd after a restart', () => {
  it.each(['api', 'streamable-http'])(
    `R19 a herd of ${size} at a service of kind %s is answered, drained and harms nobody`,
    async (kind) => {
      await using mirror = await startMirror();
      await using site = await openInstallation();
      const common = {
        schemaVersion: 1,
        name: 'mirror',
        title: 'Mirror',
        port: 4_993,
        instancePrefix: 'mir',
        kind,
      };
      const authorization = { authorization: { $userToken: 'Bearer {{token}}' } };
      const look = {
        name: 'look',
        description: 'Looks.',
        inputSchema: { type: 'object' },
        request: { method: 'GET', path: '/look' },
      };
      const config =
        kind === 'api'
          ? {
              ...common,
              credentials: { methods: [key] },
              api: {
                baseUrl: mirror.origin,
                headers: authorization,
                tools: [look],
                egress: { allowPrivate: true },
              },
            }
          : {
              ...common,
              credentials: { methods: [{ ...key, probe: { type: 'mcp' } }] },
              remote: { url: `${mirror.origin}/mcp`, headers: authorization, egress: { allowPrivate: true } },
            };
      await using service = await openServiceSite(site, config);
      const herd = await aHerd(site, { users, perUser, service: 'mirror', prefix: 'mir' });
      const superuser = await site.db.superuser();
      await superuser.query(`alter database ${site.db.name} set track_functions = 'all'`);

      // It served before, and is killed, and is back.
      const first = await service.start({ LOG_LEVEL: 'warn' });
      first.child.kill('SIGKILL');
      await first.exited;
      const run = await service.start({ LOG_LEVEL: 'warn' });
      const answered = await letGo(herd, service.port, {
        service: 'mirror',
        headers: call.headers ?? {},
        body: () => JSON.stringify(call.body),
        isOwn: (text, { token }) => text.includes(`Bearer ${token}`),
      });
      const peakMiB = Math.round(
        Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${run.pid}/status`, 'utf8'))?.[1]) / 1_024,
      );
      const { rows } = await superuser.query<{ calls: string }>(
        "select coalesce(sum(calls), 0) as calls from pg_stat_user_functions where funcname in ('find_instance', 'resolve_instance')",
      );
      // In hundredths of a second (proc(5), fields 14 and 15).
      const stat = readFileSync(`/proc/${run.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
      const cpuMs = (Number(stat[11]) + Number(stat[12])) * 10;
      report(kind, answered, peakMiB, { cpuMs, lookups: Number(rows[0]?.calls), seen: mirror.seen });

      expect(run.child.exitCode).toBeNull();
      expect(run.child.signalCode).toBeNull();
      expect(answered.wrong).toEqual([]);
      expect(answered.statuses[200]).toBe(size);
      expect(answered.drainedMs).toBeLessThan(60_000);
      expect(peakMiB).toBeLessThan(400);
      // Afterwards it is as good as before.
      const [one] = herd;
      const after = await send(`${service.origin}/${one?.instanceId}/mirror`, call);
      expect(after.text).toContain(`Bearer ${one?.token}`);
      expect((await fetch(`${service.origin}/readyz`)).status).toBe(200);
    },
    300_000,
  );
});
