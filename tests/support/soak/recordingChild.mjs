// A stdio MCP server that reports each call, with the credential in its environment, on a line to the recorder before it
// answers, and behaves as the recorder says. Arguments: the recorder's port.
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

const line = connect(Number(process.argv[2]), '127.0.0.1');
line.on('error', () => process.exit(1));
const waiting = [];
createInterface({ input: line }).on('line', (text) => waiting.shift()?.(JSON.parse(text)));

/** @returns {Promise<{ mode: string }>} */
const report = (sighting) =>
  new Promise((resolve) => {
    waiting.push(resolve);
    line.write(`${JSON.stringify({ service: 'lines', credential: process.env.CALLER, ...sighting })}\n`);
  });
const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);

const inputSchema = { type: 'object', properties: { call: { type: 'string' }, ms: { type: 'integer' } } };
const tools = [
  { name: 'record', inputSchema },
  { name: 'read', inputSchema, annotations: { readOnlyHint: true } },
  { name: 'wait', inputSchema },
];

const modes = {
  well: () => {},
  hang: () => new Promise(() => {}),
  die: () => process.kill(process.pid, 'SIGKILL'),
  garbage: () => {
    for (let at = 0; at < 40; at += 1) process.stdout.write(`this is no JSON ${at}\n`);
  },
  huge: async () => {
    const piece = Buffer.alloc(1024 * 1024, 'x');
    for (let sent = 0; sent < 12; sent += 1)
      if (!process.stdout.write(piece)) await new Promise((resolve) => process.stdout.once('drain', resolve));
    process.stdout.write('\n');
  },
  drip: () => new Promise(() => setInterval(() => process.stdout.write(' '), 200)),
  eat: () => {
    const kept = [];
    for (;;) kept.push(Array.from({ length: 100_000 }, (_, at) => ({ at })));
  },
};

async function answer({ method, params = {} }) {
  switch (method) {
    case 'initialize':
      return {
        protocolVersion: params.protocolVersion,
        capabilities: { tools: {} },
        serverInfo: { name: 'lines', version: '1' },
      };
    case 'ping':
      return {};
    case 'tools/list':
      return { tools };
    case 'tools/call': {
      const { call, ms = 0 } = params.arguments ?? {};
      const { mode } = await report({ call });
      await modes[mode]?.();
      if (params.name === 'wait') await new Promise((resolve) => setTimeout(resolve, ms));
      return { content: [{ type: 'text', text: JSON.stringify({ call, credential: process.env.CALLER }) }] };
    }
    default:
      return null;
  }
}

createInterface({ input: process.stdin })
  .on('line', (text) => {
    const message = JSON.parse(text);
    if (message.id === undefined || message.method === undefined) return;
    void answer(message).then((result) =>
      send(
        result === null
          ? { id: message.id, error: { code: -32601, message: 'Method not found' } }
          : { id: message.id, result },
      ),
    );
  })
  .on('close', () => process.exit(0));
