/**
 * Answers on `node:http` itself: JSON when the first thing that comes is the response, an SSE stream otherwise. A reader
 * that is too slow is cut off rather than kept in memory for (R24).
 */
import type { ServerResponse } from 'node:http';
import { endBeforeBody } from '../../../lifecycle/plainAnswer.js';
import type { Reply, ReplyForm, ReplyStream } from '../bridge/reply.js';
import type { JsonRpcMessage, JsonRpcResponse } from '../protocol/jsonRpc.js';

/** What waits for a reader at most, and for how long it may stand still. */
const bufferedBytesMax = 1024 * 1024;
const stalledMsMax = 30_000;
/** A burst may be larger, as long as the reader goes on reading. */
const burstBytesMax = 32 * 1024 * 1024;
const toleratedStallMs = 1_000;
const keepAliveMs = 25_000;

export const streamHeaders = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
} as const;

export interface HttpReplyOptions {
  readonly response: ServerResponse;
  /** Told when the answer becomes a stream without an end of its own. */
  readonly onStream: (response: ServerResponse) => void;
}

export function createHttpReply({ response, onStream }: HttpReplyOptions): Reply {
  let isStream = false;
  let isGone = false;
  const callbacks = new Set<() => void>();
  let signal: AbortSignal | null = null;
  response.once('close', () => {
    isGone = true;
    for (const callback of callbacks) callback();
  });

  const begin = (): void => {
    if (isStream || response.headersSent) return;
    isStream = true;
    response.writeHead(200, streamHeaders);
    // A quiet stream has to show its head at once, or the client waits for it (spec 08, pitfalls).
    response.flushHeaders();
  };

  return {
    get isGone() {
      return isGone;
    },
    onGone(callback) {
      callbacks.add(callback);
      return () => void callbacks.delete(callback);
    },
    get signal() {
      return (signal ??= isGone ? AbortSignal.abort(new Error('the client is gone')) : goneSignal(response));
    },
    takesBytes: true,
    send(message) {
      begin();
      writeEvent(response, message);
    },
    finish(message, form = {}) {
      if (isGone || response.writableEnded) return;
      if (isStream) {
        writeEvent(response, message);
        response.end();
        return;
      }
      sendJson(response, message, form);
    },
    openStream() {
      begin();
      onStream(response);
      return toStream(response, goneSignal(response));
    },
  };
}

/** A stream that was asked for as such (GET). */
export function openEventStream({ response, onStream }: HttpReplyOptions): ReplyStream {
  response.writeHead(200, streamHeaders);
  response.flushHeaders();
  onStream(response);
  return toStream(response, goneSignal(response));
}

export function sendJson(
  response: ServerResponse,
  message: JsonRpcResponse | readonly JsonRpcResponse[],
  form: ReplyForm,
): void {
  const body = bytesOf(message) ?? JSON.stringify(message);
  const headers: Record<string, string | number> = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
  };
  if (form.sessionId !== undefined) headers['mcp-session-id'] = form.sessionId;
  if (form.retryAfterSeconds !== undefined) headers['retry-after'] = form.retryAfterSeconds;
  response.writeHead(form.status ?? 200, headers);
  // Most answers come when the request is there whole; a refusal may not.
  if (response.req.complete) response.end(body);
  else endBeforeBody(response, body);
  if (response.writableLength > bufferedBytesMax) watchReader(response);
}

function toStream(response: ServerResponse, signal: AbortSignal): ReplyStream {
  const timer = setInterval(() => {
    if (!response.writableNeedDrain) response.write(': keep-alive\n\n');
  }, keepAliveMs).unref();
  signal.addEventListener('abort', () => clearInterval(timer), { once: true });
  return {
    signal,
    send: (message, eventId) => writeEvent(response, message, eventId),
    mark: (eventId) => writeFrame(response, `id: ${eventId}\ndata: \n\n`),
    end: () => void response.end(),
  };
}

/** What an upstream said, where it comes as it was. */
function bytesOf(message: JsonRpcMessage | readonly JsonRpcResponse[]): Buffer | undefined {
  return 'bytes' in message ? message.bytes : undefined;
}

function writeEvent(response: ServerResponse, message: JsonRpcMessage, eventId?: string): void {
  const id = eventId === undefined ? '' : `id: ${eventId}\n`;
  const text = bytesOf(message)?.toString('utf8') ?? JSON.stringify(message);
  writeFrame(response, `event: message\n${id}data: ${text}\n\n`);
}

/** Writes one SSE frame; a connection on which too much waits, or waits too long, is cut. */
export function writeFrame(response: ServerResponse, frame: string): void {
  if (response.destroyed || response.writableEnded || response.write(frame)) return;
  const since = stalledSince.get(response);
  if (since === undefined) return watchReader(response);
  const isStalled = performance.now() - since > toleratedStallMs;
  if (response.writableLength > (isStalled ? bufferedBytesMax : burstBytesMax)) response.destroy();
}

/** Cuts a connection off whose reader takes nothing for too long. */
export function watchReader(response: ServerResponse): void {
  stalledSince.set(response, performance.now());
  const timer = setTimeout(() => response.destroy(), stalledMsMax).unref();
  const done = (): void => {
    clearTimeout(timer);
    stalledSince.delete(response);
  };
  response.once('drain', done);
  response.once('close', done);
}

/** Since when a reader has not taken what waits for it, by the monotonic clock. */
const stalledSince = new WeakMap<ServerResponse, number>();

/** Aborts when the connection closed, be it before or after the end of the answer. */
export function goneSignal(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  response.once('close', () => controller.abort(new Error('the client is gone')));
  return controller.signal;
}
