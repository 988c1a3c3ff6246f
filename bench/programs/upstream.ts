/**
 * The upstream of the benchmark: answers every POST and GET with the same small JSON and the bearer token it was called
 * with, so that the load generator can check whose credential a call ran with. `argv[2]`: bytes of filler in an answer.
 */
import { createServer } from 'node:http';

const filler = 'x'.repeat(Number(process.argv[2] ?? 100));

const server = createServer((request, response) => {
  const { authorization = '' } = request.headers;
  let size = 0;
  request.on('data', (chunk: Buffer) => (size += chunk.length));
  request.on('end', () => {
    const text = JSON.stringify({ caller: authorization.slice('Bearer '.length), size, filler });
    // As a JSON-RPC result for the direct and proxied rows, as plain JSON for the `api` row.
    const body =
      request.method === 'POST'
        ? JSON.stringify({ jsonrpc: '2.0', id: 1, result: { content: [{ type: 'text', text }] } })
        : text;
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    });
    response.end(body);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as { port: number }).port }));
process.on('disconnect', () => process.exit(0));
