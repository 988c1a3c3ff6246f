// An MCP client that is going to be killed: it opens one connection for each line of its input, {port, text}, writes the
// text to it as it is, says `open` when all are written, and waits.
import { createConnection } from 'node:net';

let input = '';
for await (const chunk of process.stdin) input += chunk;
await Promise.all(
  input
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .map(
      ({ port, text }) =>
        new Promise((resolve) => {
          const socket = createConnection({ port, host: '127.0.0.1' }, () => socket.write(text, resolve));
          socket.on('error', resolve).resume();
        }),
    ),
);
process.stdout.write('open\n');
setInterval(() => {}, 1_000);
