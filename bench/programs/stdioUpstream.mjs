// The smallest stdio MCP server with one tool, which answers with the credential in its environment. It stands in for a
// child whose own work costs nothing, so that what is left is the gateway. Plain JavaScript: a service's command runs it.
import { createInterface } from 'node:readline';

const caller = process.env.CALLER ?? '';
const say = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
const tool = {
  name: 'whoami',
  description: 'Says who calls.',
  inputSchema: { type: 'object', properties: {} },
};

createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) return;
  if (method === 'initialize') {
    const { protocolVersion } = params;
    say({
      id,
      result: {
        protocolVersion,
        capabilities: { tools: {} },
        serverInfo: { name: 'bench', version: '1.0.0' },
      },
    });
  } else if (method === 'tools/list') say({ id, result: { tools: [tool] } });
  else if (method === 'tools/call') {
    const text = JSON.stringify({ caller, filler: 'x'.repeat(100) });
    say({ id, result: { content: [{ type: 'text', text }] } });
  } else say({ id, result: {} });
});
