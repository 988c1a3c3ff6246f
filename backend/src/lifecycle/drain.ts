/**
 * Ends a program without cutting anybody off: unready → stop accepting → finish what is under way (≤25 s) → close
 * streams → close what the program holds → exit (R13).
 *
 * A client that uses an idle connection in the moment in which we close it sees a reset and must not send again. So it is
 * the clients that close: no answer tells them how long we keep a connection (a hint by which many would keep it for as
 * long), and a drain waits, at most `lingerMs`, until those that are idle have gone or were used again and told to close.
 */
import { Server as NetServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Server, ServerResponse } from 'node:http';
import { UnderWay } from './underWay.js';

export interface DrainOptions {
  readonly server: Server;
  /** How long calls may take to finish. */
  readonly deadlineMs?: number;
  /**
   * How long idle connections stay at most after the listener is closed, and after streams ended: longer than undici (4 s)
   * and other common clients keep one that nobody uses.
   */
  readonly lingerMs?: number;
  /** Called at once: tell waiting background work to stop taking more. */
  readonly onStart?: () => void;
  /** Called when no request is left: close pools, children, files. */
  readonly close: () => Promise<void>;
  /** Called after the calls, before streams are ended: a last word may be said on them. */
  readonly onStreamsEnd?: () => void;
}

export interface Drain {
  /** True from the first moment on; `/readyz` answers 503 then. */
  readonly isDraining: boolean;
  /**
   * Says that this answer is a stream without an end of its own (GET stream, listen, event feed): draining waits for no
   * such answer and ends them after the calls.
   */
  markStream(response: ServerResponse): void;
  /** Drains; resolves when everything is closed. Later calls give the same promise. */
  start(): Promise<void>;
}

/** How long the end of a stream may take to reach a slow reader, and the last connections to end. */
const streamEndMs = 1_000;
const lookMs = 25;
const inFlightPlace = Symbol('in flight');

export function createDrain(options: DrainOptions): Drain {
  const { server, deadlineMs = 25_000, lingerMs = 5_500 } = options;
  const inFlight = new UnderWay<ServerResponse>(inFlightPlace);
  const streams = new Set<ServerResponse>();
  let isDraining = false;
  let onIdle: (() => void) | null = null;
  let done: Promise<void> | null = null;

  function onClose(this: ServerResponse): void {
    streams.delete(this);
    if (inFlight.delete(this) && inFlight.size === 0) onIdle?.();
  }

  server.prependListener('request', (_request, response) => {
    inFlight.add(response);
    response.once('close', onClose);
    if (isDraining) response.setHeader('connection', 'close');
    // Said by ourselves, so that Node does not add `Keep-Alive: timeout=…`.
    else if (response.shouldKeepAlive) response.setHeader('connection', 'keep-alive');
  });

  const linger = async (): Promise<void> => {
    const end = performance.now() + lingerMs;
    while (performance.now() < end && (await countConnections(server)) > 0) await delay(lookMs);
  };

  /** Resolves when no call is under way, at the latest after the given time. */
  const callsFinished = (withinMs: number): Promise<void> =>
    new Promise((resolve) => {
      if (inFlight.size === 0) return resolve();
      const timer = setTimeout(resolve, withinMs);
      onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });

  /** A request that came at the last moment is answered before anything that it needs is closed. */
  const connectionsEnded = async (): Promise<void> => {
    const end = performance.now() + streamEndMs;
    for (;;) {
      await callsFinished(Math.max(0, end - performance.now()));
      server.closeIdleConnections();
      if ((await countConnections(server)) === 0 || performance.now() >= end) return;
      await delay(10);
    }
  };

  const run = async (): Promise<void> => {
    isDraining = true;
    options.onStart?.();
    // The close of net.Server stops listening and nothing else; that of http.Server would cut idle connections as well.
    const closed = new Promise<void>((resolve) => NetServer.prototype.close.call(server, () => resolve()));
    for (const response of inFlight) {
      if (!response.headersSent) response.setHeader('connection', 'close');
    }
    let lingered = linger();
    await callsFinished(deadlineMs);
    // The connection of a stream was promised to stay open, and its client may use it again: it lingers too.
    const hadStreams = streams.size > 0;
    options.onStreamsEnd?.();
    for (const response of streams) {
      inFlight.add(response);
      response.end();
    }
    if (hadStreams) lingered = linger();
    await lingered;
    await connectionsEnded();
    await options.close();
    server.closeAllConnections();
    await closed;
  };

  return {
    get isDraining() {
      return isDraining;
    },
    markStream(response) {
      if (!inFlight.delete(response)) return;
      streams.add(response);
      if (isDraining) response.end();
      if (inFlight.size === 0) onIdle?.();
    },
    start: () => (done ??= run()),
  };
}

function countConnections(server: Server): Promise<number> {
  return new Promise((resolve) => server.getConnections((_error, count) => resolve(count ?? 0)));
}

/** Drains on SIGINT, SIGTERM and PM2's `shutdown` message, then exits with 0 (1 when closing failed). */
export function drainOnSignals(drain: Pick<Drain, 'start'>, onError: (error: unknown) => void): void {
  const begin = (): void => {
    drain.start().then(
      () => process.exit(0),
      (error: unknown) => {
        onError(error);
        process.exit(1);
      },
    );
  };
  process.on('SIGINT', begin);
  process.on('SIGTERM', begin);
  process.on('message', (message) => {
    if (message === 'shutdown') begin();
  });
}
