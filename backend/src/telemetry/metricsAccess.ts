/**
 * Who may read `/metrics`: whoever presents the metrics token of the state directory, and anybody on the loopback where
 * `METRICS_OPEN` says so (12.25). A request that a proxy passed on does not come from the loopback, whatever its socket
 * says. To a stranger the path does not exist (07 H04).
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { readSecretFile } from '../config/secrets.js';
import { AppError } from '../errors/appError.js';

export interface MetricsAccessOptions {
  /** Read on each request with a token, so that a token that was replaced counts at once. */
  readonly tokenFile: string;
  readonly isOpen: boolean;
}

export type MetricsAccess = (request: Pick<IncomingMessage, 'headers' | 'socket'>) => AppError | null;

/** The returned function gives the refusal, or null when the request may read the metrics. */
export function metricsAccess({ tokenFile, isOpen }: MetricsAccessOptions): MetricsAccess {
  return ({ headers, socket }) => {
    if (isOpen && isLoopback(socket.remoteAddress) && !isForwarded(headers)) return null;
    const given = /^Bearer +(\S{1,256})$/i.exec(headers.authorization ?? '')?.[1];
    if (given === undefined) return new AppError('NOT_FOUND', 'metrics asked for without the metrics token');
    const expected = readSecretFile(tokenFile, 'the metrics token').reveal();
    return expected !== '' && timingSafeEqual(digestOf(given), digestOf(expected))
      ? null
      : new AppError('NOT_FOUND', 'metrics asked for with a wrong metrics token');
  };
}

function isLoopback(address: string | undefined): boolean {
  return address === '127.0.0.1' || address === '::1' || address === '::ffff:127.0.0.1';
}

function isForwarded(headers: IncomingMessage['headers']): boolean {
  return ['x-portolan-client', 'x-forwarded-for', 'forwarded'].some((name) => headers[name] !== undefined);
}

/** Digests have one length, so comparing them tells nothing of the token's. */
function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
