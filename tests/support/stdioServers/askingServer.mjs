// A small MCP server over stdio (revision 2025-11-25) whose tools ask their client in every way that the revision knows.
import { createInterface } from 'node:readline';

const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
const text = (value) => ({
  content: [{ type: 'text', text: typeof value === 'string' ? value : JSON.stringify(value) }],
});
const waiting = new Map();
const cancelled = [];
const releases = [];
let initialized = null;
let pagesAsked = 0;
let nextId = 0;
let runs = 0;

/** Resolves with the result, or with `{ error }`. */
const ask = (method, params) =>
  new Promise((resolve) => {
    const id = `ask-${++nextId}`;
    waiting.set(id, resolve);
    send({ id, method, params });
  });
const form = (message) =>
  ask('elicitation/create', {
    message,
    requestedSchema: { type: 'object', properties: { value: { type: 'string' } } },
  });
const progress = (meta, done) =>
  meta?.progressToken !== undefined &&
  send({ method: 'notifications/progress', params: { progressToken: meta.progressToken, progress: done } });
const log = (data, level = 'info') => send({ method: 'notifications/message', params: { level, data } });
const prompt = { messages: [{ role: 'user', content: { type: 'text', text: 'hello' } }], maxTokens: 5 };

/** Arguments that headers repeat. */
const located = {
  region: { type: 'string', 'x-mcp-header': 'Region' },
  place: { type: 'object', properties: { floor: { type: 'integer', 'x-mcp-header': 'Floor' } } },
};

const tools = {
  located: (given) => text(given),
  told: () => text({ pid: process.pid, runs, cancelled, initialized }),
  pid: () => text(String(process.pid)),
  form: async ({ question = 'your name?' }) => text(await form(question)),
  twoRounds: async (_given, meta) => {
    runs += 1;
    progress(meta, 1);
    log('before the first');
    const first = await form('first?');
    progress(meta, 2);
    log('between');
    const second = await form('second?');
    log('after the second');
    return text({ first, second });
  },
  together: async () =>
    text(await Promise.all([form('a name?'), ask('sampling/createMessage', prompt), ask('roots/list')])),
  sample: async () => text(await ask('sampling/createMessage', prompt)),
  page: async () =>
    text(
      await ask('elicitation/create', {
        mode: 'url',
        message: 'sign in',
        url: 'https://example.org/in',
        elicitationId: 'legacy-only',
      }),
    ),
  /** Refuses to run before a page was opened: once, unless it is told that it never is. */
  pageFirst: ({ isNever = false }) => {
    pagesAsked += 1;
    if (!isNever && pagesAsked > 1) return text('opened');
    const elicitations = [
      { mode: 'url', elicitationId: 'one', url: 'https://example.org/one', message: 'open this' },
    ];
    throw Object.assign(new Error('a page first'), { code: -32042, data: { elicitations } });
  },
  /** Ends with the next `resources/list`; does not ask. */
  block: (_given, meta) => {
    progress(meta, 1);
    return new Promise((resolve) => releases.push(() => resolve(text('released'))));
  },
  /** Asks, and gives its answer up then, unanswered. */
  impatient: () => {
    void form('nobody waits');
    return tools.block();
  },
};

const results = {
  initialize: (params) => {
    initialized = params;
    return {
      protocolVersion: '2025-11-25',
      capabilities: { tools: {}, prompts: {}, resources: {}, logging: {} },
      serverInfo: { name: 'asking', version: '1.0.0' },
    };
  },
  ping: () => ({}),
  'tools/list': () => ({
    tools: Object.keys(tools).map((name) => ({
      name,
      inputSchema: { type: 'object', ...(name === 'located' ? { properties: located } : {}) },
    })),
  }),
  'logging/setLevel': () => ({}),
  'prompts/get': async () => ({
    messages: [{ role: 'user', content: { type: 'text', text: JSON.stringify(await form('which?')) } }],
  }),
  'resources/read': async ({ uri }) => {
    if (uri === 'test://none') throw Object.assign(new Error('no such resource'), { code: -32002 });
    return { contents: [{ uri, text: JSON.stringify(await form('may it be read?')) }] };
  },
  /** Ends what blocks: no list waits for a call. */
  'resources/list': () => {
    for (const release of releases) release();
    return { resources: [] };
  },
  // Asks where a modern client cannot be asked.
  'prompts/list': async () => ({ prompts: [{ name: JSON.stringify(await form('at a list?')) }] }),
};

createInterface({ input: process.stdin }).on('line', async (line) => {
  const message = JSON.parse(line);
  if (message.method === undefined) {
    const { id, result, error } = message;
    waiting.get(id)?.(result ?? { error });
    return waiting.delete(id);
  }
  if (message.id === undefined) {
    if (message.method === 'notifications/cancelled') cancelled.push(message.params.requestId);
    return;
  }
  const { id, method, params = {} } = message;
  try {
    const run = method === 'tools/call' ? tools[params.name] : results[method];
    if (run === undefined) throw Object.assign(new Error('Method not found'), { code: -32601 });
    send({
      id,
      result:
        method === 'tools/call' ? await run(params.arguments ?? {}, params['_meta']) : await run(params),
    });
  } catch ({ code = -32603, message: why, data }) {
    send({ id, error: { code, message: why, data } });
  }
});
