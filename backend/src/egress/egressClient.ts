/**
 * The one HTTP client for everything that leaves: checked destinations, pinned addresses, pooled connections, no
 * redirects, bounded answers, and errors that quote nothing (05 "Guard in front of every listener").
 */
import type { EgressRules } from '../addresses/urlProblem.js';
import { AppError } from '../errors/appError.js';
import { parseDestination, type Destination } from './destination.js';
import { EgressCall, type EgressBounds, type EgressResponse } from './egressCall.js';
import { egressError, toEgressError } from './egressError.js';
import { createGuardedConnector, systemResolver, type ResolveHost } from './guardedConnector.js';
import { createOriginPools } from './originPools.js';

export interface EgressRequest extends EgressBounds {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** As `EgressClient.parse` gave it; path and query of the request may be others below the same origin. */
  readonly destination: Destination;
  /** Path and query as they go on the wire, beginning with `/`; already encoded. */
  readonly target: string;
  /** Name, value, name, value …; what it holds is all that is sent besides the framing. */
  readonly headers: readonly string[];
  readonly body?: Buffer | string | null;
}

export interface EgressClientOptions {
  readonly rules: EgressRules;
  /** Per origin. */
  readonly connections?: number;
  readonly connectTimeoutMs?: number;
  /** How long an idle connection is kept, unless the other side says less. */
  readonly keepAliveMs?: number;
  /** How long an answer may pause between two pieces. */
  readonly idleTimeoutMs?: number;
  /** Requests under way and waiting together; more are refused at once. */
  readonly requestsMax?: number;
  readonly resolveHost?: ResolveHost;
}

export interface EgressClient extends AsyncDisposable {
  /** @throws AppError EGRESS_DENIED */
  parse(url: string): Destination;
  /**
   * Resolves with the whole answer, whatever its status. Aborting rejects with the signal's reason.
   * @throws AppError EGRESS_DENIED, UPSTREAM_UNREACHABLE (nothing was sent), UPSTREAM_TIMEOUT, UPSTREAM_FAILED,
   * SERVICE_SATURATED
   */
  send(request: EgressRequest, signal?: AbortSignal): Promise<EgressResponse>;
}

export function createEgressClient(options: EgressClientOptions): EgressClient {
  const {
    rules,
    connections = 50,
    keepAliveMs = 30_000,
    idleTimeoutMs = 30_000,
    requestsMax = 1_000,
  } = options;
  const connect = createGuardedConnector({
    allowPrivate: rules.allowPrivate,
    connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
    resolveHost: options.resolveHost ?? systemResolver,
  });
  const pools = createOriginPools({ connect, connections, keepAliveMs, idleTimeoutMs });
  let underWay = 0;
  let closed = false;

  return {
    parse: (url) => parseDestination(url, rules),
    async send(request, signal) {
      signal?.throwIfAborted();
      if (closed) throw new AppError('SERVICE_UNAVAILABLE', 'the egress client is closed');
      if (underWay >= requestsMax) {
        throw egressError('SERVICE_SATURATED', 'too many requests under way', 'Too many calls at once.', {
          retryAfterSeconds: 1,
        });
      }
      underWay += 1;
      try {
        return await new Promise<EgressResponse>((resolve, reject) => {
          const call = new EgressCall(request, signal, resolve, reject);
          try {
            pools.for(request.destination.origin).dispatch(
              {
                origin: request.destination.origin,
                path: request.target,
                method: request.method,
                headers: request.headers as string[],
                body: request.body ?? null,
                headersTimeout: request.totalTimeoutMs,
              },
              call,
            );
          } catch (error) {
            // The client refuses what no HTTP message can carry; its own message may quote the value.
            call.onResponseError(null, toEgressError(error));
          }
        });
      } finally {
        underWay -= 1;
      }
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      await pools.destroy();
    },
  };
}
