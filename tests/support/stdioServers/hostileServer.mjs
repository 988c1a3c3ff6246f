// A small MCP server over stdio (revision 2025-11-25) whose tools misbehave on request. No dependency, quick to start.
// Arguments: --wait-while=<file> (reads nothing while the file is there), --one-more-while=<file> (has a tool more), --silent (never answers), --banner (prints text before it speaks), --crash (ends at once), --refuse, --deep=<n> (lists a tool whose schema is so deep).
import { spawn } from 'node:child_process';
import { appendFileSync, existsSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const flags = new Set(process.argv.slice(2));
if (flags.has('--crash')) process.exit(3);
if (flags.has('--banner')) process.stdout.write('Welcome to the server\nlistening on stdio\n');

/** The file that a flag such as --wait-while=/tmp/file names. */
const fileOf = (flag) => process.argv.find((one) => one.startsWith(`${flag}=`))?.slice(flag.length + 1);
const gate = fileOf('--wait-while') ?? '';
while (existsSync(gate)) await new Promise((resolve) => setTimeout(resolve, 10));

const depth = Number(fileOf('--deep') ?? 0);

const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
const text = (value) => ({
  content: [{ type: 'text', text: typeof value === 'string' ? value : JSON.stringify(value) }],
});
const asked = new Map();
const cancelled = new Map();
const heard = [];
let nextId = 0;
let calls = 0;

const ask = (method, params) =>
  new Promise((resolve) => {
    const id = `ask-${++nextId}`;
    asked.set(id, resolve);
    send({ id, method, params });
  });

const tools = {
  echo: ({ text: said = '' }) => text(said),
  pid: () => text(String(process.pid)),
  count: () => text(String(++calls)),
  env: () => text(process.env),
  argv: () => text(process.argv.slice(2)),
  cwd: () => text(process.cwd()),
  heard: () => text(heard),
  crash: () => process.exit(7),
  garbage: () => {
    for (let line = 0; line < 40; line += 1) process.stdout.write(`this is no JSON ${line}\n`);
    return text('after the garbage');
  },
  binary: () => {
    process.stdout.write(Buffer.from([0, 1, 2, 255, 254, 10]));
    return text('after the bytes');
  },
  hugeLine: async ({ megabytes = 11 }) => {
    const chunk = Buffer.alloc(1024 * 1024, 'x');
    for (let sent = 0; sent < megabytes; sent += 1) {
      if (!process.stdout.write(chunk)) await new Promise((resolve) => process.stdout.once('drain', resolve));
    }
    process.stdout.write('\n');
    return text('after the line');
  },
  big: ({ bytes = 65_536 }) => text('x'.repeat(bytes)),
  bigFailure: ({ bytes }) => ({ ...text('x'.repeat(bytes)), isError: true }),
  bigWithProgress: ({ bytes }, _id, meta) => {
    send({ method: 'notifications/progress', params: { progressToken: meta?.progressToken, progress: 1 } });
    return text('x'.repeat(bytes));
  },
  floodStderr: async ({ megabytes = 4 }) => {
    const chunk = Buffer.alloc(1024 * 1024, 'e');
    for (let sent = 0; sent < megabytes; sent += 1) {
      if (!process.stderr.write(chunk)) await new Promise((resolve) => process.stderr.once('drain', resolve));
    }
    return text('flooded');
  },
  // Holds more and more until it may not.
  eat: () => {
    const kept = [];
    for (;;) kept.push(Buffer.alloc(16 * 1024 * 1024, 1));
  },
  // Leaves a line behind, so that it is seen from outside how often it ran.
  append: ({ file, line }) => {
    appendFileSync(file, `${line}\n`);
    return text(line);
  },
  // Reads no more; says so first.
  deaf: () => {
    process.stdin.pause();
    return text('deaf from now on');
  },
  // Says half of a message and no more.
  halfLine: () => {
    process.stdout.write('{"jsonrpc":"2.0","method":"notifications/me');
    return new Promise(() => {});
  },
  // Answers what it was never asked, under the numbers of the calls to come.
  guess: (_arguments, id) => {
    for (let ahead = 1; ahead < 50; ahead += 1) send({ id: id + ahead, result: text('guessed') });
    send({ id: String(id), result: text('of another type') });
    return text('guessing');
  },
  // Talks without an end.
  babble: async () => {
    for (;;) {
      const line = `${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' })}\n`;
      if (!process.stdout.write(line.repeat(1_000)))
        await new Promise((resolve) => process.stdout.once('drain', resolve));
    }
  },
  // A grandchild in a session of its own that ignores TERM; its pid goes into the file that is named.
  doubleFork: ({ pidFile }) => {
    process.on('SIGTERM', () => {});
    const script = `process.on('SIGTERM', () => {}); require('fs').writeFileSync(${JSON.stringify(pidFile)}, String(process.pid)); setInterval(() => {}, 1000)`;
    spawn(process.execPath, ['-e', script], { detached: true, stdio: 'ignore' }).unref();
    return text(String(process.pid));
  },
  // Answers when it is cancelled, or never; writes a file so that the cancellation is seen from outside.
  hang: ({ cancelFile }, id) =>
    new Promise(() => cancelled.set(id, () => cancelFile && writeFileSync(cancelFile, 'cancelled'))),
  hangWithProgress: (_arguments, id, meta) =>
    new Promise(() => {
      let progress = 0;
      const timer = setInterval(() => {
        send({
          method: 'notifications/progress',
          params: { progressToken: meta?.progressToken, progress: ++progress },
        });
      }, 20);
      cancelled.set(id, () => clearInterval(timer));
    }),
  // Says that it has begun, and is done a while later.
  slow: async ({ afterMs = 700 }, _id, meta) => {
    send({ method: 'notifications/progress', params: { progressToken: meta?.progressToken, progress: 1 } });
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    return text('done slowly');
  },
  progress: (_arguments, _id, meta) => {
    for (const progress of [1, 2]) {
      if (meta?.progressToken === undefined) continue;
      send({
        method: 'notifications/progress',
        params: { progressToken: meta.progressToken, progress, total: 2 },
      });
    }
    return text('done');
  },
  log: ({ level = 'info', data = 'a line' }) => {
    send({ method: 'notifications/message', params: { level, data } });
    return text('logged');
  },
  sample: async () =>
    text(
      await ask('sampling/createMessage', {
        messages: [{ role: 'user', content: { type: 'text', text: 'hello' } }],
        maxTokens: 5,
      }),
    ),
  elicit: async () =>
    text(
      await ask('elicitation/create', {
        message: 'your name?',
        requestedSchema: { type: 'object', properties: { name: { type: 'string' } } },
      }),
    ),
  roots: async () => text(await ask('roots/list')),
  ping: async () => text(await ask('ping')),
  touch: ({ uri }) => {
    send({ method: 'notifications/resources/updated', params: { uri } });
    return text('touched');
  },
  grow: () => {
    tools.grown = () => text('grown');
    send({ method: 'notifications/tools/list_changed' });
    return text('growing');
  },
  twice: (_arguments, id) => {
    send({ id, result: text('first') });
    send({ id: 987_654, result: text('nobody asked') });
    return text('second');
  },
  fail: () => ({ ...text('the tool failed'), isError: true }),
};

const oneMore = fileOf('--one-more-while');
if (oneMore !== undefined && existsSync(oneMore)) tools.oneMore = () => text('one more');

/** Remembers what was asked, and answers as a server does that has nothing to say. */
const note = (what) => {
  heard.push(what);
  return {};
};

const results = {
  initialize: (params) => {
    heard.push({ initialize: params });
    return {
      protocolVersion: '2025-11-25',
      capabilities: {
        tools: { listChanged: true },
        resources: { subscribe: true, listChanged: true },
        logging: {},
      },
      serverInfo: { name: 'hostile', version: '1.0.0' },
      instructions: 'Handle with care.',
    };
  },
  ping: () => ({}),
  'tools/list': () => ({
    tools: Object.keys(tools).map((name) => ({
      name,
      description: `the tool ${name}`,
      inputSchema: { type: 'object' },
      annotations: { readOnlyHint: ['echo', 'pid', 'env'].includes(name) },
    })),
  }),
  'resources/list': () => ({ resources: [{ uri: 'test://one', name: 'one' }] }),
  'resources/read': ({ uri }) => ({ contents: [{ uri, text: 'content' }] }),
  'resources/subscribe': (params) => note({ subscribe: params.uri }),
  'resources/unsubscribe': (params) => note({ unsubscribe: params.uri }),
  'logging/setLevel': (params) => note({ setLevel: params.level }),
};

createInterface({ input: process.stdin }).on('line', async (line) => {
  if (flags.has('--silent')) return;
  const message = JSON.parse(line);
  if (message.method === undefined)
    return asked.get(message.id)?.(message.result ?? { error: message.error });
  if (message.id === undefined) {
    heard.push({ notification: message.method, params: message.params });
    cancelled.get(message.params?.requestId)?.();
    return;
  }
  const { id, method, params = {} } = message;
  if (flags.has('--refuse') && method === 'initialize') {
    return send({ id, error: { code: -32022, message: 'only 2026-07-28 is spoken here' } });
  }
  if (method === 'tools/call') {
    const tool = Object.hasOwn(tools, params.name) ? tools[params.name] : undefined;
    if (tool === undefined)
      return send({ id, error: { code: -32602, message: `Unknown tool: ${params.name}` } });
    return send({ id, result: await tool(params.arguments ?? {}, id, params['_meta']) });
  }
  if (depth > 0 && method === 'tools/list') {
    const open = '{"type":"object","properties":{"n":'.repeat(depth);
    const deep = `{"name":"deep","inputSchema":${open}{}${'}}'.repeat(depth)}}`;
    process.stdout.write(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{"tools":[${deep}]}}\n`);
    return;
  }
  const result = results[method];
  if (result === undefined) return send({ id, error: { code: -32601, message: 'Method not found' } });
  send({ id, result: result(params) });
});
