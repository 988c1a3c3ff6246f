// A server of the v2 SDK over stdio that speaks both eras, or only 2026-07-28 with --modern-only. --brittle: ends at any
// request before `initialize`, as some servers of the legacy era do, and speaks only that.
import { writeFileSync } from 'node:fs';
import { inputRequired, LOG_LEVEL_META_KEY, Server } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';

const flags = new Set(process.argv.slice(2));
const text = (value) => ({ content: [{ type: 'text', text: String(value) }] });
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

if (flags.has('--brittle')) {
  process.stdin.once('data', (chunk) => {
    if (!String(chunk).includes('"initialize"')) process.exit(4);
  });
}

serveStdio(
  ({ era }) => {
    const server = new Server(
      { name: 'both-eras', version: '1.0.0' },
      {
        capabilities: { tools: { listChanged: true }, resources: { subscribe: true }, logging: {} },
        instructions: `served in the ${era} era`,
      },
    );
    const tools = {
      echo: ({ said }) => text(said),
      pid: () => text(process.pid),
      era: () => text(era),
      // What its client said of itself.
      meta: (_arguments, { mcpReq }) => text(JSON.stringify(mcpReq.envelope ?? null)),
      progress: async (_arguments, { mcpReq }) => {
        const progressToken = mcpReq['_meta']?.progressToken;
        for (const progress of [1, 2])
          await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress } });
        return text('done');
      },
      log: async ({ line }, { mcpReq }) => {
        if (mcpReq.envelope?.[LOG_LEVEL_META_KEY] !== undefined)
          await mcpReq.notify({ method: 'notifications/message', params: { level: 'info', data: line } });
        await wait(50);
        return text('logged');
      },
      ask: (_arguments, { mcpReq }) => {
        const answer = mcpReq.inputResponses?.['name'];
        if (answer !== undefined) return text(`hello ${answer.content?.name}`);
        return inputRequired({
          inputRequests: {
            name: inputRequired.elicit({
              message: 'your name?',
              requestedSchema: { type: 'object', properties: { name: { type: 'string' } } },
            }),
          },
          requestState: 'round 1',
        });
      },
      hang: ({ cancelFile }, { mcpReq }) =>
        new Promise(() =>
          mcpReq.signal.addEventListener('abort', () => writeFileSync(cancelFile, 'cancelled')),
        ),
      grow: async () => {
        await server.sendToolListChanged();
        return text('grown');
      },
    };
    server.setRequestHandler('tools/list', () => ({
      tools: Object.keys(tools).map((name) => ({ name, inputSchema: { type: 'object' } })),
    }));
    server.setRequestHandler('tools/call', ({ params }, ctx) =>
      tools[params.name](params.arguments ?? {}, ctx),
    );
    server.setRequestHandler('resources/list', () => ({ resources: [] }));
    return server;
  },
  { legacy: flags.has('--modern-only') ? 'reject' : 'serve' },
);
