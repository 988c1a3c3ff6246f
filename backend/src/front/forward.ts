/**
 * Passes one request to an inner port and its answer back, bytes as they are, with backpressure both ways. Only what
 * never connected is tried again, while a program restarts: a request that may have been heard is not.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { Agent, type Dispatcher } from 'undici';
import { AppError } from '../errors/appError.js';
import { toInnerHeaders, toOuterHeaders } from './hopHeaders.js';

export interface ForwardTarget {
  readonly host: string;
  readonly port: number;
}

export interface Forwarder extends AsyncDisposable {
  /**
   * Resolves when the answer was passed on whole, or the client left.
   * @throws AppError SERVICE_UNAVAILABLE, UPSTREAM_FAILED, PAYLOAD_TOO_LARGE; nothing was answered then. A failure in the
   * middle of an answer destroys the connection instead. `onStream` is told of an answer that has no end of its own.
   */
  forward(
    request: IncomingMessage,
    response: ServerResponse,
    to: ForwardTarget,
    statedAddress: string,
    onStream: (response: ServerResponse) => void,
  ): Promise<void>;
}

export interface ForwarderOptions {
  /** How long a request waits for a program that does not listen, in ms. */
  readonly connectMsMax?: number;
}

/** Bodies up to this size are read before they are sent, so that they can be sent again; larger ones stream. */
const heldBytesMax = 256 * 1024;
/** No program behind takes more. */
export const bodyBytesMax = 4 * 1024 * 1024;
const pauseMs = 100;

export function createForwarder({ connectMsMax = 5_000 }: ForwarderOptions = {}): Forwarder {
  const agent = new Agent({
    // One call a connection and as many as are needed: a stream must not keep a call waiting.
    pipelining: 1,
    connect: { timeout: 2_000 },
    // Answers may be streams without an end; who serves them has deadlines of their own.
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: 30_000,
  });

  return {
    async forward(request, response, to, statedAddress, onStream) {
      const headers = toInnerHeaders(request.headers, statedAddress);
      const body = await readBody(request);
      const options: Dispatcher.DispatchOptions = {
        origin: `http://${to.host}:${to.port}`,
        path: request.url ?? '/',
        method: request.method as Dispatcher.HttpMethod,
        headers,
        body,
      };
      const deadline = performance.now() + connectMsMax;
      while (!response.destroyed) {
        const outcome = await dispatchOnce(agent, options, response, onStream);
        if (outcome === 'done') return;
        if (performance.now() > deadline || body instanceof Readable) {
          throw new AppError('SERVICE_UNAVAILABLE', `nothing listens on port ${to.port}`, {
            retryAfterSeconds: 2,
          });
        }
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    },
    [Symbol.asyncDispose]: () => agent.destroy(),
  };
}

/**
 * Reads a small body whole; gives null for none, and a stream for a large one or one without a length.
 * @throws AppError PAYLOAD_TOO_LARGE
 */
function readBody(request: IncomingMessage): null | Readable | Promise<Buffer> {
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  if (encoding === undefined && (length === undefined || length === '0')) return null;
  if (Number(length ?? 0) > bodyBytesMax) throw tooLarge();
  if (length === undefined || Number(length) > heldBytesMax) return Readable.from(bounded(request));
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.once('end', () => resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)));
    request.once('error', reject);
  });
}

/** The body as it comes. The request outlives the one who reads it, since its answer is still to be written. */
async function* bounded(request: IncomingMessage): AsyncGenerator<Buffer> {
  let size = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > bodyBytesMax) throw tooLarge();
    yield chunk;
  }
}

const tooLarge = (): AppError => new AppError('PAYLOAD_TOO_LARGE', 'the body is over what any program takes');

function dispatchOnce(
  agent: Agent,
  options: Dispatcher.DispatchOptions,
  response: ServerResponse,
  onStream: (response: ServerResponse) => void,
): Promise<'done' | 'notConnected'> {
  return new Promise((resolve, reject) => {
    let controller: Dispatcher.DispatchController | null = null;
    const onDrain = (): void => controller?.resume();
    // The client left, or draining ended its stream; what it asked for is cancelled.
    const onClose = (): void => controller?.abort(new Error('the client left'));
    const settle = (end: () => void): void => {
      response.off('drain', onDrain);
      response.off('close', onClose);
      end();
    };
    response.on('drain', onDrain);
    response.on('close', onClose);
    agent.dispatch(options, {
      onRequestStart(started) {
        controller = started;
        if (response.destroyed) started.abort(new Error('the client left'));
      },
      onResponseStart(_controller, status, headers) {
        if (status < 200) return;
        response.writeHead(status, toOuterHeaders(headers));
        // A length says that the body is coming, and the head goes out with it; a stream may stay quiet while its client
        // waits for the head.
        if (headers['content-length'] !== undefined) return;
        response.flushHeaders();
        // What answers a GET with events goes on until somebody ends it; the events of a POST end with its call.
        if (options.method === 'GET' && /^text\/event-stream\b/.test(String(headers['content-type'] ?? '')))
          onStream(response);
      },
      onResponseData(current, chunk) {
        if (!response.writableEnded && !response.write(chunk)) current.pause();
      },
      onResponseEnd() {
        settle(() => {
          // An answer may come before the body was read; what is left of it must not stand before the next request.
          if (!response.req.complete) response.req.resume();
          response.end();
          resolve('done');
        });
      },
      onResponseError(_controller, error) {
        settle(() => {
          if (response.destroyed) return resolve('done');
          if (response.headersSent) {
            // Half an answer must not look like a whole one.
            response.destroy();
            return resolve('done');
          }
          if (isNotConnected(error)) return resolve('notConnected');
          if (error instanceof AppError) return reject(error);
          reject(new AppError('UPSTREAM_FAILED', 'the program behind broke off', { cause: error }));
        });
      },
    });
  });
}

const notConnectedCodes = new Set([
  'ECONNREFUSED',
  'UND_ERR_CONNECT_TIMEOUT',
  'EADDRNOTAVAIL',
  'EHOSTUNREACH',
]);

function isNotConnected(error: Error): boolean {
  return 'code' in error && notConnectedCodes.has(String(error.code));
}
