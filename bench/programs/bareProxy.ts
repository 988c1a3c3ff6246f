/**
 * What a proxy costs that does nothing but pass bytes: node:http in front, an undici pool behind, no policy, no tenants.
 * `argv[2]`: the upstream's origin.
 */
import { createServer, type IncomingHttpHeaders } from 'node:http';
import { Pool, type Dispatcher } from 'undici';

const pool = new Pool(process.argv[2] ?? '', { connections: 50 });

const passedOn = [
  'authorization',
  'content-type',
  'accept',
  'mcp-session-id',
  'mcp-protocol-version',
  'mcp-method',
  'mcp-name',
];
const passedBack = ['content-type', 'content-length', 'mcp-session-id'];

function pick(headers: IncomingHttpHeaders, names: readonly string[]): Record<string, string> {
  const picked: Record<string, string> = {};
  for (const name of names) {
    const value = headers[name];
    if (typeof value === 'string') picked[name] = value;
  }
  return picked;
}

const server = createServer((request, response) => {
  pool.stream(
    {
      method: request.method as Dispatcher.HttpMethod,
      path: request.url ?? '/',
      headers: pick(request.headers, passedOn),
      body: request,
    },
    ({ statusCode, headers }) => {
      response.writeHead(statusCode, pick(headers, passedBack));
      return response;
    },
    (error) => {
      if (error !== null) response.destroy(error);
    },
  );
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as { port: number }).port }));
process.on('disconnect', () => process.exit(0));
