/**
 * A REST service that keeps what it received (method, path, headers, credentials, body) and misbehaves on demand, so that
 * tests can say what reached it and what did not. It listens on a loopback port of its own.
 */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createGzip } from 'node:zlib';

export interface RecordedRequest {
  readonly method: string;
  /** Path and query exactly as they came. */
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
  /** Name, value, name, value …, as they came. */
  readonly rawHeaders: readonly string[];
  readonly body: string;
}

/** How one request is answered. It may leave the request open; closing the upstream ends it. */
export type Behaviour = (response: ServerResponse, request: RecordedRequest) => void;

export interface RecordingUpstream extends AsyncDisposable {
  /** `http://127.0.0.1:<port>` */
  readonly origin: string;
  readonly port: number;
  readonly requests: readonly RecordedRequest[];
  /** Connections ever accepted, and those open now. */
  readonly connections: { readonly accepted: number; readonly open: number };
  /** Requests whose client went away before the answer was complete. */
  readonly abandoned: number;
  /** Answers requests to this path (query aside) from now on; the first behaviours given are used up first. */
  on(path: string, ...behaviours: readonly Behaviour[]): void;
  /** Resolves when a condition over what was seen holds; it is asked after each event. @throws after 10 s */
  until(condition: () => boolean): Promise<void>;
  /** Forgets what was recorded. */
  clear(): void;
  /** Closes the idle connections, so that the next request has to open a new one. */
  closeIdleConnections(): void;
}

/** Anything that has no behaviour is answered with 200 and a JSON account of the request. */
export async function startRecordingUpstream(): Promise<RecordingUpstream> {
  const requests: RecordedRequest[] = [];
  const behaviours = new Map<string, Behaviour[]>();
  const sockets = new Set<Socket>();
  const watchers = new Set<() => void>();
  let accepted = 0;
  let abandoned = 0;
  const changed = (): void => {
    for (const watcher of watchers) watcher();
  };

  const receive = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await readBody(request);
    const recorded: RecordedRequest = {
      method: request.method ?? '',
      target: request.url ?? '',
      headers: request.headers,
      rawHeaders: request.rawHeaders,
      body,
    };
    requests.push(recorded);
    response.on('close', () => {
      if (!response.writableFinished) abandoned += 1;
      changed();
    });
    const path = recorded.target.split('?')[0] ?? '';
    const queue = behaviours.get(path);
    const behaviour = queue !== undefined && queue.length > 1 ? queue.shift() : queue?.[0];
    (behaviour ?? echo)(response, recorded);
    changed();
  };
  // A client that leaves in the middle of its body is not recorded.
  const server = createServer((request, response) => void receive(request, response).catch(changed));
  server.on('connection', (socket) => {
    accepted += 1;
    sockets.add(socket);
    socket.on('close', () => {
      sockets.delete(socket);
      changed();
    });
    changed();
  });
  server.keepAliveTimeout = 60_000;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  return {
    origin: `http://127.0.0.1:${port}`,
    port,
    requests,
    get connections() {
      return { accepted, open: sockets.size };
    },
    get abandoned() {
      return abandoned;
    },
    on: (path, ...given) => void behaviours.set(path, [...given]),
    until: (condition) =>
      new Promise((resolve, reject) => {
        const deadline = setTimeout(() => {
          watchers.delete(watcher);
          reject(new Error('the upstream did not see in 10 s what the test waits for'));
        }, 10_000);
        const watcher = (): void => {
          if (!condition()) return;
          clearTimeout(deadline);
          watchers.delete(watcher);
          resolve();
        };
        watchers.add(watcher);
        watcher();
      }),
    clear: () => {
      requests.length = 0;
      abandoned = 0;
    },
    closeIdleConnections: () => server.closeIdleConnections(),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

// ── Behaviours ──────────────────────────────────────────────────────────────────────────────────────────────────

export const echo: Behaviour = (response, { method, target, headers, body }) =>
  json(200, { method, target, headers, body })(response, { method, target, headers, body, rawHeaders: [] });

export function json(
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string | string[]>> = {},
): Behaviour {
  return reply(status, JSON.stringify(value), { 'content-type': 'application/json', ...headers });
}

export function reply(
  status: number,
  body: string | Buffer,
  headers: Readonly<Record<string, string | string[]>> = {},
): Behaviour {
  return (response) => void response.writeHead(status, headers).end(body);
}

/** Never answers. */
export const hang: Behaviour = () => undefined;

/** Sends headers and then one byte each interval, for ever. */
export function drip(everyMs: number): Behaviour {
  return (response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.write('[');
    const timer = setInterval(() => response.write(' '), everyMs);
    response.on('close', () => clearInterval(timer));
  };
}

/** Sends headers and the beginning of a body, then nothing. */
export const stall: Behaviour = (response) => {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.write('{"begun":');
};

/** A few kilobytes on the wire for each megabyte that they inflate to. */
export function gzipBomb(inflatedBytes: number): Behaviour {
  return (response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
    const gzip = createGzip();
    gzip.pipe(response);
    const piece = Buffer.alloc(1 << 20, ' ');
    let left = inflatedBytes;
    const write = (): void => {
      while (left > 0 && !response.destroyed) {
        left -= piece.length;
        if (!gzip.write(piece)) return;
      }
      gzip.end();
    };
    gzip.on('drain', write);
    response.on('close', () => gzip.destroy());
    gzip.on('error', () => undefined);
    write();
  };
}

export function redirect(status: number, location: string): Behaviour {
  return (response) => void response.writeHead(status, { location }).end();
}

/** Breaks the connection in the middle of the body. */
export const dieMidway: Behaviour = (response) => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
  response.write('{"half":', () => response.socket?.destroy());
};

/** Bytes that are no HTTP. */
export const garbage: Behaviour = (response) =>
  void response.socket?.end(Buffer.from([0x00, 0xff, 0x13, 0x37, 0x0a, 0x0d]));

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
