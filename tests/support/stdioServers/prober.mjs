// An MCP server over stdio that tries what a hostile child would: its one tool, `try`, takes a list of attempts and says
// of each what it got. It is part of no service.
import { execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { userInfo } from 'node:os';

const connectTo = (path) =>
  new Promise((resolve, reject) => {
    const socket = connect(path, () => resolve(socket.destroy() && 'connected')).on('error', reject);
  });

/** Each gives what was reached, or throws why not. */
const attempts = {
  read: ({ path }) => readFileSync(path, 'latin1'),
  list: ({ path }) => readdirSync(path),
  link: ({ path }) => readlinkSync(path),
  exists: ({ path }) => existsSync(path),
  write: ({ path }) => {
    appendFileSync(path, 'x');
    return 'written';
  },
  remove: ({ path }) => rmSync(path) ?? 'removed',
  signal: ({ pid, signal }) => process.kill(pid, signal),
  connect: ({ path }) => connectTo(path),
  run: ({ file, args }) =>
    execFileSync(file, args, { encoding: 'latin1', stdio: ['ignore', 'pipe', 'pipe'] }),
  fetch: async ({ url }) => (await fetch(url)).status,
  // Every process that it can see, and of each what it could read.
  processes: () =>
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => ({ pid, ...look(pid) })),
  status: () => readFileSync('/proc/self/status', 'latin1'),
  limits: () => readFileSync('/proc/self/limits', 'latin1'),
  user: () => userInfo(),
  environment: () => process.env,
  wait: () => new Promise(() => {}),
  // A file that only the sandbox's own file system holds.
  temporary: () => {
    const path = join('/tmp', `left-by-${process.env['PORTOLAN_CHILD_OF']?.replaceAll('/', '_')}`);
    writeFileSync(path, 'mine');
    return path;
  },
  // A process in a session of its own that ignores TERM, as this one does from now on.
  stay: () => {
    process.on('SIGTERM', () => {});
    spawn('/bin/sh', ['-c', 'trap "" TERM; while :; do sleep 1; done'], {
      detached: true,
      stdio: 'ignore',
    }).unref();
    return 'staying';
  },
  // As many processes as it may have, which stay until it ends.
  bomb: async ({ wanted }) => {
    let started = 0;
    let refused = 0;
    const one = () =>
      new Promise((resolve) => {
        const child = spawn('/bin/sleep', ['60'], { stdio: 'ignore' });
        child.once('spawn', () => resolve((started += 1)));
        child.once('error', () => resolve((refused += 1)));
      });
    for (let at = 0; at < wanted; at += 1) await one();
    return { started, refused };
  },
};

function look(pid) {
  const got = {};
  for (const name of ['environ', 'mem', 'maps', 'cmdline']) {
    try {
      readFileSync(`/proc/${pid}/${name}`, { flag: 'r', encoding: 'latin1', length: 1 });
      got[name] = true;
    } catch (error) {
      got[name] = error.code === 'EIO' ? true : error.code;
    }
  }
  try {
    got.fd = readdirSync(`/proc/${pid}/fd`).length >= 0;
  } catch (error) {
    got.fd = error.code;
  }
  return got;
}

const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
const toText = (value) => ({ content: [{ type: 'text', text: JSON.stringify(value) }] });

async function attempt({ what, ...how }) {
  try {
    return { got: (await attempts[what](how)) ?? null };
  } catch (error) {
    return { denied: error.code ?? error.message };
  }
}

const results = {
  initialize: () => ({
    protocolVersion: '2025-11-25',
    capabilities: { tools: {} },
    serverInfo: { name: 'prober', version: '1.0.0' },
  }),
  ping: () => ({}),
  'tools/list': () => ({ tools: [{ name: 'try', inputSchema: { type: 'object' } }] }),
  'tools/call': async ({ arguments: { list } }) => toText(await Promise.all(list.map(attempt))),
};

createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, method, params } = JSON.parse(line);
  if (method === undefined || id === undefined) return;
  const answer = results[method];
  if (answer === undefined) return send({ id, error: { code: -32601, message: 'Method not found' } });
  send({ id, result: await answer(params) });
});
