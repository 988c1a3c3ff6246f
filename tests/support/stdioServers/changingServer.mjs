// A server of the SDK over stdio whose tools are what a file says at the time: changingServer.mjs <file>. It notes each
// call in `<file>.calls`.
import { appendFileSync, readFileSync } from 'node:fs';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js';

const [, , file] = process.argv;
const server = new Server({ name: 'changing', version: '1.0.0' }, { capabilities: { tools: {} } });
server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: JSON.parse(readFileSync(file, 'utf8')) }));
server.setRequestHandler(CallToolRequestSchema, ({ params }) => {
  appendFileSync(`${file}.calls`, `${params.name}\n`);
  return { content: [{ type: 'text', text: `called ${params.name}` }] };
});
await server.connect(new StdioServerTransport());
