/**
 * What a proxy costs that does nothing but pass bytes: node:http in front, an undici pool behind, no policy, no tenants.
 * `argv[2]`: the upstream's origin.
 */
import { createServer } from 'node:http';
import { Pool, type Dispatcher } from 'undici';

const pool = new Pool(process.argv[2] ?? '', { connections: 50 });

const server = createServer((request, response) => {
  const { authorization, 'content-type': contentType } = request.headers;
  pool.stream(
    {
      method: request.method as Dispatcher.HttpMethod,
      path: request.url ?? '/',
      headers: {
        ...(authorization === undefined ? {} : { authorization }),
        ...(contentType === undefined ? {} : { 'content-type': contentType }),
      },
      body: request,
    },
    ({ statusCode, headers }) => {
      response.writeHead(statusCode, {
        'content-type': String(headers['content-type']),
        'content-length': String(headers['content-length']),
      });
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
