/**
 * What a bridge to children costs that does nothing but pass messages: node:http in front, one child for each path
 * behind, ids replaced and put back, no policy, no tenants, no audit. `argv[2]`: the child's program; the caller's bearer
 * token becomes its variable `CALLER`.
 */
import { spawn } from 'node:child_process';
import { createServer, type ServerResponse } from 'node:http';

interface Message {
  readonly [member: string]: unknown;
  id: unknown;
}

interface Waiting {
  readonly id: unknown;
  readonly response: ServerResponse;
}

function startChild(caller: string): (message: Message, response: ServerResponse) => void {
  const child = spawn(process.execPath, [process.argv[2] ?? ''], {
    env: { CALLER: caller },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const waiting = new Map<number, Waiting>();
  let nextId = 0;
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const message = JSON.parse(line) as Message;
      const found = waiting.get(Number(message.id));
      if (found === undefined) continue;
      waiting.delete(Number(message.id));
      message.id = found.id;
      const body = JSON.stringify(message);
      found.response.writeHead(200, {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
      });
      found.response.end(body);
    }
  });
  const initialize = {
    protocolVersion: '2025-11-25',
    capabilities: {},
    clientInfo: { name: 'bare', version: '1' },
  };
  const send = (message: object): void => void child.stdin.write(`${JSON.stringify(message)}\n`);
  send({ jsonrpc: '2.0', id: 0, method: 'initialize', params: initialize });
  send({ jsonrpc: '2.0', method: 'notifications/initialized' });
  return (message, response) => {
    const id = ++nextId;
    waiting.set(id, { id: message.id, response });
    send({ ...message, id });
  };
}

const children = new Map<string, ReturnType<typeof startChild>>();

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const caller = request.headers.authorization?.slice('Bearer '.length) ?? '';
    const child = children.get(caller) ?? startChild(caller);
    children.set(caller, child);
    child(JSON.parse(Buffer.concat(chunks).toString()) as Message, response);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as { port: number }).port }));
// Its children see the end of their input and end as well.
process.on('disconnect', () => process.exit(0));
