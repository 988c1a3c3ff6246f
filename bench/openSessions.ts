/**
 * What sessions hold that are open and do nothing: memory of the gateway for each one with a stream, and what is left of
 * those whose clients vanish without a word.
 */
import { connect, type Socket } from 'node:net';
import { residentMiB } from './cpuTime.js';
import { openLegacySession } from './legacySession.js';
import type { Person } from './mcpCallers.js';

export interface SessionFigures {
  readonly opened: number;
  /** Resident memory of the gateway for each open session with a stream. */
  readonly kibPerSession: number;
  /** Upstream sessions and streams while all were open. */
  readonly upstreamBefore: { readonly sessions: number; readonly streams: number };
  /** The same after the clients vanished, and how long it took until both were zero or the wait was over. */
  readonly upstreamAfter: { readonly sessions: number; readonly streams: number };
  readonly secondsUntilGone: number;
}

export interface SessionSubject {
  readonly origin: string;
  readonly people: readonly Person[];
  readonly pid: number;
  /** What the upstream holds now. */
  readonly count: () => Promise<{ sessions: number; streams: number }>;
}

const perPerson = 4;
const waitSecondsMax = 60;

export async function measureSessions(subject: SessionSubject): Promise<SessionFigures> {
  const { origin, people, pid, count } = subject;
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const before = await count();
  const memoryBefore = residentMiB(pid);
  const sockets: Socket[] = [];
  for (const { path } of people) {
    for (let at = 0; at < perPerson; at += 1) {
      const session = await openLegacySession(origin, path, headers);
      sockets.push(await openStream(origin, path, session));
    }
  }
  const upstreamBefore = difference(await count(), before);
  const kibPerSession = ((residentMiB(pid) - memoryBefore) * 1024) / sockets.length;
  const vanishedAt = performance.now();
  for (const socket of sockets) socket.resetAndDestroy();
  let upstreamAfter = difference(await count(), before);
  while (upstreamAfter.sessions + upstreamAfter.streams > 0) {
    if (performance.now() - vanishedAt > waitSecondsMax * 1_000) break;
    await new Promise((resolve) => setTimeout(resolve, 500));
    upstreamAfter = difference(await count(), before);
  }
  const secondsUntilGone = (performance.now() - vanishedAt) / 1_000;
  return { opened: sockets.length, kibPerSession, upstreamBefore, upstreamAfter, secondsUntilGone };
}

type Counts = SessionFigures['upstreamAfter'];

const difference = (now: Counts, before: Counts): Counts => ({
  sessions: Math.max(0, now.sessions - before.sessions),
  streams: Math.max(0, now.streams - before.streams),
});

/** A GET stream on a socket of its own; resolves when its head is there. */
async function openStream(
  origin: string,
  path: string,
  session: Readonly<Record<string, string>>,
): Promise<Socket> {
  const { hostname, port, host } = new URL(origin);
  const socket = connect(Number(port), hostname);
  const lines = Object.entries({ host, accept: 'text/event-stream', ...session }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  socket.write(`GET ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
  await new Promise<void>((resolve, reject) => {
    socket.once('data', (head: Buffer) =>
      head.toString('latin1').startsWith('HTTP/1.1 200')
        ? resolve()
        : reject(new Error(`a stream was answered with ${head.toString('latin1').slice(0, 40)}`)),
    );
    socket.once('error', reject);
  });
  return socket;
}
