/**
 * The egress client for answers that are handed on as they come: the same guard as `egressClient.ts`, nothing buffered,
 * nothing decoded. Calls share a pool; a stream has a connection of its own, since streams stay open for hours and would fill
 * a bounded pool until no call gets through (spec 08, "Pitfalls").
 */
import { Client } from 'undici';
import type { EgressRules } from '../addresses/urlProblem.js';
import { AppError } from '../errors/appError.js';
import { parseDestination, type Destination } from './destination.js';
import { egressError } from './egressError.js';
import { EgressExchange, type EgressReceiver, type ExchangeBounds } from './egressExchange.js';
import { createGuardedConnector, systemResolver, type ResolveHost } from './guardedConnector.js';
import { createOriginPools, headerBytesMax } from './originPools.js';

/** Asks for bytes that can be handed on as they are; an answer that is coded all the same is refused. */
export const identityCoding = ['accept-encoding', 'identity'] as const;

export interface StreamRequest extends ExchangeBounds {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** As `EgressStreams.parse` gave it. */
  readonly destination: Destination;
  /** Path and query as they go on the wire, beginning with `/`; already encoded. */
  readonly target: string;
  /** Name, value, name, value …, `identityCoding` among them; what it holds is all that is sent besides the framing. */
  readonly headers: readonly string[];
  readonly body: Buffer | string | null;
  /** A call is answered and over; a stream stays open. */
  readonly lane: 'call' | 'stream';
  /** From the moment that the request is written. */
  readonly headersTimeoutMs: number;
  /** How long the answer may be silent, event streams included; 0: for ever. */
  readonly quietTimeoutMs: number;
}

/** What its caller may do with an exchange under way. */
export type Exchange = Pick<EgressExchange, 'pause' | 'resume' | 'abort'>;

export interface EgressStreamsOptions {
  readonly rules: EgressRules;
  /** Connections for calls, per origin; more calls wait for one. */
  readonly connections?: number;
  /** Calls under way and waiting together; more are refused at once. */
  readonly callsMax?: number;
  readonly streamsMax?: number;
  readonly connectTimeoutMs?: number;
  readonly keepAliveMs?: number;
  readonly resolveHost?: ResolveHost;
  /** PEM certificates that are trusted in place of the public ones. */
  readonly ca?: string;
}

export interface EgressStreams extends AsyncDisposable {
  /** @throws AppError EGRESS_DENIED */
  parse(url: string): Destination;
  /** Never throws; whatever goes wrong comes to `onError`, which may be called before this returns. */
  open(request: StreamRequest, receiver: EgressReceiver): Exchange;
  /** What is under way now. */
  counts(): { readonly calls: number; readonly streams: number };
}

export function createEgressStreams(options: EgressStreamsOptions): EgressStreams {
  const { rules, connections = 500, callsMax = 5_000, streamsMax = 20_000, keepAliveMs = 30_000 } = options;
  const connect = createGuardedConnector({
    allowPrivate: rules.allowPrivate,
    connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
    resolveHost: options.resolveHost ?? systemResolver,
    ...(options.ca === undefined ? {} : { ca: options.ca }),
  });
  const calls = createOriginPools({ connect, connections, keepAliveMs, idleTimeoutMs: 30_000 });
  const streams = new Set<Client>();
  const counters = { call: { underWay: 0 }, stream: { underWay: 0 } };
  const max = { call: callsMax, stream: streamsMax };

  /** A connection of its own, gone with the stream: a pool would open another in its place, for nobody. */
  const toStream = (origin: string, exchange: EgressExchange): Client => {
    const client = new Client(origin, { connect, pipelining: 1, maxHeaderSize: headerBytesMax });
    streams.add(client);
    exchange.onSettled = () =>
      setImmediate(() => {
        streams.delete(client);
        client.destroy().catch(() => undefined);
      });
    return client;
  };
  let closed = false;

  return {
    parse: (url) => parseDestination(url, rules),
    open(request, receiver) {
      const { lane, destination } = request;
      const counter = counters[lane];
      const exchange = new EgressExchange(receiver, request, counter);
      if (closed) {
        exchange.onError(new AppError('SERVICE_UNAVAILABLE', 'the egress client is closed'));
        return exchange;
      }
      if (counter.underWay > max[lane]) {
        exchange.onError(saturated());
        return exchange;
      }
      try {
        const { origin } = destination;
        const client = lane === 'call' ? calls.for(origin) : toStream(origin, exchange);
        client.dispatch(
          {
            origin,
            path: request.target,
            method: request.method,
            headers: request.headers as string[],
            body: request.body,
            headersTimeout: request.headersTimeoutMs,
            bodyTimeout: request.quietTimeoutMs,
          },
          exchange,
        );
      } catch (error) {
        // The client refuses what no HTTP message can carry; its own message may quote the value.
        exchange.onError(error);
      }
      return exchange;
    },
    counts: () => ({ calls: counters.call.underWay, streams: counters.stream.underWay }),
    async [Symbol.asyncDispose]() {
      closed = true;
      const open = [...streams].map((client) => client.destroy().catch(() => undefined));
      await Promise.all([calls.destroy(), ...open]);
    },
  };
}

function saturated(): AppError {
  return egressError('SERVICE_SATURATED', 'too many exchanges under way', 'Too many calls at once.', {
    retryAfterSeconds: 1,
  });
}
