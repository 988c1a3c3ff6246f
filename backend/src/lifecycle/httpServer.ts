/**
 * Starts the HTTP listener of a program with limits that a stranger cannot lean on (Node's own are looser), and says in
 * one clear error when the port is taken: a program never moves to another port by itself.
 */
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { AppError } from '../errors/appError.js';
import { findMisshapen, servedMethods } from './requestForm.js';

export const httpLimits = {
  maxHeaderBytes: 16 * 1024,
  /** From the first byte of a connection or request to the end of its head. */
  headersTimeoutMs: 10_000,
  /** From the first byte of a request to the end of its body; an answer may stream as long as it likes. */
  requestTimeoutMs: 30_000,
  connectionsCheckingIntervalMs: 5_000,
  /** Longer than a proxy in front keeps an idle connection, so that it is the proxy that closes it. */
  keepAliveTimeoutMs: 65_000,
} as const;

/** The answer that a connection is about; a connection has one at a time. */
const underWay = Symbol('under way');
type Connection = Duplex & { [underWay]?: ServerResponse };

/**
 * A server that is not listening yet; programs that need the upgrade event or the socket take it from here. What has not
 * the form of a request that somebody serves is refused before the handler hears of it.
 */
export function createHttpServer(handler: RequestListener): Server {
  const server = createServer(
    {
      maxHeaderSize: httpLimits.maxHeaderBytes,
      headersTimeout: httpLimits.headersTimeoutMs,
      requestTimeout: httpLimits.requestTimeoutMs,
      connectionsCheckingInterval: httpLimits.connectionsCheckingIntervalMs,
      keepAliveTimeout: httpLimits.keepAliveTimeoutMs,
      noDelay: true,
    },
    (request, response) => {
      (request.socket as Connection)[underWay] = response;
      const status = findMisshapen(request);
      if (status === null) return handler(request, response);
      response.writeHead(status, {
        ...(status === 405 ? { allow: servedMethods } : {}),
        connection: 'close',
      });
      response.end();
    },
  );
  // A head that is too large, too slow or no HTTP at all: answered where the socket still allows it, never thrown.
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Connection) => {
    if (!socket.writable || error.code === 'ECONNRESET' || isAnswered(socket)) return void socket.destroy();
    refuseConnection(socket, statusOfClientError(error.code));
  });
  // Nobody is connected through us to anybody.
  server.on('connect', (_request, socket) => refuseConnection(socket, '405 Method Not Allowed'));
  return server;
}

function refuseConnection(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

/** The fault lies in the body of a request whose answer has begun: a second answer would be taken for that of another. */
function isAnswered({ [underWay]: response }: Connection): boolean {
  return response !== undefined && response.headersSent && !response.req.complete;
}

/**
 * Listens, and resolves with the port (which matters for port 0).
 * @throws AppError CONFIG_INVALID when the port is taken or may not be used (R18); the program ends with exit code 1.
 */
export async function listen(server: Server, at: { host: string; port: number }): Promise<number> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: at.host, port: at.port, backlog: 1024 }, () => {
        server.off('error', reject);
        resolve();
      });
    });
  } catch (cause) {
    throw new AppError('CONFIG_INVALID', `${whyNot(cause)}: ${at.host}:${at.port}`, { cause });
  }
  const address = server.address();
  return address !== null && typeof address === 'object' ? address.port : at.port;
}

/**
 * Runs a program's start; what it throws becomes one line on stderr and exit code 1, so that the supervisor restarts it
 * with its back-off. Only the message is printed: causes may hold values.
 */
export async function runProgram(name: string, start: () => Promise<void>): Promise<void> {
  // Without a listener Node opens its inspector, which is power over the whole process, to whoever sends this signal.
  process.on('SIGUSR1', () => {});
  try {
    await start();
  } catch (thrown) {
    const why = thrown instanceof AppError ? `${thrown.code}: ${thrown.message}` : stackOf(thrown);
    process.stderr.write(`${JSON.stringify({ level: 'fatal', program: name, message: why })}\n`, () =>
      process.exit(1),
    );
  }
}

const listenFailures: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is taken by another process',
  EACCES: 'this user may not listen on the port',
  EADDRNOTAVAIL: 'this machine does not have the address to listen on',
};

function whyNot(cause: unknown): string {
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : '';
  return listenFailures[code] ?? 'cannot listen';
}

function statusOfClientError(code: string | undefined): string {
  if (code === 'HPE_HEADER_OVERFLOW') return '431 Request Header Fields Too Large';
  return code === 'ERR_HTTP_REQUEST_TIMEOUT' ? '408 Request Timeout' : '400 Bad Request';
}

function stackOf(thrown: unknown): string {
  return thrown instanceof Error ? (thrown.stack ?? thrown.message) : 'a non-error was thrown';
}
